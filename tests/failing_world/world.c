/* The world as a process of the product sees it: its wall clock, and its disk. For LD_PRELOAD; tests/failing_world/world.py speaks to it.

   What is wanted stands in a file that every process maps (WORLD_CONTROL): an offset of the wall clock, what the kernel says of its
   being synchronised, and rules that let calls below WORLD_ROOT fail or wait. What changes a folder there, and what is synced, is
   written down (WORLD_LOG), a line a call, before the call ("synced": after it), so that a test can make of the folder what a power
   cut would have left; each line begins anew and ends with a full stop, since whoever writes may be killed amid it. What a call would take away for ever is kept in WORLD_KEEP under another name first. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RULES 4
#define LONGEST 4096
#define SECOND 1000000000LL
#define REAL(name) ({ static __typeof__(&name) found; if (!found) found = (__typeof__(&name))dlsym(RTLD_NEXT, #name); found; })

enum { CREATE = 1, WRITE = 2, SYNC = 4, RENAME = 8 };

struct rule { uint32_t calls; int32_t error; uint32_t delay_ms; uint32_t hits; char part[240]; };
struct control { int64_t wall_ns; int32_t synchronised; int32_t unused; struct rule rules[RULES]; };

static struct control *control;
static const char *root, *keep;
static int log_fd = -1;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("WORLD_CONTROL");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (found == MAP_FAILED) return;
    root = getenv("WORLD_ROOT");
    keep = getenv("WORLD_KEEP");
    const char *log = getenv("WORLD_LOG");
    if (root && keep && log) log_fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
    control = found;
}

/* -- the clock -- */

static int64_t wall_ns(void) { return control ? *(volatile int64_t *)&control->wall_ns : 0; }

static void shift(struct timespec *at, int64_t by) {
    int64_t sum = at->tv_nsec + by % SECOND;
    at->tv_sec += by / SECOND + (sum < 0 ? -1 : sum >= SECOND ? 1 : 0);
    at->tv_nsec = (sum + SECOND) % SECOND;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int result = REAL(clock_gettime)(clock, at);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shift(at, wall_ns());
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int adjtimex(struct timex *found) {
    int state = REAL(adjtimex)(found);
    int told = control ? *(volatile int32_t *)&control->synchronised : -1;
    if (state < 0 || told < 0) return state;
    found->status = told ? found->status & ~STA_UNSYNC : found->status | STA_UNSYNC;
    return told ? TIME_OK : TIME_ERROR;
}

/* A wait until an instant of the wall clock: the kernel knows only its own. */
static struct timespec own(const struct timespec *until) {
    struct timespec result = *until, wall, steady;
    clock_gettime(CLOCK_REALTIME, &wall);
    REAL(clock_gettime)(CLOCK_MONOTONIC, &steady);
    if (llabs((long long)until->tv_sec - wall.tv_sec) < llabs((long long)until->tv_sec - steady.tv_sec)) shift(&result, -wall_ns());
    return result;
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict until) {
    struct timespec at = own(until);
    return REAL(sem_timedwait)(sem, &at);
}

int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex, const struct timespec *restrict until) {
    static __typeof__(&pthread_cond_timedwait) found;
    if (!found) found = (__typeof__(&pthread_cond_timedwait))dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    struct timespec at = own(until);
    return found(cond, mutex, &at);
}

/* -- the disk: what fails, and what waits -- */

static int below_root(const char *path) { return root && path && strncmp(path, root, strlen(root)) == 0; }

static const char *path_of(int fd, char *space) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, space, LONGEST - 1);
    if (length < 0) return NULL;
    space[length] = 0;
    return space;
}

static const char *whole_path(int folder, const char *path, char *space) {
    char start[LONGEST];
    if (!path || path[0] == '/') return path;
    if (folder == AT_FDCWD ? !getcwd(start, sizeof start) : !path_of(folder, start)) return NULL;
    snprintf(space, LONGEST, "%.2000s/%.2000s", start, path);
    return space;
}

static int ruled(uint32_t call) {
    if (!control || !root) return 0;
    for (int n = 0; n < RULES; n++)
        if (*(volatile uint32_t *)&control->rules[n].calls & call) return 1;
    return 0;
}

/* Waits as long as the rules say; the error that the call has to give, 0 for none. */
static int judge(uint32_t call, const char *path) {
    if (!ruled(call) || !below_root(path)) return 0;
    for (int n = 0; n < RULES; n++) {
        struct rule *rule = &control->rules[n];
        if (!(rule->calls & call) || !strstr(path + strlen(root), rule->part)) continue;
        __atomic_add_fetch(&rule->hits, 1, __ATOMIC_RELAXED);
        if (rule->delay_ms) {
            struct timespec left = {rule->delay_ms / 1000, rule->delay_ms % 1000 * 1000000L};
            while (nanosleep(&left, &left) != 0 && errno == EINTR) {}
        }
        if (rule->error) return rule->error;
    }
    return 0;
}

static int judge_fd(uint32_t call, int fd) {
    char space[LONGEST];
    return ruled(call) ? judge(call, path_of(fd, space)) : 0;
}

#define REFUSE(error) do { int code = (error); if (code) { errno = code; return -1; } } while (0)

/* -- the disk: what is written down -- */

static void note(const char *call, uint64_t inode, int64_t size, const char *path, const char *other) {
    char line[2 * LONGEST + 128];
    int length = snprintf(line, sizeof line, "\n%s\t%llu\t%lld\t%s\t%s\t.\n", call, (unsigned long long)inode, (long long)size, path, other);
    if (log_fd >= 0 && length < (int)sizeof line) syscall(SYS_write, log_fd, line, (size_t)length);
}

static uint64_t inode_of(const char *path) {
    struct stat found;
    return lstat(path, &found) == 0 ? found.st_ino : 0;
}

/* Another name for a file that is about to lose its own; "" where there is none to lose. */
static const char *kept(const char *path, char *space) {
    static atomic_uint counter;
    if (inode_of(path) == 0) return "";
    snprintf(space, LONGEST, "%s/%d-%u", keep, getpid(), atomic_fetch_add(&counter, 1));
    return REAL(link)(path, space) == 0 ? space : "";
}

static int logged(const char *path) { return log_fd >= 0 && below_root(path); }

static int opened(int folder, const char *path, int flags, mode_t mode, int (*call)(int, const char *, int, ...)) {
    char space[LONGEST];
    if (flags & O_CREAT) {
        const char *whole = whole_path(folder, path, space);
        if (below_root(whole)) {
            REFUSE(judge(CREATE, whole));
            if (logged(whole) && inode_of(whole) == 0) note("create", 0, 0, whole, "");
        }
    }
    return call(folder, path, flags, mode);
}

static mode_t mode_of(int flags, va_list list) { return flags & (O_CREAT | __O_TMPFILE) ? va_arg(list, mode_t) : 0; }

#define MODE mode_t mode; va_list list; va_start(list, flags); mode = mode_of(flags, list); va_end(list)
int open(const char *path, int flags, ...) { MODE; return opened(AT_FDCWD, path, flags, mode, REAL(openat)); }
int open64(const char *path, int flags, ...) { MODE; return opened(AT_FDCWD, path, flags, mode, REAL(openat64)); }
int openat(int folder, const char *path, int flags, ...) { MODE; return opened(folder, path, flags, mode, REAL(openat)); }
int openat64(int folder, const char *path, int flags, ...) { MODE; return opened(folder, path, flags, mode, REAL(openat64)); }

ssize_t write(int fd, const void *data, size_t size) { REFUSE(judge_fd(WRITE, fd)); return REAL(write)(fd, data, size); }
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { REFUSE(judge_fd(WRITE, fd)); return REAL(pwrite)(fd, data, size, at); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) { REFUSE(judge_fd(WRITE, fd)); return REAL(pwrite64)(fd, data, size, at); }
ssize_t writev(int fd, const struct iovec *data, int count) { REFUSE(judge_fd(WRITE, fd)); return REAL(writev)(fd, data, count); }

/* What was in the file, or the folder, when the call began is durable when it has ended. */
static int synced(int fd, int (*call)(int)) {
    char space[LONGEST];
    struct stat before;
    const char *path = log_fd >= 0 || ruled(SYNC) ? path_of(fd, space) : NULL;
    REFUSE(judge(SYNC, path));
    if (!logged(path) || fstat(fd, &before) != 0) return call(fd);
    note("sync", before.st_ino, before.st_size, path, "");
    int result = call(fd);
    if (result == 0) note("synced", before.st_ino, before.st_size, path, "");
    return result;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

int ftruncate(int fd, off_t size) {
    char space[LONGEST];
    struct stat before;
    const char *path = log_fd >= 0 || ruled(WRITE) ? path_of(fd, space) : NULL;
    REFUSE(judge(WRITE, path));
    if (logged(path) && fstat(fd, &before) == 0) note("truncate", before.st_ino, size, path, "");
    return REAL(ftruncate)(fd, size);
}
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

static int renamed(int from_folder, const char *from, int to_folder, const char *to, unsigned flags, int (*call)(int, const char *, int, const char *, unsigned)) {
    char one[LONGEST], two[LONGEST], three[LONGEST];
    const char *whole_from = whole_path(from_folder, from, one), *whole_to = whole_path(to_folder, to, two);
    REFUSE(judge(RENAME, whole_to));
    if (logged(whole_to) && whole_from) {
        struct stat found;
        const char *old = lstat(whole_to, &found) == 0 && S_ISREG(found.st_mode) ? kept(whole_to, three) : "";
        char both[2 * LONGEST];
        snprintf(both, sizeof both, "%s\t%s", whole_to, old);
        note("rename", inode_of(whole_from), 0, whole_from, both);
    }
    return call(from_folder, from, to_folder, to, flags);
}
int rename(const char *from, const char *to) { return renamed(AT_FDCWD, from, AT_FDCWD, to, 0, REAL(renameat2)); }
int renameat(int a, const char *from, int b, const char *to) { return renamed(a, from, b, to, 0, REAL(renameat2)); }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { return renamed(a, from, b, to, flags, REAL(renameat2)); }

static int linked(int a, const char *from, int b, const char *to, int flags) {
    char space[LONGEST];
    const char *whole = whole_path(b, to, space);
    REFUSE(judge(CREATE, whole));
    if (logged(whole) && inode_of(whole) == 0) note("create", 0, 0, whole, "");
    return REAL(linkat)(a, from, b, to, flags);
}
int link(const char *from, const char *to) { return linked(AT_FDCWD, from, AT_FDCWD, to, 0); }
int linkat(int a, const char *from, int b, const char *to, int flags) { return linked(a, from, b, to, flags); }

static int unlinked(int folder, const char *path, int flags) {
    char one[LONGEST], two[LONGEST];
    const char *whole = whole_path(folder, path, one);
    if (logged(whole) && inode_of(whole) != 0) {
        if (flags & AT_REMOVEDIR) note("rmdir", 0, 0, whole, "");
        else note("unlink", inode_of(whole), 0, whole, kept(whole, two));
    }
    return REAL(unlinkat)(folder, path, flags);
}
int unlink(const char *path) { return unlinked(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinked(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int folder, const char *path, int flags) { return unlinked(folder, path, flags); }

int mkdirat(int folder, const char *path, mode_t mode) {
    char space[LONGEST];
    const char *whole = whole_path(folder, path, space);
    REFUSE(judge(CREATE, whole));
    if (logged(whole) && inode_of(whole) == 0) note("mkdir", 0, 0, whole, "");
    return REAL(mkdirat)(folder, path, mode);
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }
