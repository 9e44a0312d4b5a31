/* A worker's table of values and the handles of its calls (attach.h). */
#define _GNU_SOURCE
#include "state/attach.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define BUCKETS       1024u
#define SEGMENT_BYTES ((size_t)STATE_SLOTS_MAX * sizeof(struct state_slot))

LIST_HEAD(attached_list, attached);

/* Mappings never go before the value does: other threads may be copying. */
struct attached_mapping {
    struct attached_mapping *older;
    uint8_t *base;
    uint64_t len;
};

struct attach_table {
    pthread_mutex_t lock;
    const struct state_slot *slots;
    struct attached_list buckets[BUCKETS];
    TAILQ_HEAD(, attached) idle; /* least recently used first */
    uint32_t idle_count;
};

struct attached_region {
    uint32_t address, times;
    struct attached *attached;
};

struct attachments {
    struct handle *handles;
    struct attached_region *regions;
    uint32_t handle_count, region_count, region_capacity;
};

/* ---- the table ---- */

int attach_table_create(int segment, struct attach_table **out, struct error *e)
{
    struct attach_table *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(e, ATOLL_ENOMEM, "no memory for the worker's table of values");
    void *slots = mmap(NULL, SEGMENT_BYTES, PROT_READ, MAP_SHARED, segment, 0);
    if (slots == MAP_FAILED) {
        free(t);
        return error_set_errno(e, 0, "cannot map the tenant's slots");
    }
    t->slots = slots;
    pthread_mutex_init(&t->lock, NULL);
    for (uint32_t i = 0; i < BUCKETS; i++)
        LIST_INIT(&t->buckets[i]);
    TAILQ_INIT(&t->idle);
    *out = t;
    return 0;
}

static struct attached_list *bucket_of(struct attach_table *t, const uint8_t *key, uint32_t len)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < len; i++)
        hash = (hash ^ key[i]) * 16777619u;
    return &t->buckets[hash % BUCKETS];
}

static void attached_free(struct attached *a)
{
    struct attached_mapping *m = atomic_load_explicit(&a->mapping, memory_order_relaxed);
    while (m) {
        struct attached_mapping *older = m->older;
        munmap(m->base, m->len);
        free(m);
        m = older;
    }
    close(a->file.fd);
    LIST_REMOVE(a, in_bucket);
    free(a);
}

void attach_table_destroy(struct attach_table *t)
{
    if (!t)
        return;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (!LIST_EMPTY(&t->buckets[i])) {
            assert(!LIST_FIRST(&t->buckets[i])->uses);
            attached_free(LIST_FIRST(&t->buckets[i]));
        }
    }
    pthread_mutex_destroy(&t->lock);
    munmap((void *)(uintptr_t)t->slots, SEGMENT_BYTES);
    free(t);
}

bool attached_look(const struct attached *a, struct state_slot_view *out)
{
    return state_slot_read(a->published, out) && out->gen == a->gen;
}

bool attach_held(struct attach_table *t, const void *key, uint32_t key_len, bool writable,
                 uint32_t *slot, uint32_t *gen)
{
    struct attached *a;
    struct state_slot_view view;
    bool found = false;
    pthread_mutex_lock(&t->lock);
    LIST_FOREACH(a, bucket_of(t, key, key_len), in_bucket)
    {
        if (a->key_len == key_len && !memcmp(a->key, key, key_len) && (a->writable || !writable) &&
            attached_look(a, &view)) {
            *slot = a->slot;
            *gen = a->gen;
            found = true;
            break;
        }
    }
    pthread_mutex_unlock(&t->lock);
    return found;
}

static struct attached *attached_find(struct attach_table *t, const void *key, uint32_t key_len,
                                      uint32_t slot, uint32_t gen, bool writable)
{
    struct attached *a;
    LIST_FOREACH(a, bucket_of(t, key, key_len), in_bucket)
    {
        if (a->slot == slot && a->gen == gen && (a->writable || !writable))
            return a;
    }
    return NULL;
}

static struct attached *attached_make(struct attach_table *t, const void *key, uint32_t key_len,
                                      uint32_t slot, uint32_t gen, int fd, bool writable)
{
    struct error e;
    struct attached *a = calloc(1, sizeof *a);
    if (!a || region_file_look(fd, &a->file, &e) < 0) {
        free(a);
        return NULL;
    }
    a->slot = slot;
    a->gen = gen;
    a->writable = writable;
    a->published = &t->slots[slot];
    a->key_len = key_len;
    memcpy(a->key, key, key_len);
    LIST_INSERT_HEAD(bucket_of(t, key, key_len), a, in_bucket);
    return a;
}

/* One more use; under the lock. */
static void attached_use(struct attach_table *t, struct attached *a, bool was_idle)
{
    if (was_idle) {
        TAILQ_REMOVE(&t->idle, a, idle);
        t->idle_count--;
    }
    a->uses++;
}

static void attached_unuse(struct attach_table *t, struct attached *a)
{
    struct state_slot_view view;
    pthread_mutex_lock(&t->lock);
    if (--a->uses == 0) {
        if (attached_look(a, &view)) {
            TAILQ_INSERT_TAIL(&t->idle, a, idle);
            t->idle_count++;
        } else {
            attached_free(a);
        }
    }
    if (t->idle_count > ATTACH_IDLE_MAX) {
        a = TAILQ_FIRST(&t->idle);
        TAILQ_REMOVE(&t->idle, a, idle);
        t->idle_count--;
        attached_free(a);
    }
    pthread_mutex_unlock(&t->lock);
}

/* ---- handles ---- */

static int handle_free_number(struct attachments **as, struct error *e)
{
    if (!*as && !(*as = calloc(1, sizeof **as)))
        return error_set(e, ATOLL_ENOMEM, "no memory for a handle");
    struct attachments *s = *as;
    for (uint32_t i = 0; i < s->handle_count; i++) {
        if (s->handles[i].kind == HANDLE_FREE)
            return (int)i;
    }
    if (s->handle_count == ATTACH_HANDLES_MAX)
        return error_set(e, ATOLL_ELIMIT, "a call has at most %u handles", ATTACH_HANDLES_MAX);
    uint32_t count = s->handle_count ? 2 * s->handle_count : 4;
    struct handle *grown = realloc(s->handles, count * sizeof *grown);
    if (!grown)
        return error_set(e, ATOLL_ENOMEM, "no memory for a handle");
    memset(grown + s->handle_count, 0, (count - s->handle_count) * sizeof *grown);
    s->handles = grown;
    uint32_t number = s->handle_count;
    s->handle_count = count;
    return (int)number;
}

int attach_value(struct attach_table *t, struct attachments **as, const void *key, uint32_t key_len,
                 uint32_t slot, uint32_t gen, int fd, bool writable, uint32_t flags,
                 struct error *e)
{
    assert(key_len <= STATE_NAME_MAX);
    int number = handle_free_number(as, e);
    if (number < 0 || slot >= STATE_SLOTS_MAX || !gen) {
        if (fd >= 0)
            close(fd);
        return number < 0 ? number : error_set(e, ATOLL_ECORRUPT, "the supervisor named no slot");
    }
    pthread_mutex_lock(&t->lock);
    struct attached *a = attached_find(t, key, key_len, slot, gen, (flags & STATE_OPEN_WRITE) != 0);
    bool was_idle = a && !a->uses;
    if (!a && fd >= 0 && (a = attached_make(t, key, key_len, slot, gen, fd, writable)))
        fd = -1;
    if (a)
        attached_use(t, a, was_idle);
    pthread_mutex_unlock(&t->lock);
    if (!a)
        number = fd >= 0 ? error_set(e, ATOLL_ENOMEM, "no memory for a handle")
                         : error_set(e, ATOLL_ECORRUPT, "the value came without its memory");
    else
        (*as)->handles[number] =
            (struct handle){.kind = HANDLE_VALUE, .flags = flags, .attached = a};
    if (fd >= 0)
        close(fd);
    return number;
}

int attach_object(struct attachments **as, uint32_t type, const void *key, uint32_t key_len,
                  struct error *e)
{
    int number = handle_free_number(as, e);
    if (number < 0)
        return number;
    uint8_t *copy = malloc(key_len);
    if (!copy)
        return error_set(e, ATOLL_ENOMEM, "no memory for a handle");
    memcpy(copy, key, key_len);
    (*as)->handles[number] =
        (struct handle){.kind = HANDLE_OBJECT, .type = type, .key = copy, .key_len = key_len};
    return number;
}

struct handle *attach_handle(struct attachments *s, int32_t number)
{
    if (!s || number < 0 || (uint32_t)number >= s->handle_count ||
        s->handles[number].kind == HANDLE_FREE)
        return NULL;
    return &s->handles[number];
}

static enum attach_rest rest_of(const struct attachments *s, uint32_t slot, uint32_t gen)
{
    for (uint32_t i = 0; i < s->handle_count; i++) {
        const struct handle *h = &s->handles[i];
        if (h->kind == HANDLE_VALUE && h->attached->slot == slot && h->attached->gen == gen)
            return ATTACH_OPEN;
    }
    for (uint32_t i = 0; i < s->region_count; i++) {
        if (s->regions[i].attached->slot == slot && s->regions[i].attached->gen == gen)
            return ATTACH_MAPPED;
    }
    return ATTACH_GONE;
}

void attach_close(struct attach_table *t, struct attachments *s, int32_t number,
                  enum attach_rest *rest, uint32_t *slot, uint32_t *gen)
{
    struct handle h = *attach_handle(s, number);
    s->handles[number] = (struct handle){0};
    *rest = ATTACH_OPEN;
    *slot = *gen = 0;
    if (h.kind == HANDLE_OBJECT) {
        free(h.key);
        return;
    }
    *slot = h.attached->slot;
    *gen = h.attached->gen;
    *rest = rest_of(s, *slot, *gen);
    attached_unuse(t, h.attached);
}

/* ---- regions ---- */

static struct attached_region *region_find(struct attachments *s, uint32_t address)
{
    for (uint32_t i = 0; s && i < s->region_count; i++) {
        if (s->regions[i].address == address)
            return &s->regions[i];
    }
    return NULL;
}

int attach_region(struct attach_table *t, struct attachments *s, const struct handle *h,
                  uint32_t address, struct error *e)
{
    struct attached_region *r = region_find(s, address);
    if (r) {
        r->times++;
        return 0;
    }
    if (s->region_count == s->region_capacity) {
        uint32_t capacity = s->region_capacity ? 2 * s->region_capacity : 4;
        struct attached_region *grown = realloc(s->regions, capacity * sizeof *grown);
        if (!grown)
            return error_set(e, ATOLL_ENOMEM, "no memory for a region");
        s->regions = grown;
        s->region_capacity = capacity;
    }
    s->regions[s->region_count++] = (struct attached_region){address, 1, h->attached};
    pthread_mutex_lock(&t->lock);
    h->attached->uses++;
    pthread_mutex_unlock(&t->lock);
    return 0;
}

bool attach_region_end(struct attach_table *t, struct attachments *s, uint32_t address,
                       enum attach_rest *rest, uint32_t *slot, uint32_t *gen)
{
    struct attached_region *r = region_find(s, address);
    if (!r)
        return false;
    struct attached *a = r->attached;
    *slot = a->slot;
    *gen = a->gen;
    *rest = ATTACH_OPEN;
    if (--r->times)
        return true;
    *r = s->regions[--s->region_count];
    *rest = rest_of(s, *slot, *gen);
    if (*rest == ATTACH_MAPPED) /* other regions; that was told when the last handle went */
        *rest = ATTACH_OPEN;
    attached_unuse(t, a);
    return true;
}

void attach_end(struct attach_table *t, struct attachments *s)
{
    if (!s)
        return;
    for (uint32_t i = 0; i < s->handle_count; i++) {
        if (s->handles[i].kind == HANDLE_VALUE)
            attached_unuse(t, s->handles[i].attached);
        free(s->handles[i].key);
    }
    for (uint32_t i = 0; i < s->region_count; i++)
        attached_unuse(t, s->regions[i].attached);
    free(s->handles);
    free(s->regions);
    free(s);
}

/* ---- bytes ---- */

static struct attached_mapping *mapping_make(struct attached *a, uint64_t end)
{
    struct attached_mapping *older = atomic_load_explicit(&a->mapping, memory_order_relaxed);
    struct attached_mapping *m = malloc(sizeof *m);
    if (!m)
        return NULL;
    m->older = older;
    m->len = align_up(end, 65536);
    if (older && m->len < 2 * older->len)
        m->len = 2 * older->len;
    int rights = a->writable ? PROT_READ | PROT_WRITE : PROT_READ;
    m->base = mmap(NULL, m->len, rights, MAP_SHARED | MAP_NORESERVE, a->file.fd, 0);
    if (m->base == MAP_FAILED) {
        free(m);
        return NULL;
    }
    atomic_store_explicit(&a->mapping, m, memory_order_release);
    return m;
}

uint8_t *attached_bytes(struct attach_table *t, struct attached *a, uint64_t off, uint64_t len)
{
    struct attached_mapping *m = atomic_load_explicit(&a->mapping, memory_order_acquire);
    if (!m || off + len > m->len) {
        pthread_mutex_lock(&t->lock);
        m = atomic_load_explicit(&a->mapping, memory_order_relaxed);
        if (!m || off + len > m->len)
            m = mapping_make(a, off + len);
        pthread_mutex_unlock(&t->lock);
    }
    return m ? m->base + off : NULL;
}
