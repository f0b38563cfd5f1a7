/* A library to be loaded from the mount. */
int answer(void) { return 42; }
