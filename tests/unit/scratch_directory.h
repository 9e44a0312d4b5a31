/* A temporary directory per test program: the tests' ATOLL_HOME, caches and files. */
#ifndef TESTS_SCRATCH_DIRECTORY_H
#define TESTS_SCRATCH_DIRECTORY_H

#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[PATH_MAX];

static int scratch_remove_one(const char *path, const struct stat *status, int kind,
                              struct FTW *where)
{
    (void)status;
    (void)kind;
    (void)where;
    return remove(path);
}

static inline void scratch_remove(const char *path)
{
    nftw(path, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* For cmocka's group setup and teardown. */
static inline int scratch_create(void **state)
{
    (void)state;
    const char *base = getenv("TMPDIR");
    snprintf(scratch, sizeof scratch, "%s/atoll-test-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(scratch))
        return -1;
    return setenv("ATOLL_HOME", scratch, 1);
}

static inline int scratch_destroy(void **state)
{
    (void)state;
    scratch_remove(scratch);
    return 0;
}

static inline const char *scratch_path(const char *name)
{
    static char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", scratch, name);
    return path;
}

#endif
