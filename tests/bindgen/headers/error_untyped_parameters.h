int old_style();
int identifiers(a, b);
