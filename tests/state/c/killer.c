/* Preloaded into a process that saves: counts the calls that change files, in all threads together, from the
   moment it is armed, and kills the process before or after a given one.

   KILLER_AT=n     the call, from 1 on; 0 = none, only count
   KILLER_AFTER=1  after it instead of before it
   KILLER_LOG=f    a file that gets one line per call */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static volatile int armed;
static int count, at, after, log_fd = -1;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

void killer_arm(void) {
    const char * text = getenv("KILLER_AT");
    at = text ? atoi(text) : 0;
    after = getenv("KILLER_AFTER") != NULL;
    text = getenv("KILLER_LOG");
    if (text) log_fd = (int) syscall(SYS_openat, AT_FDCWD, text, O_WRONLY | O_CREAT | O_APPEND, 0600);
    armed = 1;
}

void killer_disarm(void) { armed = 0; }

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

static int before(const char * name) {
    if (!armed) return 0;
    pthread_mutex_lock(&mutex);
    int number = ++count;
    if (log_fd >= 0) {
        char line[64];
        int length = snprintf(line, sizeof line, "%s\n", name);
        syscall(SYS_write, log_fd, line, (size_t) length);
    }
    if (number == at && !after) die();
    pthread_mutex_unlock(&mutex);
    return number;
}

static void done(int number) {
    if (number && number == at && after) die();
}

#define REAL(type, name) \
    static type (*real)(); \
    if (!real) real = (type (*)()) dlsym(RTLD_NEXT, #name)

#define CALL(type, name, parameters, arguments) \
    type name parameters { \
        REAL(type, name); \
        int number = before(#name); \
        type result = real arguments; \
        done(number); \
        return result; \
    }

#define OPEN(name, parameters, arguments) \
    int name parameters { \
        REAL(int, name); \
        int mode = 0; \
        if (flags & O_CREAT) { \
            va_list rest; \
            va_start(rest, flags); \
            mode = va_arg(rest, int); \
            va_end(rest); \
        } \
        int number = before(#name); \
        int result = real arguments; \
        done(number); \
        return result; \
    }

OPEN(open, (const char * path, int flags, ...), (path, flags, mode))
OPEN(open64, (const char * path, int flags, ...), (path, flags, mode))
OPEN(openat, (int folder, const char * path, int flags, ...), (folder, path, flags, mode))
OPEN(openat64, (int folder, const char * path, int flags, ...), (folder, path, flags, mode))
CALL(int, close, (int fd), (fd))
CALL(ssize_t, write, (int fd, const void * data, size_t size), (fd, data, size))
CALL(ssize_t, pwrite, (int fd, const void * data, size_t size, off_t where), (fd, data, size, where))
CALL(ssize_t, pwrite64, (int fd, const void * data, size_t size, off64_t where), (fd, data, size, where))
CALL(int, fsync, (int fd), (fd))
CALL(int, fdatasync, (int fd), (fd))
CALL(int, posix_fallocate, (int fd, off_t where, off_t size), (fd, where, size))
CALL(int, posix_fallocate64, (int fd, off64_t where, off64_t size), (fd, where, size))
CALL(int, ftruncate, (int fd, off_t size), (fd, size))
CALL(int, ftruncate64, (int fd, off64_t size), (fd, size))
CALL(void *, mmap, (void * a, size_t size, int p, int f, int fd, off_t where), (a, size, p, f, fd, where))
CALL(void *, mmap64, (void * a, size_t size, int p, int f, int fd, off64_t where), (a, size, p, f, fd, where))
CALL(int, munmap, (void * a, size_t size), (a, size))
CALL(int, msync, (void * a, size_t size, int flags), (a, size, flags))
CALL(int, rename, (const char * from, const char * to), (from, to))
CALL(int, renameat, (int a, const char * from, int b, const char * to), (a, from, b, to))
CALL(int, unlink, (const char * path), (path))
CALL(int, flock, (int fd, int what), (fd, what))
CALL(int, chmod, (const char * path, mode_t mode), (path, mode))
CALL(int, fchmod, (int fd, mode_t mode), (fd, mode))
