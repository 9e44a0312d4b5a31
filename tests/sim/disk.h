/*
 * The simulated disk of one machine, at the level at which the replica's core sees its log: records
 * with one numbering (lsn, from 1), in three files: the segments, the votes, and entries that fill
 * gaps.
 *
 *   append ──▶ written (page cache) ──▶ sync ──▶ durable
 *
 * What can happen: the process dies (everything written stays); the power fails (of what is not
 * durable a prefix of each file survives, each by its own chance, and the rest is gone: a torn tail
 * is a record that is not in the prefix, because its checksum does not fit); the disk is full; a
 * sync takes long; a durable record rots (a bit flips, its checksum tells).
 */
#ifndef SIM_DISK_H
#define SIM_DISK_H

#include "world.h"

/* Kinds of records that no core knows of (gap.c). */
#define SIM_KIND_JUMP    200
#define SIM_KIND_HISTORY 201 /* an entry that a jump had left out */
#define SIM_KIND_GONE    202

enum sim_file {
    SIM_FILE_SEGMENT,
    SIM_FILE_VOTE,
    SIM_FILE_HISTORY, /* what fills gaps */
    SIM_FILE_COUNT,
};

struct sim_record {
    uint64_t lsn;
    uint64_t position; /* of the entry, or what else the kind has a number for */
    uint8_t file, kind, type;
    bool rotten;
    uint32_t len;
    uint8_t *bytes; /* the disk's */
};

struct sim_disk {
    struct sim_world *world;
    struct sim_record *record;
    size_t count, capacity;
    uint64_t next_lsn, durable_lsn;
    uint32_t sync_low_us, sync_high_us;
    bool full;
    uint64_t records_max; /* 0: no limit; else the disk is full beyond it */
};

void sim_disk_open(struct sim_disk *, struct sim_world *, uint32_t sync_low_us,
                   uint32_t sync_high_us);
void sim_disk_close(struct sim_disk *);

/* The record's lsn, or 0 when the disk is full. The bytes are copied. */
uint64_t sim_disk_append(struct sim_disk *, enum sim_file, uint8_t kind, uint8_t type,
                         uint64_t position, const uint8_t *bytes, size_t len);
/* How long a sync takes that is asked for now. */
uint64_t sim_disk_sync_delay(struct sim_disk *);
/* A sync up to lsn ended well. */
void sim_disk_synced(struct sim_disk *, uint64_t lsn);

/* The power fails. What survives is durable when it is found again. */
void sim_disk_power_cut(struct sim_disk *);
/* One durable record of a kind, drawn by chance, rots. NULL when there is none. */
struct sim_record *sim_disk_rot(struct sim_disk *, enum sim_file, uint8_t kind);
/* Forgets the records for which drop says so (pruning and rewriting of a file). */
void sim_disk_prune(struct sim_disk *, bool (*drop)(const struct sim_record *, void *ctx),
                    void *ctx);

#endif
