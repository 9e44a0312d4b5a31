/* See cluster.h. A replica is this same executable, run as `atoll ledger node`. */
#define _GNU_SOURCE
#include "cli/ledger/cluster.h"

#include "base/file.h"
#include "net/http_client.h"

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

/* The next line that it prints. */
static bool line_read(int fd, char line[static LINE_MAX_LEN])
{
    for (size_t len = 0; len + 1 < LINE_MAX_LEN;) {
        ssize_t got = read(fd, line + len, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        if (line[len++] == '\n') {
            line[len] = 0;
            return true;
        }
    }
    return false;
}

/* The first two lines: it runs, and where its view is. */
static int replica_wait(struct cluster *c, int fd, uint32_t number, struct error *e)
{
    char line[LINE_MAX_LEN];
    unsigned port;
    if (!line_read(fd, line) || !line_read(fd, line) || sscanf(line, "HTTP at port %u", &port) != 1)
        return error_set(e, ATOLL_EUNAVAIL, "replica %u did not start; see above", number);
    c->http_ports[number] = (uint16_t)port;
    return 0;
}

/* In a process group of its own, so that what the terminal sends reaches us alone and replicas stop
 * in order. */
static int replica_spawn(struct cluster *c, uint32_t number, int out)
{
    char directory[640];
    snprintf(directory, sizeof directory, "%s/replica-%u", c->directory, number);
    const char *mode = c->mode == LEDGER_LOG_ASYNC ? "async" : "strict";
    char *arguments[] = {"atoll",  "ledger",      "node",        "--mode",  (char *)mode,
                         "--http", "127.0.0.1:0", "--until-eof", directory, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, c->lifeline[0], 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
    int failed =
        posix_spawn(&c->replicas[number], c->program, &actions, &attributes, arguments, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        c->replicas[number] = 0;
    return failed;
}

int cluster_replica_start(struct cluster *c, uint32_t number, struct error *e)
{
    int out[2];
    if (pipe2(out, O_CLOEXEC) != 0)
        return error_set_errno(e, 0, "a pipe");
    int failed = replica_spawn(c, number, out[1]);
    close(out[1]);
    int rc = failed ? error_set(e, ATOLL_EUNAVAIL, "replica %u: %s", number, strerror(failed))
                    : replica_wait(c, out[0], number, e);
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

/* Starts what lies in the directory. */
static int cluster_run(struct cluster *c, struct error *e)
{
    char path[640];
    snprintf(path, sizeof path, "%s/genesis", c->directory);
    int rc = file_read(path, LEDGER_MESSAGE_MAX, &c->genesis, e);
    if (rc == 0 && pipe2(c->lifeline, O_CLOEXEC) != 0)
        rc = error_set_errno(e, 0, "a pipe");
    for (uint32_t i = 0; rc == 0 && i < c->settings.replicas; i++)
        rc = cluster_replica_start(c, i, e);
    return rc;
}

int cluster_start(struct cluster *c, const char *program, const char *directory,
                  const struct ledger_local_settings *settings, enum ledger_log_mode mode,
                  struct error *e)
{
    const char *base = getenv("TMPDIR");
    *c = (struct cluster){.settings = *settings,
                          .mode = mode,
                          .program = program ? program : "/proc/self/exe",
                          .lifeline = {-1, -1}};
    if (directory) {
        snprintf(c->directory, sizeof c->directory, "%s", directory);
    } else {
        snprintf(c->directory, sizeof c->directory, "%s/atoll-ledger-XXXXXX",
                 base && *base ? base : "/tmp");
        if (mkdtemp(c->directory) == NULL)
            return error_set_errno(e, 0, "a directory %s", c->directory);
    }
    c->settings.first_port = ledger_local_ports(settings->replicas);
    int rc = c->settings.first_port
                 ? ledger_local_make(c->directory, &c->settings, e)
                 : error_set(e, ATOLL_EUNAVAIL, "there are no free ports on this machine");
    if (rc == 0)
        rc = cluster_run(c, e);
    if (rc != 0)
        cluster_stop(c, directory == NULL);
    return rc;
}

int cluster_continue(struct cluster *c, const char *program, const char *directory,
                     enum ledger_log_mode mode, struct error *e)
{
    *c = (struct cluster){
        .mode = mode, .program = program ? program : "/proc/self/exe", .lifeline = {-1, -1}};
    snprintf(c->directory, sizeof c->directory, "%s", directory);
    int rc = ledger_local_read(directory, &c->settings, e);
    if (rc == 0)
        rc = cluster_run(c, e);
    if (rc != 0)
        cluster_stop(c, false);
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
    for (int i = 0; i < 2; i++) {
        if (c->lifeline[i] >= 0)
            close(c->lifeline[i]);
        c->lifeline[i] = -1;
    }
    buffer_free(&c->genesis);
    if (remove_too)
        nftw(c->directory, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- what they say ---- */

/* "\nNAME NUMBER\n" in the text of metrics. */
static bool metric_read(const char *text, const char *name, uint64_t *out)
{
    char line[96];
    snprintf(line, sizeof line, "\natoll_ledger_%s ", name);
    const char *at = strstr(text, line);
    if (at == NULL)
        return false;
    *out = strtoull(at + strlen(line), NULL, 10);
    return true;
}

int cluster_status(const struct cluster *c, uint32_t number, struct cluster_status *out,
                   struct error *e)
{
    struct http_client *client;
    struct http_client_response response = {0};
    struct url url;
    char text[96];
    snprintf(text, sizeof text, "http://127.0.0.1:%u/v1/metrics", c->http_ports[number]);
    int rc = url_parse(text, &url, e);
    if (rc == 0)
        rc = http_client_create(&(struct http_client_options){.body_max = 1u << 16}, &client, e);
    if (rc != 0)
        return rc;
    const struct http_client_request request = {.method = HTTP_GET, .url = &url};
    rc = http_client_request(client, &request, &response, e);
    if (rc == 0 && !buffer_append(&response.body, "", 1))
        rc = error_set(e, ATOLL_ENOMEM, "no memory");
    const char *metrics = (const char *)response.body.data;
    if (rc == 0 &&
        !(metric_read(metrics, "phase", &out->phase) && metric_read(metrics, "view", &out->view) &&
          metric_read(metrics, "batch_committed", &out->batch_committed)))
        rc = error_set(e, ATOLL_EIO, "replica %u does not say how it is", number);
    http_client_response_free(&response);
    http_client_destroy(client);
    return rc;
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
        else if (strncmp(name, "checkpoint", 10) == 0)
            out->checkpoint_ns += ns;
        else
            out->other_ns += ns;
    }
    closedir(d);
    return true;
}
