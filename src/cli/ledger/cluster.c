/* See cluster.h. A replica is this same executable, run as `atoll ledger node`. */
#define _GNU_SOURCE
#include "cli/ledger/cluster.h"

#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINE_MAX_LEN 256

extern char **environ;

/* ---- one replica ---- */

/* The first line that it prints: it runs. */
static int replica_wait(int fd, uint32_t number, struct error *e)
{
    char line[LINE_MAX_LEN];
    size_t len = 0;
    while (len + 1 < sizeof line) {
        ssize_t got = read(fd, line + len, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return error_set(e, ATOLL_EUNAVAIL, "replica %u did not start; see above", number);
        if (line[len++] == '\n')
            break;
    }
    return 0;
}

int cluster_replica_start(struct cluster *c, uint32_t number, struct error *e)
{
    char directory[640];
    int out[2];
    snprintf(directory, sizeof directory, "%s/replica-%u", c->directory, number);
    char *arguments[] = {
        "atoll",   "ledger", "node", "--mode", c->mode == LEDGER_LOG_ASYNC ? "async" : "strict",
        directory, NULL};
    if (pipe2(out, O_CLOEXEC) != 0)
        return error_set_errno(e, 0, "a pipe");
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, out[1], 1);
    int failed = posix_spawn(&c->replicas[number], c->program, &actions, NULL, arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(out[1]);
    int rc = 0;
    if (failed) {
        c->replicas[number] = 0;
        rc = error_set(e, ATOLL_EUNAVAIL, "replica %u: %s", number, strerror(failed));
    } else {
        rc = replica_wait(out[0], number, e);
    }
    close(out[0]);
    if (rc != 0)
        cluster_replica_kill(c, number);
    return rc;
}

void cluster_replica_kill(struct cluster *c, uint32_t number)
{
    if (c->replicas[number] <= 0)
        return;
    kill(c->replicas[number], SIGKILL);
    waitpid(c->replicas[number], NULL, 0);
    c->replicas[number] = 0;
}

/* ---- all ---- */

int cluster_start(struct cluster *c, const char *program, const char *directory,
                  const struct ledger_local_settings *settings, enum ledger_log_mode mode,
                  struct error *e)
{
    const char *base = getenv("TMPDIR");
    char path[640];
    *c = (struct cluster){
        .settings = *settings, .mode = mode, .program = program ? program : "/proc/self/exe"};
    if (directory) {
        snprintf(c->directory, sizeof c->directory, "%s", directory);
    } else {
        snprintf(c->directory, sizeof c->directory, "%s/atoll-ledger-XXXXXX",
                 base && *base ? base : "/tmp");
        if (mkdtemp(c->directory) == NULL)
            return error_set_errno(e, 0, "a directory %s", c->directory);
    }
    c->settings.first_port = ledger_local_ports(settings->replicas);
    if (c->settings.first_port == 0)
        return error_set(e, ATOLL_EUNAVAIL, "there are no free ports on this machine");
    int rc = ledger_local_make(c->directory, &c->settings, e);
    snprintf(path, sizeof path, "%s/genesis", c->directory);
    if (rc == 0)
        rc = file_read(path, LEDGER_MESSAGE_MAX, &c->genesis, e);
    for (uint32_t i = 0; rc == 0 && i < settings->replicas; i++)
        rc = cluster_replica_start(c, i, e);
    if (rc != 0)
        cluster_stop(c, directory == NULL);
    return rc;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

void cluster_stop(struct cluster *c, bool remove_too)
{
    for (uint32_t i = 0; i < c->settings.replicas; i++) {
        if (c->replicas[i] > 0)
            kill(c->replicas[i], SIGTERM);
    }
    for (uint32_t i = 0; i < c->settings.replicas; i++) {
        if (c->replicas[i] > 0)
            waitpid(c->replicas[i], NULL, 0);
        c->replicas[i] = 0;
    }
    buffer_free(&c->genesis);
    if (remove_too)
        nftw(c->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- CPU time ---- */

/* Name and run time of one thread, from /proc/PID/task/TID/{comm,schedstat}. */
static int64_t thread_read(const char *task, char name[static 32])
{
    char path[128], text[64] = "";
    int64_t ns = 0;
    snprintf(path, sizeof path, "%s/comm", task);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd >= 0 ? read(fd, name, 31) : 0;
    if (fd >= 0)
        close(fd);
    name[got > 0 ? got - (name[got - 1] == '\n') : 0] = 0;
    snprintf(path, sizeof path, "%s/schedstat", task);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    got = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0)
        close(fd);
    if (got > 0)
        ns = strtoll(text, NULL, 10);
    return ns;
}

bool cluster_cpu(const struct cluster *c, uint32_t number, struct cluster_cpu *out)
{
    char path[64], task[96], name[32];
    *out = (struct cluster_cpu){0};
    snprintf(path, sizeof path, "/proc/%d/task", c->replicas[number]);
    DIR *d = c->replicas[number] > 0 ? opendir(path) : NULL;
    if (d == NULL)
        return false;
    for (struct dirent *entry; (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(task, sizeof task, "%s/%.20s", path, entry->d_name);
        int64_t ns = thread_read(task, name);
        if (atoi(entry->d_name) == c->replicas[number])
            out->loop_ns += ns;
        else if (strcmp(name, "verify") == 0)
            out->verify_ns += ns;
        else if (strcmp(name, "log") == 0)
            out->log_ns += ns;
        else if (strcmp(name, "checkpoint") == 0)
            out->checkpoint_ns += ns;
        else
            out->other_ns += ns;
    }
    closedir(d);
    return true;
}
