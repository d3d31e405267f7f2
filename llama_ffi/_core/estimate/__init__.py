"""How much memory a model and a context will take, computed from the file's metadata alone."""
