template <typename T> T id(T value);
