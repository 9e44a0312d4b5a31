/*
 * Host functions of randomness, time, measurement and anonymous memory. The contract is
 * sdk/c/include/atoll.h.
 */
#define _GNU_SOURCE
#include "node/worker/process.h"

#include "base/file.h"
#include "sandbox/region.h"

#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define RANDOM_MAX  (64ull << 20) /* at a time */
#define RANDOM_STEP 4096u

enum map_right { MAP_READ = 1, MAP_WRITE = 2 };

/* ---- randomness and time ---- */

static enum host_status import_random(struct host_call *hc)
{
    uint32_t to = hc->slots[0].u32;
    uint64_t len = hc->slots[1].u64;
    uint8_t step[RANDOM_STEP];
    guest_other_call(faaslet_of(hc));
    if (len > UINT32_MAX || !guest_range(hc->arena, to, len, GUEST_WRITE))
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (len > RANDOM_MAX)
        return host_result_i32(hc, -ATOLL_ELIMIT);
    int rc = 0;
    for (uint64_t done = 0; rc == 0 && done < len;) {
        size_t want = len - done < sizeof step ? (size_t)(len - done) : sizeof step;
        ssize_t got = getrandom(step, want, 0);
        if (got <= 0)
            return host_result_i32(hc, -ATOLL_EIO);
        rc = guest_write(hc->arena, (uint32_t)(to + done), step, (size_t)got);
        done += (uint64_t)got;
    }
    return host_result_i32(hc, rc);
}

static enum host_status import_now(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    int64_t ns;
    int rc = wasi_now(f->wasi, hc->slots[0].u32, &ns);
    return host_result_i64(hc, rc < 0 ? rc : ns);
}

/* ---- metrics ---- */

static bool metric_name_is_good(const char *name, uint32_t len)
{
    for (uint32_t k = 0; k < len; k++) {
        char c = name[k];
        bool letter = (c >= 'a' && c <= 'z') || c == '_', digit = c >= '0' && c <= '9';
        if (!letter && !(digit && k > 0))
            return false;
    }
    return len > 0;
}

/* Knows the name with this kind from now on. Under worker.lock. */
static int metric_learn(struct version *v, const char *name, uint32_t len, uint32_t kind)
{
    for (uint32_t k = 0; k < v->metric_count; k++) {
        const struct metric_name *known = &v->metrics[k];
        if (strlen(known->name) == len && memcmp(known->name, name, len) == 0)
            return known->kind == kind ? 0 : -ATOLL_ETYPE;
    }
    if (v->metric_count == METRICS_MAX)
        return -ATOLL_ELIMIT;
    if (!v->metrics && !(v->metrics = calloc(METRICS_MAX, sizeof *v->metrics)))
        return -ATOLL_ENOMEM;
    struct metric_name *m = &v->metrics[v->metric_count++];
    memcpy(m->name, name, len);
    m->kind = (uint8_t)kind;
    return 0;
}

static enum host_status import_metric(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint32_t at = hc->slots[0].u32, len = hc->slots[1].u32, kind = hc->slots[3].u32;
    double value = hc->slots[2].f64;
    char name[METRIC_NAME_MAX];
    guest_other_call(f);
    if (!guest_range(hc->arena, at, len, GUEST_READ))
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (kind > 2 || len > sizeof name || !isfinite(value) || (kind == 0 && value < 0))
        return host_result_i32(hc, -ATOLL_EINVAL);
    if (guest_read(hc->arena, name, at, len) < 0)
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (!metric_name_is_good(name, len))
        return host_result_i32(hc, -ATOLL_EINVAL);
    pthread_mutex_lock(&f->worker->lock);
    int rc = metric_learn(f->version, name, len, kind);
    pthread_mutex_unlock(&f->worker->lock);
    if (rc < 0)
        return host_result_i32(hc, rc);
    struct message m = {
        .header = {.kind = MESSAGE_METRIC, .id = f->call->zygote ? 0 : f->call->id},
        .metric = {.value = value, .version = f->version->number, .kind = kind},
        .parts = {(const uint8_t *)name},
        .part_len = {len},
    };
    worker_send(f->worker, &m, NULL, 0);
    return host_result_i32(hc, 0);
}

/* ---- memory ---- */

/* Bytes of a guest's file, into a memory file of size bytes. */
static int file_copy(const struct faaslet *f, uint32_t guest_fd, uint64_t offset, uint64_t size,
                     int fd)
{
    for (uint64_t done = 0; done < size;) {
        const uint8_t *bytes;
        int64_t run = wasi_peek(f->wasi, guest_fd, offset + done, size - done, &bytes);
        if (run <= 0)
            return (int)run;
        struct error e;
        if (file_write_at(fd, bytes, (size_t)run, done, &e) < 0)
            return -ATOLL_ENOMEM;
        done += (uint64_t)run;
    }
    return 0;
}

static enum host_status import_mem_map(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct error e;
    uint64_t len = hc->slots[0].u64, offset = hc->slots[3].u64;
    uint32_t rights = hc->slots[1].u32, to = hc->slots[4].u32, address = 0;
    int32_t file = hc->slots[2].i32;
    guest_other_call(f);
    if (!guest_range(hc->arena, to, sizeof address, GUEST_WRITE))
        return host_result_i32(hc, -ATOLL_EFAULT);
    if (len == 0 || (rights != MAP_READ && rights != (MAP_READ | MAP_WRITE)) || offset % 4096 ||
        (file == -1 && offset))
        return host_result_i32(hc, -ATOLL_EINVAL);
    if (len > WINDOW_END - WINDOW_START)
        return host_result_i32(hc, -ATOLL_ELIMIT);
    uint64_t size = align_up(len, 4096);
    int fd = memory_file("mem_map", NULL, 0, size, false, false, &e);
    if (fd < 0)
        return host_result_i32(hc, -ATOLL_ENOMEM);
    int rc = file == -1 ? 0 : file_copy(f, (uint32_t)file, offset, len, fd);
    if (rc == 0)
        rc = region_map(hc->arena, "mem_map", fd, 0, size,
                        rights & MAP_WRITE ? GUEST_READ | GUEST_WRITE : GUEST_READ, &address, &e);
    close(fd);
    if (rc == 0)
        rc = guest_write(hc->arena, to, &address, sizeof address);
    return host_result_i32(hc, rc);
}

static enum host_status import_mem_unmap(struct host_call *hc)
{
    struct error e;
    uint32_t address = hc->slots[0].u32;
    uint64_t len = hc->slots[1].u64;
    guest_other_call(faaslet_of(hc));
    const struct region *r = arena_region_at(hc->arena, address, 1);
    if (!r || r->address != address || len == 0 || len > r->len || align_up(len, 4096) != r->len ||
        strcmp(r->name, "mem_map") != 0)
        return host_result_i32(hc, -ATOLL_EINVAL);
    return host_result_i32(hc, region_unmap(hc->arena, address, &e));
}

const struct import_entry imports_system[] = {
    {"random", "il:i", import_random},       {"now", "i:l", import_now},
    {"metric", "iidi:i", import_metric},     {"mem_map", "liili:i", import_mem_map},
    {"mem_unmap", "il:i", import_mem_unmap}, {0},
};
