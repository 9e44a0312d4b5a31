#include "table.h"

#include "world.h"

#include <stdlib.h>

static size_t slot_of(const struct sim_table *t, const uint8_t *key)
{
    size_t at;

    /* Keys are hashes: any part of them is as good as another. */
    memcpy(&at, key, sizeof at);
    at &= t->capacity - 1;
    while (t->used[at] && memcmp(t->key[at], key, 32) != 0)
        at = (at + 1) & (t->capacity - 1);
    return at;
}

void *sim_table_get(const struct sim_table *t, const uint8_t key[static 32])
{
    size_t at;

    if (!t->count)
        return NULL;
    at = slot_of(t, key);
    return t->used[at] ? t->value + at * t->value_len : NULL;
}

static void grow(struct sim_table *t)
{
    struct sim_table larger = {.value_len = t->value_len,
                               .capacity = t->capacity ? 2 * t->capacity : 128};

    larger.key = sim_allocate(larger.capacity * sizeof *larger.key);
    larger.value = sim_allocate(larger.capacity * larger.value_len);
    larger.used = sim_allocate(larger.capacity * sizeof *larger.used);
    memset(larger.used, 0, larger.capacity * sizeof *larger.used);
    for (size_t i = 0; i < t->capacity; i++)
        if (t->used[i]) {
            size_t at = slot_of(&larger, t->key[i]);

            larger.used[at] = true;
            memcpy(larger.key[at], t->key[i], 32);
            memcpy(larger.value + at * t->value_len, t->value + i * t->value_len, t->value_len);
        }
    larger.count = t->count;
    sim_table_close(t);
    *t = larger;
}

void *sim_table_put(struct sim_table *t, const uint8_t key[static 32], bool *fresh)
{
    size_t at;

    if (2 * t->count >= t->capacity)
        grow(t);
    at = slot_of(t, key);
    *fresh = !t->used[at];
    if (*fresh) {
        t->used[at] = true;
        t->count++;
        memcpy(t->key[at], key, 32);
        memset(t->value + at * t->value_len, 0, t->value_len);
    }
    return t->value + at * t->value_len;
}

void sim_table_close(struct sim_table *t)
{
    free(t->key);
    free(t->value);
    free(t->used);
    *t = (struct sim_table){.value_len = t->value_len};
}
