/*
 * See large_pages.h. Only blocks that lie wholly in the file are exchanged, and only in files of
 * which nearly everything is there: exchanging a hole would fill it. The thread never reads the
 * bytes, so a file that shrinks meanwhile does no harm; whoever touches a page while it is
 * exchanged waits for the kernel. After each block the thread looks whether it is to stop.
 */
#define _GNU_SOURCE
#include "node/large_pages.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define BLOCK         (2ull << 20)
#define FILE_MIN      (4ull << 20)
#define VIEW          (16ull << 20) /* exchanged at a time */
#define LOOK_NS       500000000ll   /* between two looks at the files */
#define PASSES_MAX    8             /* over a file of which pages are in use */
#define PASS_PAUSE_US 50000
#define NICENESS      10

struct candidate {
    int fd;
    ino_t inode;
    int64_t until_ns;
};

struct large_pages {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct candidate candidates[LARGE_PAGES_FILES]; /* under lock */
    uint32_t count;
    bool stop;
    bool works, useless; /* the kernel has done it; it cannot. The thread's alone */
};

static bool stop_wanted(struct large_pages *l)
{
    pthread_mutex_lock(&l->lock);
    bool stop = l->stop;
    pthread_mutex_unlock(&l->lock);
    return stop;
}

/* ---- exchanging ---- */

/* Blocks of the file, mapped at `at`. True when some could not be exchanged that may be the next
 * time: a page was in use that very moment. */
static bool blocks_exchange(struct large_pages *l, uint8_t *at, uint64_t len)
{
    if (madvise(at, len, MADV_COLLAPSE) == 0)
        l->works = true;
    else if (errno == EAGAIN || errno == EBUSY)
        return true;
    else if (errno == ENOMEM || !l->works)
        l->useless = true;
    return false;
}

/* Goes over the file once; whether it is to be done again. */
static bool file_exchange(struct large_pages *l, int fd, uint64_t size)
{
    bool again = false;
    uint8_t *room =
        mmap(NULL, VIEW + BLOCK, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return false;
    uint8_t *view = room + (BLOCK - (uintptr_t)room % BLOCK) % BLOCK;
    size = size / BLOCK * BLOCK;
    for (uint64_t at = 0; at < size && !l->useless && !stop_wanted(l); at += VIEW) {
        uint64_t len = size - at < VIEW ? size - at : VIEW;
        if (mmap(view, len, PROT_READ, MAP_SHARED | MAP_FIXED | MAP_NORESERVE, fd, (off_t)at) ==
            MAP_FAILED)
            break;
        again |= blocks_exchange(l, view, len);
    }
    munmap(room, VIEW + BLOCK);
    return again && !l->useless;
}

/* ---- the thread ---- */

/* The size of a file whose pages are nearly all there; 0: it is not, so far. */
static uint64_t full_size(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || st.st_size < (off_t)FILE_MIN)
        return 0;
    uint64_t size = (uint64_t)st.st_size, there = (uint64_t)st.st_blocks * 512;
    return there >= size - size / 16 ? size : 0;
}

/* Takes out a file that is to be exchanged, or, with size 0, one that was looked at for too long.
 */
static bool candidate_take(struct large_pages *l, int *fd, uint64_t *size)
{
    int64_t now = clock_monotonic_ns();
    for (uint32_t i = 0; i < l->count; i++) {
        const struct candidate c = l->candidates[i];
        *size = full_size(c.fd);
        if (*size || now >= c.until_ns) {
            *fd = c.fd;
            l->candidates[i] = l->candidates[--l->count];
            return true;
        }
    }
    return false;
}

static void look_again_wait(struct large_pages *l)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    int64_t ns = until.tv_nsec + LOOK_NS;
    until.tv_sec += ns / 1000000000;
    until.tv_nsec = ns % 1000000000;
    if (l->count)
        pthread_cond_timedwait(&l->changed, &l->lock, &until);
    else
        pthread_cond_wait(&l->changed, &l->lock);
}

static void *large_pages_run(void *argument)
{
    struct large_pages *l = argument;
    int fd;
    uint64_t size;
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), NICENESS);
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (!candidate_take(l, &fd, &size)) {
            look_again_wait(l);
            continue;
        }
        pthread_mutex_unlock(&l->lock);
        for (int pass = 0; size && pass < PASSES_MAX && file_exchange(l, fd, size); pass++)
            usleep(PASS_PAUSE_US);
        close(fd);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* ---- for the loop thread ---- */

void large_pages_offer(struct large_pages *l, int fd)
{
    struct stat st;
    if (!l || fstat(fd, &st) < 0 || st.st_size < (off_t)FILE_MIN)
        return;
    pthread_mutex_lock(&l->lock);
    bool known = l->count == LARGE_PAGES_FILES;
    for (uint32_t i = 0; i < l->count && !known; i++)
        known = l->candidates[i].inode == st.st_ino;
    int own = known ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (own >= 0) {
        l->candidates[l->count++] =
            (struct candidate){own, st.st_ino, clock_monotonic_ns() + LARGE_PAGES_WAIT_NS};
        pthread_cond_signal(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
}

int large_pages_create(struct large_pages **out, struct error *e)
{
    pthread_condattr_t monotonic;
    struct large_pages *l = *out = calloc(1, sizeof *l);
    if (!l)
        return error_set(e, ATOLL_ENOMEM, "no memory for the thread of large pages");
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    if (pthread_create(&l->thread, NULL, large_pages_run, l) == 0)
        return 0;
    *out = NULL;
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
    return error_set(e, ATOLL_ENOMEM, "the thread of large pages cannot be started");
}

void large_pages_destroy(struct large_pages *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_signal(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    for (uint32_t i = 0; i < l->count; i++)
        close(l->candidates[i].fd);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
