/*
 * Resolving the guest's paths beneath a directory, with no way out.
 *
 * Two ways that give the same answers. openat2 with RESOLVE_BENEATH makes the kernel refuse every
 * step that would leave, while it walks, so nobody can swap a component between check and use. The
 * walk opens one component after the other without following links, reads links itself and keeps
 * the chain of directories it came through, so that ".." means "the one before in the chain" and
 * not whatever the parent has become; each directory it holds was reached from the first by names
 * only. The walk also serves when renames elsewhere keep disturbing openat2 (EAGAIN).
 *
 * Making, removing and renaming act on a last component that the kernel never follows: they open
 * the directory before it and name it there. A last "." or ".." is left to the kernel, which
 * refuses these operations on them without looking.
 */
#define _GNU_SOURCE
#include "sandbox/wasi/world.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define OPENAT2_ATTEMPTS 8
#define WALK_DEPTH       256     /* directories open at once while walking */
#define WALK_LINKS       40      /* as many as the kernel follows */
#define WALK_ATTEMPTS    16      /* a last component that changes between link and file meanwhile */
#define WALK_ON          INT_MIN /* no result yet: there is more to walk; no -errno */

static int openat2_call(int directory, const char *path, int flags, mode_t mode, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)flags, .resolve = resolve};
    if (flags & O_CREAT) {
        how.mode = mode;
    }
    int fd = (int)syscall(SYS_openat2, directory, path, &how, sizeof how);
    return fd >= 0 ? fd : -errno;
}

bool path_openat2_works(void)
{
    int fd = openat2_call(AT_FDCWD, "/", O_PATH | O_CLOEXEC, 0, RESOLVE_NO_MAGICLINKS);
    if (fd >= 0) {
        close(fd);
    }
    return fd >= 0;
}

/* ---- the walk ---- */

struct walk {
    int chain[WALK_DEPTH]; /* chain[0] is the caller's directory and not ours to close */
    int depth;             /* index of the current one */
    int links;
    char rest[2 * WASI_MAX_PATH]; /* what is still to be walked */
};

/* Puts a link's target before what remains after the link. */
static int walk_splice(struct walk *w, int directory, const char *name, const char *after)
{
    char target[WASI_MAX_PATH], rest[2 * WASI_MAX_PATH];
    ssize_t len = readlinkat(directory, name, target, sizeof target);
    if (len < 0) {
        return -errno;
    }
    if (len == 0) {
        return -ENOENT;
    }
    if (target[0] == '/') {
        return -EPERM;
    }
    if (++w->links > WALK_LINKS) {
        return -ELOOP;
    }
    size_t after_len = strlen(after);
    if ((size_t)len + after_len >= sizeof rest) {
        return -ENAMETOOLONG;
    }
    memcpy(rest, target, (size_t)len);
    memcpy(rest + len, after, after_len + 1);
    memcpy(w->rest, rest, (size_t)len + after_len + 1);
    return 0;
}

/* Enters the directory `name`, or follows it if it is a link; `after` is what comes then. */
static int walk_enter(struct walk *w, const char *name, const char *after)
{
    struct stat status;
    int fd = openat(w->chain[w->depth], name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    int result = fstat(fd, &status) == 0 ? 0 : -errno;
    if (result == 0 && S_ISLNK(status.st_mode)) {
        result = walk_splice(w, fd, "", after);
    } else if (result == 0 && !S_ISDIR(status.st_mode)) {
        result = -ENOTDIR;
    } else if (result == 0 && w->depth + 1 == WALK_DEPTH) {
        result = -ENAMETOOLONG;
    } else if (result == 0) {
        w->chain[++w->depth] = fd;
        memmove(w->rest, after, strlen(after) + 1);
        return 0;
    }
    close(fd);
    return result;
}

/* Opens the last component. Returns the descriptor or -errno; WALK_ON when it was a link that has
 * been spliced in. */
static int walk_finish(struct walk *w, const char *name, int flags, mode_t mode)
{
    int directory = w->chain[w->depth];
    for (int attempt = 0; attempt < WALK_ATTEMPTS; attempt++) {
        struct stat status;
        int fd = openat(directory, name, flags | O_NOFOLLOW | O_CLOEXEC, mode);
        int error = fd >= 0 ? 0 : errno;
        if ((flags & O_NOFOLLOW) || (fd >= 0 && !(flags & O_PATH))) {
            return fd >= 0 ? fd : -error;
        }
        if (fd >= 0) { /* O_PATH opens links as well */
            if (fstat(fd, &status) != 0 || !S_ISLNK(status.st_mode)) {
                return fd;
            }
            int result = walk_splice(w, fd, "", "");
            close(fd);
            return result == 0 ? WALK_ON : result;
        }
        if (error != ELOOP && error != ENOTDIR) {
            return -error;
        }
        int result = walk_splice(w, directory, name, "");
        if (result != -EINVAL) {
            return result == 0 ? WALK_ON : result;
        }
        if (error == ENOTDIR) {
            return -ENOTDIR;
        }
    }
    return -ELOOP;
}

/* One step; the descriptor when the end is reached, else WALK_ON or -errno. */
static int walk_step(struct walk *w, int flags, mode_t mode)
{
    char name[WASI_MAX_PATH];
    const char *start = w->rest + strspn(w->rest, "/");
    size_t len = strcspn(start, "/");
    const char *after = start + len;
    if (len == 0) {
        int fd = openat(w->chain[w->depth], ".", flags | O_CLOEXEC, mode);
        return fd >= 0 ? fd : -errno;
    }
    if (len >= sizeof name) {
        return -ENAMETOOLONG;
    }
    memcpy(name, start, len);
    name[len] = '\0';
    int result = 0;
    if (strcmp(name, ".") == 0) {
        memmove(w->rest, after, strlen(after) + 1);
    } else if (strcmp(name, "..") == 0) {
        if (w->depth == 0) {
            return -EPERM;
        }
        close(w->chain[w->depth--]);
        memmove(w->rest, after, strlen(after) + 1);
    } else if (*after == '\0') {
        return walk_finish(w, name, flags, mode);
    } else {
        result = walk_enter(w, name, after);
    }
    return result == 0 ? WALK_ON : result;
}

static int walk_open(int directory, const char *path, int flags, mode_t mode)
{
    struct walk w = {.chain = {directory}};
    size_t len = strlen(path);
    if (len >= WASI_MAX_PATH) {
        return -ENAMETOOLONG;
    }
    memcpy(w.rest, path, len + 1);
    int result;
    do {
        result = walk_step(&w, flags, mode);
    } while (result == WALK_ON);
    while (w.depth > 0) {
        close(w.chain[w.depth--]);
    }
    return result;
}

/* ---- what the rest of WASI uses ---- */

int path_open_beneath(const struct wasi *w, int directory, const char *path, int flags, mode_t mode)
{
    if (path[0] == '/') {
        return -EPERM;
    }
    for (int attempt = 0; w->openat2 && attempt < OPENAT2_ATTEMPTS; attempt++) {
        int fd = openat2_call(directory, path, flags | O_CLOEXEC, mode,
                              RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
        if (fd == -EXDEV) {
            return -EPERM;
        }
        if (fd != -EAGAIN && fd != -EINTR) {
            return fd;
        }
    }
    return walk_open(directory, path, flags, mode);
}

int path_parent_open(const struct wasi *w, int directory, char *path, struct parent *p)
{
    if (path[0] == '/') {
        return -EPERM;
    }
    size_t end = strlen(path);
    while (end > 0 && path[end - 1] == '/') {
        end--;
    }
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    if (path[end] == '/') {
        path[end + 1] = '\0';
    }
    p->name = path + start;
    p->owned = start > 0;
    p->fd = directory;
    if (p->owned) {
        path[start - 1] = '\0';
        p->fd = path_open_beneath(w, directory, path, O_PATH | O_DIRECTORY, 0);
    }
    return p->fd >= 0 ? 0 : p->fd;
}

void path_parent_close(struct parent *p)
{
    if (p->owned) {
        close(p->fd);
    }
}
