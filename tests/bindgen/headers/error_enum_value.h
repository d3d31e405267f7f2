enum e {
    FINE = 1,
    BROKEN = FINE / 0,
};
