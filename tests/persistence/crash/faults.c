/* Stands between a program and its files and lets chosen calls go wrong. Loaded with LD_PRELOAD.

   UMBRELLA_FAULT = <calls>:<number>:<what>

     calls    write   write, pwrite, writev, pwritev and their variants
              sync    fsync, fdatasync
              space   ftruncate, fallocate and their variants
              rename  rename, by absolute name
     number   which of these calls, from 1; with a plus sign also every later one
     what     EIO, ENOSPC  it fails with this error and does nothing
              short        half of the bytes are written, and it says so
              torn         half of the bytes are written, then the process is killed
              kill         the process is killed before the call
              skip         it does nothing and claims success
              hide         it is done, and claims success even if the kernel refused

   Only files below UMBRELLA_FAULT_UNDER count. The first fault is announced on standard error, so that a test
   can tell whether it came to pass. `skip` and `hide` are lies that no disk tells: they stand for a program
   that does not sync or does not look, and a rig that does not notice them is worth nothing.

   Calls go to the kernel directly, so that nothing here depends on what else interposes. */

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define CURRENT_POSITION (-1L)
#define MOST_PARTS 1024

enum fate { CARRY_ON, FAIL, SHORT, TORN, SKIP, HIDE };

static char calls[16], what[16];
static const char *under;
static long chosen, seen;
static int onwards, announced;

__attribute__((constructor)) static void read_orders(void)
{
    const char *orders = getenv("UMBRELLA_FAULT");
    char number[16] = "";
    under = getenv("UMBRELLA_FAULT_UNDER");
    if (orders == NULL || under == NULL)
        return;
    if (sscanf(orders, "%15[^:]:%15[^:]:%15s", calls, number, what) != 3) {
        dprintf(STDERR_FILENO, "UMBRELLA_FAULT is not <calls>:<number>:<what>: %s\n", orders);
        _exit(2);
    }
    chosen = atol(number);
    onwards = strchr(number, '+') != NULL;
}

static int below(const char *path)
{
    return strncmp(path, under, strlen(under)) == 0;
}

static int ours(int file)
{
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = '\0';
    return below(path);
}

/* What becomes of this call, the next of the chosen ones; sets errno when it is to fail. */
static enum fate draw(void)
{
    int before = errno;
    long number = __sync_add_and_fetch(&seen, 1);
    if (number < chosen || (number > chosen && !onwards))
        return CARRY_ON;
    if (__sync_bool_compare_and_swap(&announced, 0, 1))
        dprintf(STDERR_FILENO, "fault: %s %ld %s\n", calls, number, what);
    errno = before;
    if (strcmp(what, "kill") == 0)
        raise(SIGKILL);
    if (strcmp(what, "short") == 0)
        return SHORT;
    if (strcmp(what, "torn") == 0)
        return TORN;
    if (strcmp(what, "skip") == 0)
        return SKIP;
    if (strcmp(what, "hide") == 0)
        return HIDE;
    errno = strcmp(what, "ENOSPC") == 0 ? ENOSPC : EIO;
    return FAIL;
}

/* The family first: it spares all other calls the look at the name of their file. */
static enum fate fate_of(const char *family, int file)
{
    return strcmp(family, calls) == 0 && ours(file) ? draw() : CARRY_ON;
}

static ssize_t put(int file, const struct iovec *parts, int count, off_t at, int flags)
{
    return syscall(SYS_pwritev2, file, parts, (long) count, (long) at, 0L, (long) flags);
}

static size_t total(const struct iovec *parts, int count)
{
    size_t bytes = 0;
    for (int part = 0; part < count; part++)
        bytes += parts[part].iov_len;
    return bytes;
}

static ssize_t put_half(int file, const struct iovec *parts, int count, off_t at, int flags)
{
    struct iovec half[MOST_PARTS];
    size_t left = (total(parts, count) + 1) / 2;
    int part = 0;
    for (; part < count && part < MOST_PARTS && left > 0; part++) {
        half[part] = parts[part];
        if (half[part].iov_len > left)
            half[part].iov_len = left;
        left -= half[part].iov_len;
    }
    return put(file, half, part, at, flags);
}

static ssize_t write_at(int file, const struct iovec *parts, int count, off_t at, int flags)
{
    enum fate fate = fate_of("write", file);
    if (fate == FAIL)
        return -1;
    if (fate == SKIP)
        return total(parts, count);
    if (fate == SHORT || fate == TORN) {
        ssize_t written = put_half(file, parts, count, at, flags);
        if (fate == TORN)
            raise(SIGKILL);
        return written;
    }
    ssize_t written = put(file, parts, count, at, flags);
    return fate == HIDE && written < 0 ? (ssize_t) total(parts, count) : written;
}

ssize_t pwritev2(int file, const struct iovec *parts, int count, off_t at, int flags)
{
    return write_at(file, parts, count, at, flags);
}

ssize_t pwritev64v2(int file, const struct iovec *parts, int count, off_t at, int flags)
{
    return write_at(file, parts, count, at, flags);
}

ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at)
{
    return write_at(file, parts, count, at, 0);
}

ssize_t pwritev64(int file, const struct iovec *parts, int count, off_t at)
{
    return write_at(file, parts, count, at, 0);
}

ssize_t writev(int file, const struct iovec *parts, int count)
{
    return write_at(file, parts, count, CURRENT_POSITION, 0);
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t at)
{
    struct iovec part = {(void *) bytes, size};
    return write_at(file, &part, 1, at, 0);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off_t at)
{
    return pwrite(file, bytes, size, at);
}

ssize_t write(int file, const void *bytes, size_t size)
{
    struct iovec part = {(void *) bytes, size};
    return write_at(file, &part, 1, CURRENT_POSITION, 0);
}

/* For calls that say no more than whether they succeeded. */
static int do_or_not(enum fate fate, long call, long first, long second, long third, long fourth)
{
    if (fate == FAIL || fate == SKIP)
        return fate == FAIL ? -1 : 0;
    int result = syscall(call, first, second, third, fourth);
    return fate == HIDE ? 0 : result;
}

int fsync(int file)
{
    return do_or_not(fate_of("sync", file), SYS_fsync, file, 0, 0, 0);
}

int fdatasync(int file)
{
    return do_or_not(fate_of("sync", file), SYS_fdatasync, file, 0, 0, 0);
}

int ftruncate(int file, off_t size)
{
    return do_or_not(fate_of("space", file), SYS_ftruncate, file, size, 0, 0);
}

int ftruncate64(int file, off_t size)
{
    return ftruncate(file, size);
}

int fallocate(int file, int mode, off_t at, off_t size)
{
    return do_or_not(fate_of("space", file), SYS_fallocate, file, mode, at, size);
}

int fallocate64(int file, int mode, off_t at, off_t size)
{
    return fallocate(file, mode, at, size);
}

/* The one that gives its error instead of setting errno. */
int posix_fallocate(int file, off_t at, off_t size)
{
    return fallocate(file, 0, at, size) == 0 ? 0 : errno;
}

int posix_fallocate64(int file, off_t at, off_t size)
{
    return posix_fallocate(file, at, size);
}

int rename(const char *from, const char *to)
{
    enum fate fate = strcmp("rename", calls) == 0 && below(to) ? draw() : CARRY_ON;
    return do_or_not(fate, SYS_renameat, AT_FDCWD, (long) from, AT_FDCWD, (long) to);
}
