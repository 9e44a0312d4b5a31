#include "disk.h"

#include <stdlib.h>

void sim_disk_open(struct sim_disk *d, struct sim_world *world, uint32_t sync_low_us,
                   uint32_t sync_high_us)
{
    *d = (struct sim_disk){
        .world = world, .next_lsn = 1, .sync_low_us = sync_low_us, .sync_high_us = sync_high_us};
}

void sim_disk_close(struct sim_disk *d)
{
    for (size_t i = 0; i < d->count; i++)
        free(d->record[i].bytes);
    free(d->record);
    *d = (struct sim_disk){0};
}

uint64_t sim_disk_append(struct sim_disk *d, enum sim_file file, uint8_t kind, uint8_t type,
                         uint64_t position, const uint8_t *bytes, size_t len)
{
    struct sim_record *r;

    if (d->full || (d->records_max && d->count >= d->records_max))
        return 0;
    if (d->count == d->capacity) {
        d->capacity = d->capacity ? 2 * d->capacity : 256;
        d->record = sim_reallocate(d->record, d->capacity * sizeof *d->record);
    }
    r = &d->record[d->count++];
    *r = (struct sim_record){
        .lsn = d->next_lsn++,
        .position = position,
        .file = (uint8_t)file,
        .kind = kind,
        .type = type,
        .len = (uint32_t)len,
        .bytes = sim_allocate(len),
    };
    if (len)
        memcpy(r->bytes, bytes, len);
    return r->lsn;
}

uint64_t sim_disk_sync_delay(struct sim_disk *d)
{
    return sim_random_skewed(sim_world_random(d->world, SIM_STREAM_DISK), d->sync_low_us,
                             d->sync_high_us);
}

void sim_disk_synced(struct sim_disk *d, uint64_t lsn)
{
    if (lsn > d->durable_lsn)
        d->durable_lsn = lsn;
}

void sim_disk_prune(struct sim_disk *d, bool (*drop)(const struct sim_record *, void *ctx),
                    void *ctx)
{
    size_t kept = 0;

    for (size_t i = 0; i < d->count; i++) {
        if (drop(&d->record[i], ctx))
            free(d->record[i].bytes);
        else
            d->record[kept++] = d->record[i];
    }
    d->count = kept;
}

/* The first lsn of each file that a power cut takes away. */
struct survival {
    uint64_t lost_from[SIM_FILE_COUNT];
};

static bool record_lost(const struct sim_record *r, void *ctx)
{
    const struct survival *survival = ctx;

    return r->lsn >= survival->lost_from[r->file];
}

void sim_disk_power_cut(struct sim_disk *d)
{
    struct sim_random *random = sim_world_random(d->world, SIM_STREAM_DISK);
    struct survival survival;

    for (unsigned file = 0; file < SIM_FILE_COUNT; file++)
        survival.lost_from[file] = sim_random_range(random, d->durable_lsn + 1, d->next_lsn);
    sim_disk_prune(d, record_lost, &survival);
    d->durable_lsn = d->next_lsn - 1;
}

static bool record_may_rot(const struct sim_disk *d, const struct sim_record *r, enum sim_file file,
                           uint8_t kind)
{
    return r->file == file && r->kind == kind && r->lsn <= d->durable_lsn;
}

struct sim_record *sim_disk_rot(struct sim_disk *d, enum sim_file file, uint8_t kind)
{
    struct sim_random *random = sim_world_random(d->world, SIM_STREAM_DISK);
    size_t candidates = 0, pick;

    for (size_t i = 0; i < d->count; i++)
        candidates += record_may_rot(d, &d->record[i], file, kind);
    if (!candidates)
        return NULL;
    pick = sim_random_below(random, candidates);
    for (size_t i = 0;; i++)
        if (record_may_rot(d, &d->record[i], file, kind) && !pick--) {
            d->record[i].rotten = true;
            return &d->record[i];
        }
}
