/*
 * What functions' names stand for: a cache of what the supervisor has said, a small hash table of
 * lists. When it is full it is emptied; an alias that moves takes its names out.
 */
#include "node/worker/process.h"

#include <stdlib.h>

struct name_entry {
    struct name_entry *next;
    uint32_t number; /* of the version */
    uint32_t len;
    char text[];
};

/* Of the part before '@', so that all aliases of a function meet in one list. */
static struct name_entry **bucket_of(struct worker *w, const char *name, uint32_t len)
{
    uint32_t hash = 2166136261u;
    for (uint32_t k = 0; k < len && name[k] != '@'; k++)
        hash = (hash ^ (uint8_t)name[k]) * 16777619u;
    return &w->names[hash % NAME_BUCKETS];
}

static bool entry_is(const struct name_entry *e, const char *name, uint32_t len)
{
    return e->len == len && memcmp(e->text, name, len) == 0;
}

bool name_known(struct worker *w, const char *name, uint32_t len, uint32_t *number)
{
    for (const struct name_entry *e = *bucket_of(w, name, len); e; e = e->next) {
        if (entry_is(e, name, len)) {
            *number = e->number;
            return true;
        }
    }
    return false;
}

void names_free(struct worker *w)
{
    for (uint32_t k = 0; k < NAME_BUCKETS; k++)
        for (struct name_entry *e; (e = w->names[k]);) {
            w->names[k] = e->next;
            free(e);
        }
    w->name_count = 0;
}

void name_learn(struct worker *w, const char *name, uint32_t len, uint32_t number, uint64_t epoch)
{
    uint32_t known;
    if (epoch != w->name_epoch || name_known(w, name, len, &known))
        return;
    if (w->name_count >= NAMES_MAX)
        names_free(w);
    struct name_entry *e = malloc(sizeof *e + len), **bucket = bucket_of(w, name, len);
    if (!e)
        return;
    *e = (struct name_entry){.next = *bucket, .number = number, .len = len};
    memcpy(e->text, name, len);
    *bucket = e;
    w->name_count++;
}

void name_changed(struct worker *w, const char *name, uint32_t len)
{
    w->name_epoch++;
    if (len == 0) {
        names_free(w);
        return;
    }
    for (struct name_entry **at = bucket_of(w, name, len), *e; (e = *at);) {
        bool same = e->len >= len && memcmp(e->text, name, len) == 0 &&
                    (e->len == len || e->text[len] == '@');
        if (!same) {
            at = &e->next;
            continue;
        }
        *at = e->next;
        free(e);
        w->name_count--;
    }
}
