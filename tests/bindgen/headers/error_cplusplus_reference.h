int fine(int & reference);
