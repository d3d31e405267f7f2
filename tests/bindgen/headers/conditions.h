#if defined(_WIN32)
int on_windows(void);
#elif defined(__APPLE__)
int on_macos(void);
#elif defined(__linux__)
int on_linux(void);
#else
int anywhere(void);
#endif
#ifdef __GNUC__
int gnu(void);
#endif
