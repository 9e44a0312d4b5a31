/*
 * The overlay: records of what a faaslet has changed, and the names in its directories.
 *
 * Records of nodes that exist here only are found by their number in an array; records of changed
 * nodes of the base by open addressing. Records of the base stay until the reset; made ones go when
 * they have neither name nor descriptor. All memory is accounted for, so that a guest is told
 * "no space" before it costs the host more than was allowed.
 */
#include "sandbox/vfs/layers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- limits ---- */

static int overlay_need(struct vfs *v)
{
    if (v->overlay == NULL) {
        v->overlay = calloc(1, sizeof *v->overlay);
    }
    return v->overlay != NULL ? 0 : -ENOMEM;
}

int overlay_charge(struct vfs *v, uint64_t bytes)
{
    if (bytes > v->byte_limit || v->overlay->bytes > v->byte_limit - bytes) {
        return -ENOSPC;
    }
    v->overlay->bytes += bytes;
    return 0;
}

int overlay_charge_reserve(struct vfs *v, uint64_t bytes)
{
    if (v->overlay->bytes + bytes > v->byte_limit + RESERVE_BYTES) {
        return -ENOSPC;
    }
    v->overlay->bytes += bytes;
    return 0;
}

void overlay_release(struct vfs *v, uint64_t bytes)
{
    assert(v->overlay->bytes >= bytes);
    v->overlay->bytes -= bytes;
}

uint64_t vfs_bytes(const struct vfs *v)
{
    return v->overlay != NULL ? v->overlay->bytes : 0;
}

/* ---- finding records ---- */

static uint32_t slot_of(const struct vfs_overlay *o, uint32_t node)
{
    return (node * 2654435761u) & (o->changed_capacity - 1);
}

struct record *record_of(const struct vfs *v, uint32_t node)
{
    const struct vfs_overlay *o = v->overlay;
    if (o == NULL) {
        return NULL;
    }
    if (node > v->base->count) {
        uint32_t index = node - v->base->count - 1;
        return index < o->made_count ? o->made[index] : NULL;
    }
    if (o->changed_capacity == 0) {
        return NULL;
    }
    uint32_t slot = slot_of(o, node);
    while (o->changed[slot] != NULL && o->changed[slot]->node != node) {
        slot = (slot + 1) & (o->changed_capacity - 1);
    }
    return o->changed[slot];
}

static void changed_put(struct vfs_overlay *o, struct record *r)
{
    uint32_t slot = slot_of(o, r->node);
    while (o->changed[slot] != NULL) {
        slot = (slot + 1) & (o->changed_capacity - 1);
    }
    o->changed[slot] = r;
}

/* At most half of the slots are used. */
static int changed_grow(struct vfs *v)
{
    struct vfs_overlay *o = v->overlay;
    if (o->changed_count < o->changed_capacity / 2) {
        return 0;
    }
    uint32_t before = o->changed_capacity, capacity = before == 0 ? 16 : before * 2;
    struct record **old = o->changed, **grown = calloc(capacity, sizeof *grown);
    if (grown == NULL) {
        return -ENOMEM;
    }
    o->changed = grown;
    o->changed_capacity = capacity;
    for (uint32_t i = 0; i < before; i++) {
        if (old[i] != NULL) {
            changed_put(o, old[i]);
        }
    }
    free(old);
    return 0;
}

static int made_grow(struct vfs_overlay *o)
{
    while (o->made_free < o->made_count && o->made[o->made_free] != NULL) {
        o->made_free++;
    }
    if (o->made_free < o->made_capacity) {
        return 0;
    }
    uint32_t capacity = o->made_capacity == 0 ? 16 : o->made_capacity * 2;
    struct record **grown = realloc(o->made, capacity * sizeof(struct record *));
    if (grown == NULL) {
        return -ENOMEM;
    }
    o->made = grown;
    o->made_capacity = capacity;
    return 0;
}

/* ---- making and freeing records ---- */

/* An empty record. */
static int record_new(struct vfs *v, enum vfs_type type, bool fresh, bool reserve,
                      struct record **out)
{
    int result = overlay_need(v);
    if (result == 0 && !fresh && !reserve && v->overlay->nodes >= v->node_limit) {
        result = -EDQUOT;
    }
    if (result == 0) {
        result = fresh || reserve ? overlay_charge_reserve(v, sizeof **out)
                                  : overlay_charge(v, sizeof **out);
    }
    if (result != 0) {
        return result;
    }
    struct record *r = calloc(1, sizeof *r);
    if (r == NULL) {
        overlay_release(v, sizeof *r);
        return -ENOMEM;
    }
    r->type = type;
    r->fresh = fresh;
    r->accessed_ns = r->modified_ns = r->changed_ns = now_ns();
    *(fresh ? &v->overlay->fresh : &v->overlay->nodes) += 1;
    *out = r;
    return 0;
}

/* Frees a record and what it holds; its number is the caller's business. */
static void record_drop(struct vfs *v, struct record *r)
{
    struct vfs_overlay *o = v->overlay;
    switch (r->type) {
    case VFS_FILE:
        content_free(v, &r->file);
        if (r->file.hold != NULL) {
            v->shared->drop(v->context, r->file.hold);
        }
        break;
    case VFS_DIRECTORY:
        while (r->directory.count > 0) {
            name_delete(v, r, &r->directory.names[r->directory.count - 1]);
        }
        overlay_release(v, r->directory.capacity * sizeof *r->directory.names);
        free(r->directory.names);
        if (r->directory.shared != NULL) {
            overlay_release(v, strlen(r->directory.shared) + 1);
            free(r->directory.shared);
        }
        break;
    default:
        if (r->node > v->base->count) { /* else the target is the base's */
            overlay_release(v, strlen(r->target) + 1);
            free(r->target);
        }
        break;
    }
    overlay_release(v, sizeof *r);
    *(r->fresh ? &o->fresh : &o->nodes) -= 1;
    free(r);
}

int record_make(struct vfs *v, enum vfs_type type, bool fresh, struct record **out)
{
    struct record *r;
    int result = record_new(v, type, fresh, false, &r);
    if (result != 0) {
        return result;
    }
    struct vfs_overlay *o = v->overlay;
    if (made_grow(o) != 0) {
        record_drop(v, r);
        return -ENOMEM;
    }
    r->node = v->base->count + 1 + o->made_free;
    r->device = 1;
    r->inode = r->node;
    o->made[o->made_free] = r;
    o->made_count = o->made_free >= o->made_count ? o->made_free + 1 : o->made_count;
    *out = r;
    return 0;
}

/* What the base says of it, to be changed. */
static void record_copy(struct vfs *v, struct record *r, const struct base_node *n)
{
    r->links = n->links;
    r->accessed_ns = r->modified_ns = r->changed_ns = n->modified_ns;
    r->device = 1;
    r->inode = r->node;
    r->opens = v->open_count(v->caller, r->node);
    if (r->type == VFS_FILE) {
        r->file.size = r->file.under_len = n->size;
        r->file.under = n->bytes;
        r->file.fetched = true;
    } else if (r->type == VFS_DIRECTORY) {
        r->directory.parent = n->parent;
    } else {
        r->target = (char *)(uintptr_t)n->bytes;
    }
}

int record_need(struct vfs *v, uint32_t node, bool reserve, struct record **out)
{
    *out = record_of(v, node);
    if (*out != NULL) {
        return 0;
    }
    const struct base_node *n = base_node(v, node);
    int result = overlay_need(v);
    if (result == 0) {
        result = changed_grow(v);
    }
    if (result == 0) {
        result = record_new(v, (enum vfs_type)n->type, false, reserve, out);
    }
    if (result != 0) {
        return result;
    }
    struct record *r = *out;
    r->node = node;
    record_copy(v, r, n);
    changed_put(v->overlay, r);
    v->overlay->changed_count++;
    return 0;
}

void record_free(struct vfs *v, struct record *r)
{
    struct vfs_overlay *o = v->overlay;
    uint32_t index = r->node - v->base->count - 1;
    assert(r->node > v->base->count && o->made[index] == r);
    o->made[index] = NULL;
    o->made_free = index < o->made_free ? index : o->made_free;
    record_drop(v, r);
}

void record_settle(struct vfs *v, struct record *r)
{
    if (r->links > 0 || r->opens > 0) {
        return;
    }
    if (r->node > v->base->count) {
        record_free(v, r);
    } else if (r->type == VFS_FILE) {
        content_free(v, &r->file);
        r->file.size = r->file.under_len = 0;
    }
}

int record_own(struct vfs *v, struct record *r)
{
    if (!r->fresh) {
        return 0;
    }
    if (v->overlay->nodes >= v->node_limit) {
        return -EDQUOT;
    }
    r->fresh = false;
    v->overlay->fresh--;
    v->overlay->nodes++;
    return 0;
}

/* Whether the guest has something of its own in a fresh directory, at any depth: paths bound that.
 */
static bool fresh_holds(const struct vfs *v, const struct record *r)
{
    for (uint32_t i = 0; i < r->directory.count; i++) {
        const struct record *in = record_of(v, r->directory.names[i].node);
        bool own = r->directory.names[i].node != 0 &&
                   (in == NULL || !in->fresh || (in->type == VFS_DIRECTORY && fresh_holds(v, in)));
        if (own) {
            return true;
        }
    }
    return false;
}

bool fresh_owned(const struct vfs *v, const struct record *r)
{
    return r->type == VFS_DIRECTORY && fresh_holds(v, r);
}

void fresh_forget(struct vfs *v, struct record *r)
{
    while (r->type == VFS_DIRECTORY && r->directory.count > 0) {
        struct name *last = &r->directory.names[r->directory.count - 1];
        struct record *in = record_of(v, last->node);
        name_delete(v, r, last);
        if (in != NULL) {
            fresh_forget(v, in);
        }
    }
    if (r->opens == 0) {
        record_free(v, r);
        return;
    }
    r->fresh = false;
    r->links = 0;
    v->overlay->fresh--;
    v->overlay->nodes++;
}

/* ---- names ---- */

/* Where the name is, or would be. */
static uint32_t name_index(const struct directory_record *d, const char *text, size_t len,
                           bool *found)
{
    uint32_t low = 0, high = d->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = name_compare(d->names[middle].text, d->names[middle].len, text, len);
        if (order == 0) {
            *found = true;
            return middle;
        }
        low = order < 0 ? middle + 1 : low;
        high = order < 0 ? high : middle;
    }
    *found = false;
    return low;
}

struct name *name_find(const struct record *directory, const char *text, size_t len)
{
    bool found;
    uint32_t index = name_index(&directory->directory, text, len, &found);
    return found ? &directory->directory.names[index] : NULL;
}

int name_room(struct vfs *v, struct record *directory, bool reserve)
{
    struct directory_record *d = &directory->directory;
    struct vfs_overlay *o = v->overlay;
    uint64_t limit = v->byte_limit + (reserve ? RESERVE_BYTES : 0);
    if (!reserve && o->names - o->fresh >= v->node_limit) {
        return -EDQUOT;
    }
    uint32_t capacity = d->capacity == 0 ? 4 : d->capacity * 2;
    uint64_t more = d->count + 2 > d->capacity ? (capacity - d->capacity) * sizeof *d->names : 0;
    if (o->bytes + more + 2 * VFS_MAX_NAME > limit) {
        return -ENOSPC;
    }
    if (more == 0) {
        return 0;
    }
    struct name *grown = realloc(d->names, capacity * sizeof *grown);
    if (grown == NULL) {
        return -ENOMEM;
    }
    d->names = grown;
    d->capacity = capacity;
    o->bytes += more;
    return 0;
}

char *name_text(const char *text, size_t len)
{
    char *copy = malloc(len);
    if (copy != NULL) {
        memcpy(copy, text, len);
    }
    return copy;
}

void name_set(struct vfs *v, struct record *directory, char *text, size_t len, uint32_t node)
{
    struct directory_record *d = &directory->directory;
    bool found;
    uint32_t index = name_index(d, text, len, &found);
    if (found) {
        d->names[index].node = node;
        free(text);
        return;
    }
    assert(d->count < d->capacity && len <= VFS_MAX_NAME);
    memmove(&d->names[index + 1], &d->names[index], (d->count - index) * sizeof *d->names);
    d->names[index] = (struct name){.text = text, .node = node, .len = (uint8_t)len};
    d->count++;
    v->overlay->names++;
    v->overlay->bytes += len;
}

void name_delete(struct vfs *v, struct record *directory, struct name *name)
{
    struct directory_record *d = &directory->directory;
    overlay_release(v, name->len);
    v->overlay->names--;
    free(name->text);
    d->count--;
    memmove(name, name + 1, (size_t)(&d->names[d->count] - name) * sizeof *name);
}

/* ---- fresh records ---- */

/* Takes the name of a fresh record out of its directory. */
static void fresh_unname(struct vfs *v, const struct record *r)
{
    struct record *directory = record_of(v, r->holder);
    for (uint32_t i = 0; i < directory->directory.count; i++) {
        if (directory->directory.names[i].node == r->node) {
            name_delete(v, directory, &directory->directory.names[i]);
            return;
        }
    }
    assert(false);
}

/* From the highest number on: a directory comes after what is in it, unless numbers were used
 * again; then it goes the next time. What is in use is not looked at again until there are as many
 * more. */
void overlay_trim(struct vfs *v)
{
    struct vfs_overlay *o = v->overlay;
    if (o == NULL || o->fresh <= o->fresh_used + FRESH_MAX) {
        return;
    }
    for (uint32_t i = o->made_count; i-- > 0;) {
        struct record *r = o->made[i];
        bool used = r == NULL || !r->fresh || r->opens > 0 ||
                    (r->type == VFS_DIRECTORY && r->directory.count > 0);
        if (!used) {
            fresh_unname(v, r);
            record_free(v, r);
        }
    }
    o->fresh_used = o->fresh;
}

/* ---- the life of a tree ---- */

void vfs_begin(struct vfs *v, const struct vfs_config *config,
               uint32_t (*open_count)(void *caller, uint32_t node), void *caller)
{
    *v = (struct vfs){
        .base = vfs_base_retain(config->base),
        .shared = config->shared,
        .context = config->context,
        .open_count = open_count,
        .caller = caller,
        .byte_limit = config->byte_limit != 0 ? config->byte_limit : VFS_DEFAULT_BYTES,
        .node_limit = config->node_limit != 0 ? config->node_limit : VFS_DEFAULT_NODES,
    };
}

void vfs_reset(struct vfs *v)
{
    struct vfs_overlay *o = v->overlay;
    if (o == NULL) {
        return;
    }
    for (uint32_t i = 0; i < o->made_count; i++) {
        if (o->made[i] != NULL) {
            record_drop(v, o->made[i]);
        }
    }
    for (uint32_t i = 0; i < o->changed_capacity; i++) {
        if (o->changed[i] != NULL) {
            record_drop(v, o->changed[i]);
        }
    }
    assert(o->bytes == 0 && o->nodes == 0 && o->names == 0 && o->fresh == 0);
    free(o->made);
    free(o->changed);
    free(o);
    v->overlay = NULL;
}

void vfs_end(struct vfs *v)
{
    vfs_reset(v);
    vfs_base_release(v->base);
}
