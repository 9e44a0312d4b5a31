/* See scratch.h. */
#define _GNU_SOURCE
#include "cli/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Children that end with the command may write for a moment longer. */
#define GUARD_ATTEMPTS 100
#define GUARD_PAUSE_NS 50000000

static char directory[PATH_MAX];
static pid_t owner, guard;
static int guard_pipe; /* closed with this process */

static int entry_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    remove(path);
    return 0;
}

static void tree_remove(void)
{
    nftw(directory, entry_remove, 16, FTW_DEPTH | FTW_PHYS);
}

static _Noreturn void guard_run(int end)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};
    char byte;
    for (size_t i = 0; i < sizeof ignored / sizeof ignored[0]; i++)
        signal(ignored[i], SIG_IGN);
    setsid();
    dup2(end, 0);
    close_range(1, ~0u, 0);
    while (read(0, &byte, 1) < 0 && errno == EINTR)
        ;
    for (int i = 0; i < GUARD_ATTEMPTS && access(directory, F_OK) == 0; i++) {
        if (i > 0)
            nanosleep(&(struct timespec){.tv_nsec = GUARD_PAUSE_NS}, NULL);
        tree_remove();
    }
    _exit(0);
}

static int guard_start(struct error *e)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_set_errno(e, 0, "cannot make a pipe");
    guard = fork();
    if (guard == 0)
        guard_run(ends[0]);
    close(ends[0]);
    guard_pipe = ends[1];
    if (guard < 0) {
        close(guard_pipe);
        return error_set_errno(e, 0, "cannot start a process");
    }
    return 0;
}

const char *scratch_directory(struct error *e)
{
    static bool at_exit;
    const char *base = getenv("TMPDIR");
    if (owner == getpid())
        return directory;
    int len =
        snprintf(directory, sizeof directory, "%s/atoll-XXXXXX", base && *base ? base : "/tmp");
    if (len < 0 || (size_t)len >= sizeof directory) {
        error_set(e, ATOLL_EINVAL, "the path in TMPDIR is too long");
        return NULL;
    }
    if (mkdtemp(directory) == NULL) {
        error_set_errno(e, 0, "cannot make a temporary directory %s", directory);
        return NULL;
    }
    if (guard_start(e) < 0) {
        rmdir(directory);
        return NULL;
    }
    owner = getpid();
    if (!at_exit)
        at_exit = atexit(scratch_remove) == 0;
    return directory;
}

void scratch_remove(void)
{
    if (owner != getpid())
        return;
    tree_remove();
    close(guard_pipe);
    while (waitpid(guard, NULL, 0) < 0 && errno == EINTR)
        ;
    owner = 0;
}

pid_t child_fork(int signal)
{
    pid_t parent = getpid(), child = fork();
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, signal);
        if (getppid() != parent)
            _exit(128 + signal);
    }
    return child;
}
