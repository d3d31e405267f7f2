int fine(int a);

class Model {
public:
    int n;
};
