/*
 * A hash table from 32-byte hashes to fixed-size values, for the witness: open addressing, nothing
 * is ever removed.
 */
#ifndef SIM_TABLE_H
#define SIM_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct sim_table {
    uint8_t (*key)[32];
    uint8_t *value;
    bool *used;
    size_t value_len, count, capacity; /* a power of two */
};

/* Zero-initialise but for value_len. */
void sim_table_close(struct sim_table *);
/* NULL: not there. Good until the next sim_table_put. */
void *sim_table_get(const struct sim_table *, const uint8_t key[static 32]);
/* The value of a key, new (all zero; *fresh) or there already. */
void *sim_table_put(struct sim_table *, const uint8_t key[static 32], bool *fresh);

#endif
