/*
 * Random programs over modules/state.wat: sequences of calls that change every part of an
 * instance's state, and comparison of the states of two instances.
 *
 * A program is its seed: the same seed makes the same calls.
 */
#ifndef TESTS_STATE_PROGRAM_H
#define TESTS_STATE_PROGRAM_H

#include "../guest/guest.h"

#include "engine/arena.h"

#include <stdio.h>
#include <string.h>

/* xorshift64*; the state is never 0. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dull;
}

static inline uint32_t random_below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(random_next(state) >> 33) % bound;
}

struct state_calls {
    uint32_t poke, peek, fill, size, grow, init, drop_data, set_numbers, set_function, sum, put,
        keep, put_global, clear, table_size, table_grow, foreign_grow, table_init, drop_elements,
        ask, ask_fixed, dig, nothing, host;
};

static inline struct state_calls state_calls_find(struct arena *a)
{
    struct state_calls c;
#define STATE_FIND(name) c.name = guest_function(a, #name)
    STATE_FIND(poke), STATE_FIND(peek), STATE_FIND(fill), STATE_FIND(size), STATE_FIND(grow);
    STATE_FIND(init), STATE_FIND(drop_data), STATE_FIND(set_numbers), STATE_FIND(set_function);
    STATE_FIND(sum), STATE_FIND(put), STATE_FIND(keep), STATE_FIND(put_global), STATE_FIND(clear);
    STATE_FIND(table_size), STATE_FIND(table_grow), STATE_FIND(foreign_grow);
    STATE_FIND(table_init), STATE_FIND(drop_elements), STATE_FIND(ask), STATE_FIND(ask_fixed);
    STATE_FIND(dig), STATE_FIND(nothing), STATE_FIND(host);
#undef STATE_FIND
    return c;
}

/* What a call came to: its result, or how it ended. */
static inline uint64_t state_call(struct arena *a, uint32_t function, uint64_t x, uint64_t y,
                                  uint64_t z)
{
    struct error e = {0};
    struct run_result result = {0};
    union host_slot slots[4] = {{.u64 = x}, {.u64 = y}, {.u64 = z}};
    if (instance_invoke(arena_primary(a), function, slots, &result, &e) < 0)
        return 0xe000000000000000ull;
    if (result.status != RUN_DONE)
        return 0xf000000000000000ull + (uint64_t)result.status * 256 + (uint64_t)result.trap.kind;
    return slots[0].u64;
}

/* The address of a word somewhere in memory, or a little behind its end; now and then unaligned
 * across pages. */
static inline uint32_t state_address(uint64_t *random, uint64_t memory_bytes)
{
    uint32_t page = random_below(random, (uint32_t)(memory_bytes >> 12) + 1);
    return (page << 12) + random_below(random, 4096);
}

/* One random call; its outcome. */
static inline uint64_t state_step(struct arena *a, const struct state_calls *c, uint64_t *random)
{
    uint64_t value = random_next(random), bytes = instance_memory_bytes(arena_primary(a));
    uint32_t kind = random_below(random, 24), x = random_below(random, 12);
    uint32_t y = random_below(random, 6), at = state_address(random, bytes);
    switch (kind) {
    case 0: return state_call(a, c->set_numbers, value, 0, 0);
    case 1: return state_call(a, c->set_function, x, 0, 0);
    case 2: return state_call(a, c->put, x, y, 0);
    case 3: return state_call(a, c->keep, y, x, 0);
    case 4: return state_call(a, c->put_global, x, 0, 0);
    case 5: return state_call(a, c->clear, x, 0, 0);
    case 6: return state_call(a, c->table_grow, y, x, 0);
    case 7: return state_call(a, c->foreign_grow, x & 1, 0, 0);
    case 8: return state_call(a, c->table_init, x, 0, 0);
    case 9: return x == 0 ? state_call(a, c->drop_elements, 0, 0, 0) : 0;
    case 10: return x == 0 ? state_call(a, c->drop_data, 0, 0, 0) : 0;
    case 11: return state_call(a, c->init, at, x * 2, 0);
    case 12: return state_call(a, c->fill, at, value, random_below(random, 20000));
    case 13: return x < 2 ? state_call(a, c->grow, x + 1, 0, 0) : 0;
    case 14: return state_call(a, c->dig, random_below(random, 200), value, 0);
    case 15: return state_call(a, c->ask, x, 0, 0);
    case 16: return state_call(a, c->ask_fixed, y, 0, 0);
    case 17: return state_call(a, c->sum, 0, 0, 0);
    case 18: return state_call(a, c->peek, at, 0, 0);
    default: return state_call(a, c->poke, at, value, 0);
    }
}

/* Runs a program of so many calls; a digest of their outcomes. */
static inline uint64_t state_run(struct arena *a, const struct state_calls *c, uint64_t seed,
                                 uint32_t calls)
{
    uint64_t random = seed * 2 + 1, digest = 0;
    for (uint32_t k = 0; k < calls; k++)
        digest = (digest << 7 | digest >> 57) ^ state_step(a, c, &random);
    return digest;
}

/* What two arenas of the same modules differ in, NULL: nothing. Code may be another: references are
 * compared by the place of their records. */
static inline const char *state_difference(const struct arena *a, const struct arena *b)
{
    static char what[64];
    for (uint32_t k = 0; k < a->instance_count; k++) {
        const struct instance *i = a->instances[k], *j = b->instances[k];
        const struct wasm_module *m = &i->artefact->module;
        if (instance_memory_bytes(i) != instance_memory_bytes(j))
            return "the size of memory";
        if (m->memory_count &&
            memcmp(instance_memory(i), instance_memory(j), instance_memory_bytes(i)) != 0)
            return "memory";
        for (uint32_t g = 0; g < m->global_count; g++) {
            uint8_t x[16], y[16];
            instance_global(i, g, x);
            instance_global(j, g, y);
            snprintf(what, sizeof what, "global %u", g);
            if (memcmp(x, y, sizeof x) != 0)
                return what;
        }
        for (uint32_t t = 0; t < m->table_count; t++) {
            const struct table_descriptor *d = instance_table(i, t), *f = instance_table(j, t);
            snprintf(what, sizeof what, "table %u", t);
            if (d->size != f->size)
                return what;
            const struct function_record *p = table_entries(i, d), *q = table_entries(j, f);
            for (uint64_t n = 0; n < d->size; n++)
                if (p[n].vm != q[n].vm || p[n].signature != q[n].signature ||
                    p[n].record != q[n].record)
                    return what;
        }
        if (memcmp(i->vm - i->artefact->layout.dropped, j->vm - j->artefact->layout.dropped,
                   m->data_count + m->element_count) != 0)
            return "dropped segments";
    }
    return NULL;
}

#endif
