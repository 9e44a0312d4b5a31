/*
 * See shares.h.
 *
 *   GROUP/                     the node's own, delegated
 *   GROUP/supervisor/          this process: a group with controllers may hold none itself
 *   GROUP/tenant-NAME/         workers of a tenant; cpu.weight
 *
 * A group counts as delegated when systemd has marked it, or when this process may write it without
 * being root. Nothing is written to any other. Nice values belong to threads: all of a process's
 * are set; raising a share again needs a privilege (CAP_SYS_NICE) and is left out without it.
 */
#define _GNU_SOURCE
#include "node/shares.h"

#include "base/file.h"
#include "node/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define TEXT_MAX 65536u

struct shares {
    char group[PATH_MAX]; /* "": nice values */
};

/* ---- finding the group ---- */

/* Where cgroup version 2 is mounted; false: nowhere. */
static bool mount_find(char out[static PATH_MAX])
{
    struct buffer text = {0};
    struct error e;
    bool found = false;
    if (file_read("/proc/self/mounts", TEXT_MAX, &text, &e) != 0 || !buffer_append(&text, "", 1)) {
        buffer_free(&text);
        return false;
    }
    char *rest = (char *)text.data, *line;
    while (!found && (line = strsep(&rest, "\n")) != NULL) {
        char path[PATH_MAX], kind[64];
        if (sscanf(line, "%*s %4095s %63s", path, kind) == 2 && strcmp(kind, "cgroup2") == 0) {
            strcpy(out, path);
            found = true;
        }
    }
    buffer_free(&text);
    return found;
}

/* The directory of this process's group; false: none, or the root of all, which is nobody's. */
static bool group_find(char out[static PATH_MAX])
{
    char mount[PATH_MAX];
    struct buffer text = {0};
    struct error e;
    bool found = false;
    if (!mount_find(mount) || file_read("/proc/self/cgroup", TEXT_MAX, &text, &e) != 0)
        return false;
    if (buffer_append(&text, "", 1)) {
        char *rest = (char *)text.data, *line;
        while (!found && (line = strsep(&rest, "\n")) != NULL)
            found = strncmp(line, "0::/", 4) == 0 && line[4] != 0 &&
                    snprintf(out, PATH_MAX, "%s%s", mount, line + 3) < PATH_MAX;
    }
    buffer_free(&text);
    return found;
}

static bool group_is_delegated(const char *group)
{
    char mark[2] = "";
    if (getxattr(group, "user.delegate", mark, sizeof mark) > 0 ||
        getxattr(group, "trusted.delegate", mark, sizeof mark) > 0)
        return mark[0] == '1';
    return geteuid() != 0 && access(group, W_OK) == 0;
}

/* ---- files of a group ---- */

static bool group_write(const char *group, const char *file, const char *text)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s", group, file) >= (int)sizeof path)
        return false;
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0)
        close(fd);
    return good;
}

static bool group_has_cpu(const char *group)
{
    char path[PATH_MAX];
    struct buffer text = {0};
    struct error e;
    bool has = false;
    if (snprintf(path, sizeof path, "%s/cgroup.controllers", group) < (int)sizeof path &&
        file_read(path, TEXT_MAX, &text, &e) == 0 && buffer_append(&text, "", 1)) {
        char *rest = (char *)text.data, *word;
        while (!has && (word = strsep(&rest, " \n")) != NULL)
            has = strcmp(word, "cpu") == 0;
    }
    buffer_free(&text);
    return has;
}

static bool process_move(const char *group, const char *child, int pid)
{
    char path[PATH_MAX], text[16];
    if (snprintf(path, sizeof path, "%s/%s", group, child) >= (int)sizeof path ||
        (mkdir(path, 0755) != 0 && errno != EEXIST))
        return false;
    snprintf(text, sizeof text, "%d", pid);
    return group_write(path, "cgroup.procs", text);
}

/* Groups of an earlier start; those with processes stay. */
static void groups_clear(const char *group)
{
    DIR *d = opendir(group);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        if (strncmp(entry->d_name, "tenant-", 7) == 0)
            unlinkat(dirfd(d), entry->d_name, AT_REMOVEDIR);
    }
    if (d)
        closedir(d);
}

/* Makes the group ready for children with weights. */
static bool group_take(const char *group)
{
    if (!group_has_cpu(group) || !process_move(group, "supervisor", getpid()))
        return false;
    groups_clear(group);
    return group_write(group, "cgroup.subtree_control", "+cpu");
}

/* ---- shares ---- */

int shares_nice(uint32_t weight, uint32_t most)
{
    int value = 0;
    for (double ratio = (double)most / (weight ? weight : 1); ratio > 1.118 && value < 19; value++)
        ratio /= 1.25;
    return value;
}

static void nice_set(int pid, int value)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    setpriority(PRIO_PROCESS, (id_t)pid, value);
    DIR *d = opendir(path);
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        if (entry->d_name[0] != '.')
            setpriority(PRIO_PROCESS, (id_t)strtoul(entry->d_name, NULL, 10), value);
    }
    if (d)
        closedir(d);
}

void shares_set(struct shares *s, int pid, const char *tenant, uint32_t weight, uint32_t most)
{
    char child[PATH_MAX], group[PATH_MAX], text[16];
    if (s->group[0]) {
        snprintf(child, sizeof child, "tenant-%s", tenant);
        snprintf(text, sizeof text, "%u", weight);
        if (process_move(s->group, child, pid) &&
            snprintf(group, sizeof group, "%s/%s", s->group, child) < (int)sizeof group &&
            group_write(group, "cpu.weight", text))
            return;
        log_write(LOG_WARNING, "shares", &(struct log_about){.tenant = tenant},
                  "the worker's group could not be set (%s); its nice value is", strerror(errno));
    }
    nice_set(pid, shares_nice(weight, most));
}

const char *shares_means(const struct shares *s)
{
    return s->group[0] ? "cgroup" : "nice";
}

int shares_create(const char *group, struct shares **out, struct error *e)
{
    struct shares *s = calloc(1, sizeof *s);
    *out = s;
    if (s == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the tenants' shares");
    bool found = group ? snprintf(s->group, sizeof s->group, "%s", group) < (int)sizeof s->group
                       : group_find(s->group) && group_is_delegated(s->group);
    if (!found || !group_take(s->group))
        s->group[0] = 0;
    log_write(LOG_INFO, "shares", NULL, "tenants' weights are kept by %s%s%s",
              s->group[0] ? "cpu.weight beneath " : "nice values", s->group,
              s->group[0] ? "" : " (no cgroup with cpu was delegated)");
    return 0;
}

void shares_destroy(struct shares *s)
{
    if (s == NULL)
        return;
    if (s->group[0])
        groups_clear(s->group);
    free(s);
}
