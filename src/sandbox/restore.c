/*
 * Restores captured images (capture.h; image_format.h draws the file).
 *
 * The signature is checked over the whole file before a byte of it is believed. What follows treats
 * the contents as damaged rather than hostile: whoever signs with a trusted key owns the process,
 * so the checks keep mistakes from becoming crashes.
 */
#define _GNU_SOURCE
#include "sandbox/capture.h"

#include "base/clock.h"
#include "engine/cpu.h"
#include "engine/link.h"
#include "sandbox/image_format.h"
#include "sandbox/pages.h"
#include "sandbox/region.h"
#include "sandbox/vector_state.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MODULES_MAX ARENA_INSTANCES_MAX
#define PARTS_MAX   (3u * ARENA_INSTANCES_MAX + 1)
#define RUNS_LIMIT  (1ull << 21)

/* A cursor over the verified bytes. */
struct reader {
    const uint8_t *at, *end;
};

struct restore {
    struct image_header header;
    struct vector_state vectors;
    const struct capture_host *host;
    struct arena *arena;
    struct reader in;
    const uint8_t *parts, *regions, *externrefs, *runs, *pages, *host_state, *policy;
};

static int corrupt(struct error *e, const char *what)
{
    return error_set(e, ATOLL_ECORRUPT, "the image cannot be restored: %s", what);
}

/* count items of size bytes, padded to 8; NULL when they are not all there. */
static const uint8_t *reader_take(struct reader *r, uint64_t count, uint64_t size)
{
    uint64_t left = (uint64_t)(r->end - r->at);
    if (size && count > left / size)
        return NULL;
    uint64_t bytes = align_up(count * size, 8);
    if (bytes > left)
        return NULL;
    const uint8_t *start = r->at;
    r->at += bytes;
    return start;
}

/* ---- signature ---- */

static int trailer_read(const uint8_t *image, size_t len, struct image_trailer *out,
                        struct error *e)
{
    if (len < sizeof(struct image_header) + sizeof(struct vector_state) + sizeof *out ||
        memcmp(image, IMAGE_MAGIC, 8) != 0)
        return error_set(e, ATOLL_ESIGNATURE, "this is no captured image, or it is cut off");
    memcpy(out, image + len - sizeof *out, sizeof *out);
    return 0;
}

int capture_signer(const uint8_t *image, size_t len, uint8_t out[static KEY_PUBLIC_LEN],
                   struct error *e)
{
    struct image_trailer trailer;
    int rc = trailer_read(image, len, &trailer, e);
    if (rc == 0)
        memcpy(out, trailer.signer, KEY_PUBLIC_LEN);
    return rc;
}

static int signature_check(const uint8_t *image, size_t len, const struct capture_host *host,
                           struct error *e)
{
    struct image_trailer trailer;
    int rc = trailer_read(image, len, &trailer, e);
    if (rc < 0)
        return rc;
    uint32_t known = 0;
    while (known < host->trusted_count &&
           memcmp(host->trusted[known], trailer.signer, KEY_PUBLIC_LEN) != 0)
        known++;
    char hex[2 * KEY_PUBLIC_LEN + 1];
    hash_hex(trailer.signer, hex);
    if (known == host->trusted_count)
        return error_set(e, ATOLL_ESIGNATURE,
                         "the image is signed by %s, which is not trusted here, or it is damaged; "
                         "to accept images of that key, name it with --trust",
                         hex);
    uint8_t hash[HASH_LEN];
    hash_blake2b(image, len - sizeof trailer.signature, (const uint8_t *)IMAGE_DOMAIN,
                 sizeof IMAGE_DOMAIN - 1, hash);
    if (sign_verify(trailer.signer, hash, sizeof hash, trailer.signature) < 0)
        return error_set(e, ATOLL_ESIGNATURE,
                         "the image was altered or cut off: its signature by %s does not hold",
                         hex);
    return 0;
}

/* ---- header ---- */

static int header_check(const struct image_header *h, struct error *e)
{
    uint8_t gate[HASH_LEN];
    gate_identity(gate);
    if (h->format != IMAGE_FORMAT || memcmp(h->gate, gate, HASH_LEN) != 0)
        return error_set(e, ATOLL_ESTALE,
                         "the image was made by another release of atoll; resume it with that one");
    int rc = cpu_require(h->cpu_features, e);
    if (rc < 0)
        return rc;
    if (h->suspended < LEAVE_INTERRUPTED || h->suspended > LEAVE_PARKED)
        return corrupt(e, "unknown kind of suspension");
    if (!h->module_count || h->module_count > MODULES_MAX || h->part_count > PARTS_MAX ||
        h->region_count > ARENA_REGIONS_MAX || h->run_count > RUNS_LIMIT)
        return corrupt(e, "a count is out of range");
    return 0;
}

/* ---- modules ---- */

static int bindings_restore(struct restore *r, struct instance *i, struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    for (uint32_t k = 0; k < m->import_count; k++) {
        const struct wasm_import *import = &m->imports[k];
        if (import->kind != WASM_KIND_FUNC)
            continue;
        struct import_binding *binding = &i->bindings[import->index];
        int rc =
            r->host->resolve(r->host->context, m, import, &binding->function, &binding->data, e);
        if (rc < 0 && rc != -ATOLL_ENOENT) /* not the host's: it came from another module */
            return rc;
    }
    return 0;
}

static int module_restore(struct restore *r, struct error *e)
{
    struct image_module module;
    const uint8_t *head = reader_take(&r->in, 1, sizeof module);
    if (!head)
        return corrupt(e, "cut off");
    memcpy(&module, head, sizeof module);
    const uint8_t *bytes = reader_take(&r->in, module.artefact_len, 1);
    if (!bytes)
        return corrupt(e, "cut off");
    uint8_t id[HASH_LEN];
    artefact_identify(bytes, module.artefact_len, id);
    if (memcmp(id, module.id, HASH_LEN) != 0)
        return corrupt(e, "it brings another artefact than the one it was captured with");
    struct artefact *artefact;
    int rc = artefact_open(bytes, module.artefact_len, &artefact, e);
    if (rc < 0)
        return rc;
    struct instance *i;
    rc = instance_adopt(r->arena, artefact, module.image_offset, module.vm_from_b, &i, e);
    artefact_release(artefact);
    if (rc == 0)
        rc = bindings_restore(r, i, e);
    return rc;
}

/* Maps what the artefact brings: fields and tables, and memory 0 of a primary. */
static int module_map(const struct instance *i, struct error *e)
{
    const struct artefact *artefact = i->artefact;
    uint64_t low = artefact->layout.low_size;
    uint64_t len = artefact->options.link == LINK_PRIMARY ? artefact->data_size : low;
    if (mmap(i->vm - low, len < low ? low : len, PROT_READ | PROT_WRITE,
             MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, artefact->data_fd, 0) == MAP_FAILED)
        return error_set_errno(e, ATOLL_ENOMEM, "cannot map the data of a module");
    return 0;
}

/* ---- parts and pages ---- */

/* A writable part lies below B beside the stack, in memory 0, or in the rest of the slot. */
static bool part_in_place(const struct restore *r, const struct image_part *p)
{
    int64_t low = (int64_t)(ARENA_IMAGES + ARENA_IMAGES_SIZE) - (int64_t)ARENA_BASE;
    int64_t rest = (int64_t)(ARENA_REST - ARENA_BASE), top = (int64_t)(SLOT_SIZE - ARENA_BASE);
    if (p->from_b % PAGE_BYTES || p->len % PAGE_BYTES || p->from_b < low || p->from_b > top ||
        p->len > (uint64_t)(top - p->from_b))
        return false;
    int64_t end = p->from_b + (int64_t)p->len;
    return end <= (int64_t)r->header.memory_bytes || p->from_b >= rest;
}

static bool range_holds(int64_t start, uint64_t size, int64_t from_b, uint64_t len)
{
    uint64_t at = (uint64_t)from_b - (uint64_t)start;
    return from_b >= start && at <= size && len <= size - at;
}

static bool part_holds(const struct restore *r, int64_t from_b, uint64_t len)
{
    const struct arena *a = r->arena;
    if (range_holds(a->stack_low - a->base, (uint64_t)(a->stack_high - a->stack_low), from_b, len))
        return true;
    for (uint32_t k = 0; k < r->header.part_count; k++) {
        struct image_part p;
        memcpy(&p, r->parts + k * sizeof p, sizeof p);
        if (range_holds(p.from_b, p.len, from_b, len))
            return true;
    }
    return false;
}

static int parts_map(struct restore *r, struct error *e)
{
    for (uint32_t k = 0; k < r->arena->instance_count; k++) {
        int rc = module_map(r->arena->instances[k], e);
        if (rc < 0)
            return rc;
    }
    r->arena->fields_mapped = r->arena->primary != NULL;
    int rc = arena_map_fields(r->arena, e);
    for (uint32_t k = 0; rc == 0 && k < r->header.part_count; k++) {
        struct image_part p;
        memcpy(&p, r->parts + k * sizeof p, sizeof p);
        if (!part_in_place(r, &p))
            return corrupt(e, "a part of the arena lies where none can be");
        if (p.len && mprotect(r->arena->base + p.from_b, p.len, PROT_READ | PROT_WRITE) != 0)
            return error_set_errno(e, ATOLL_ENOMEM, "cannot map a part of an arena");
    }
    return rc;
}

static int runs_write(struct restore *r, struct error *e)
{
    uint64_t done = 0;
    for (uint64_t k = 0; k < r->header.run_count; k++) {
        struct image_part run;
        memcpy(&run, r->runs + k * sizeof run, sizeof run);
        if (run.len % PAGE_BYTES || run.from_b % PAGE_BYTES ||
            run.len > r->header.run_bytes - done || !part_holds(r, run.from_b, run.len))
            return corrupt(e, "pages lie outside the arena's parts");
        memcpy(r->arena->base + run.from_b, r->pages + done, run.len);
        done += run.len;
    }
    return done == r->header.run_bytes ? 0 : corrupt(e, "pages without a place");
}

/* An import that calls the host here must have found its host function: its record holds the
 * address of the thunk, where one that came from another module holds that module's code. */
static int bindings_check(const struct instance *i, struct error *e)
{
    const struct wasm_module *m = &i->artefact->module;
    int64_t image = (int64_t)(i->image_offset - ARENA_BASE);
    for (uint32_t k = 0; k < m->import_count; k++) {
        const struct wasm_import *import = &m->imports[k];
        if (import->kind != WASM_KIND_FUNC || i->bindings[import->index].function)
            continue;
        int64_t code = instance_imports(i)[import->index].code;
        if (code == image + i->artefact->import_offsets[import->index])
            return error_set(e, ATOLL_ELINK, "unknown import: the image needs %.*s.%.*s",
                             (int)(import->module.len < 200 ? import->module.len : 200),
                             (const char *)m->bytes + import->module.offset,
                             (int)(import->name.len < 200 ? import->name.len : 200),
                             (const char *)m->bytes + import->name.offset);
    }
    return 0;
}

/* The descriptor of a linked module's memory is its own or another module's. */
static bool descriptor_in_place(const struct restore *r, int64_t from_b)
{
    for (uint32_t k = 0; k < r->arena->instance_count; k++)
        if (r->arena->instances[k]->vm - r->arena->base + FIELD_OWN_MEMORY == from_b)
            return true;
    return false;
}

/* Host functions reach as far as the size of a memory says: it must be mapped. */
static int memory_check(const struct restore *r, const struct instance *i, struct error *e)
{
    const uint8_t *b = r->arena->base;
    if (!i->artefact->module.memory_count)
        return 0;
    if (i->artefact->options.link == LINK_OTHER &&
        !descriptor_in_place(r, *arena_field(i->vm, FIELD_MEMORY)))
        return corrupt(e, "a module has lost its memory");
    struct memory_view memory = instance_memory_view(i);
    int64_t from_b = memory.base - b;
    uint64_t room =
        i->artefact->options.link == LINK_OTHER ? SLOT_SIZE - ARENA_REST : r->header.memory_bytes;
    if (*memory.size % WASM_PAGE || *memory.limit > room ||
        (*memory.size && !part_holds(r, from_b, *memory.size)))
        return corrupt(e, "a memory is larger than its part of the arena");
    return 0;
}

static int instances_check(const struct restore *r, struct error *e)
{
    int rc = 0;
    for (uint32_t k = 0; rc == 0 && k < r->arena->instance_count; k++) {
        rc = bindings_check(r->arena->instances[k], e);
        if (rc == 0)
            rc = memory_check(r, r->arena->instances[k], e);
    }
    return rc;
}

/* ---- regions and references ---- */

static int regions_restore(struct restore *r, struct error *e)
{
    for (uint32_t k = 0; k < r->header.region_count; k++) {
        struct image_region region;
        memcpy(&region, r->regions + k * sizeof region, sizeof region);
        region.name[sizeof region.name - 1] = 0;
        if (!r->host->region)
            return error_set(e, ATOLL_ENOENT, "the image needs the shared region \"%s\"",
                             region.name);
        int fd = r->host->region(r->host->context, region.name, e);
        if (fd < 0)
            return fd;
        int rc = region_map_at(r->arena, region.name, fd, region.offset, region.len, region.rights,
                               region.address, e);
        close(fd);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int externrefs_restore(struct restore *r, struct error *e)
{
    for (uint32_t k = 0; k < r->header.externref_count; k++) {
        uint64_t value = 0;
        if (!r->host->externref)
            return error_set(e, ATOLL_ENOENT,
                             "the image holds references to objects of the host "
                             "that captured it");
        int rc = r->host->externref(r->host->context, load_u64(r->externrefs + 8 * k), &value, e);
        if (rc < 0)
            return rc;
        if (arena_externref_append(r->arena, value) != (uint64_t)k + 1)
            return corrupt(e, "too many external references");
    }
    return 0;
}

/* ---- the suspended run ---- */

static bool in_images(const struct arena *a, uint64_t address)
{
    return arena_instance_at(a, address) != NULL;
}

static bool on_stack(const struct arena *a, uint64_t rsp, uint64_t above)
{
    return rsp >= (uint64_t)(uintptr_t)a->stack_low &&
           rsp <= (uint64_t)(uintptr_t)a->stack_high - above && rsp % 8 == 0;
}

static int pending_check(const struct restore *r, struct error *e)
{
    const struct image_header *h = &r->header;
    for (uint32_t k = 0; k < r->arena->instance_count; k++) {
        const struct instance *i = r->arena->instances[k];
        if (i->vm - r->arena->base != h->pending_vm)
            continue;
        uint32_t import = h->pending_number - GATE_IMPORT;
        if (h->pending_number < GATE_IMPORT ||
            (import < i->artefact->module.imported_functions && i->bindings[import].function))
            return 0;
    }
    return corrupt(e, "it waits in a host call that does not exist");
}

static int run_check(const struct restore *r, struct error *e)
{
    const struct image_header *h = &r->header;
    const struct arena *a = r->arena;
    uint64_t b = (uint64_t)(uintptr_t)a->base;
    if (h->running_instance >= a->instance_count ||
        h->running_function >= a->instances[h->running_instance]->artefact->module.function_count)
        return corrupt(e, "it runs a function that does not exist");
    switch (h->suspended) {
    case LEAVE_INTERRUPTED:
        if (!in_images(a, h->rip) || !on_stack(a, h->general[4], 8))
            return corrupt(e, "its registers do not lie in its arena");
        return 0;
    case LEAVE_AT_ENTER:
        if (!on_stack(a, h->suspended_rsp, 0) || !in_images(a, b + (uint64_t)h->thunk) ||
            !in_images(a, b + (uint64_t)h->code))
            return corrupt(e, "the call it was about to make does not exist");
        return 0;
    default:
        if (!on_stack(a, h->suspended_rsp, 64))
            return corrupt(e, "its stack does not lie in its arena");
        return h->suspended == LEAVE_PARKED ? pending_check(r, e) : 0;
    }
}

static int run_restore(struct restore *r, struct error *e)
{
    const struct image_header *h = &r->header;
    struct context *c = &r->arena->context;
    uint64_t b = (uint64_t)(uintptr_t)r->arena->base;
    int rc = run_check(r, e);
    if (rc < 0 || (rc = arena_prepare(r->arena, e)) < 0)
        return rc;
    memcpy(c->registers.general, h->general, sizeof h->general);
    c->registers.rip = h->rip;
    c->registers.rflags = h->rflags;
    c->thunk = b + (uint64_t)h->thunk;
    c->vm = b + (uint64_t)h->vm;
    c->code = b + (uint64_t)h->code;
    c->area = b + (uint64_t)h->area;
    c->pending_vm = b + (uint64_t)h->pending_vm;
    c->pending_number = h->pending_number;
    if (!(c->park = calloc(1, sizeof *c->park)) || signals_reserve_vectors(c) < 0)
        return error_set(e, ATOLL_ENOMEM, "no memory for the registers of an arena");
    if (h->suspended == LEAVE_INTERRUPTED &&
        (rc = vector_state_store(&r->vectors, &c->registers, signals_xsave_max(), e)) < 0)
        return rc;
    int64_t now = clock_monotonic_ns();
    c->park->deadline_ns =
        h->deadline_left_ns > INT64_MAX - now ? HOST_NO_DEADLINE : now + h->deadline_left_ns;
    c->suspended_rsp = h->suspended_rsp;
    c->running_instance = h->running_instance;
    c->running_function = h->running_function;
    c->gate_calls = h->gate_calls;
    c->suspended_depth = 1;
    c->suspended = h->suspended;
    return 0;
}

/* ---- the whole ---- */

/* Finds the sections behind the modules. */
static bool sections_find(struct restore *r)
{
    const struct image_header *h = &r->header;
    r->parts = reader_take(&r->in, h->part_count, sizeof(struct image_part));
    r->regions =
        r->parts ? reader_take(&r->in, h->region_count, sizeof(struct image_region)) : NULL;
    r->externrefs = r->regions ? reader_take(&r->in, h->externref_count, 8) : NULL;
    r->runs = r->externrefs ? reader_take(&r->in, h->run_count, sizeof(struct image_part)) : NULL;
    r->pages = r->runs ? reader_take(&r->in, h->run_bytes, 1) : NULL;
    r->host_state = r->pages ? reader_take(&r->in, h->host_state_len, 1) : NULL;
    r->policy = r->host_state ? reader_take(&r->in, h->policy_len, 1) : NULL;
    return r->policy && r->in.at == r->in.end;
}

/* Skips the modules, so that the host state can be shown before anything is bound. */
static bool sections_find_behind_modules(struct restore *r)
{
    struct reader modules = r->in;
    for (uint32_t k = 0; k < r->header.module_count; k++) {
        struct image_module module;
        const uint8_t *head = reader_take(&r->in, 1, sizeof module);
        if (!head)
            return false;
        memcpy(&module, head, sizeof module);
        if (!reader_take(&r->in, module.artefact_len, 1))
            return false;
    }
    bool found = sections_find(r);
    r->in = modules;
    return found;
}

static int restore_into(struct restore *r, struct error *e)
{
    int rc = 0;
    r->arena->rest_used = r->header.rest_used;
    if (r->header.rest_used < ARENA_REST || r->header.rest_used > SLOT_SIZE)
        return corrupt(e, "its slot is over-full");
    for (uint32_t k = 0; k < r->header.module_count; k++)
        if ((rc = module_restore(r, e)) < 0)
            return rc;
    if (!r->arena->stack_low && (rc = arena_prepare(r->arena, e)) < 0)
        return rc;
    if ((rc = parts_map(r, e)) < 0 || (rc = runs_write(r, e)) < 0 ||
        (rc = instances_check(r, e)) < 0)
        return rc;
    for (uint32_t k = 0; k < r->arena->instance_count; k++)
        if ((rc = instance_adopt_types(r->arena->instances[k], e)) < 0)
            return rc;
    if ((rc = regions_restore(r, e)) < 0 || (rc = externrefs_restore(r, e)) < 0)
        return rc;
    return run_restore(r, e);
}

int capture_restore(const uint8_t *image, size_t len, const struct capture_host *host,
                    struct arena **out, struct error *e)
{
    *out = NULL;
    int rc = signature_check(image, len, host, e);
    if (rc < 0)
        return rc;
    struct restore r = {.host = host};
    memcpy(&r.header, image, sizeof r.header);
    memcpy(&r.vectors, image + sizeof r.header, sizeof r.vectors);
    r.in = (struct reader){image + sizeof r.header + sizeof r.vectors,
                           image + len - sizeof(struct image_trailer)};
    if ((rc = header_check(&r.header, e)) < 0)
        return rc;
    if (!sections_find_behind_modules(&r))
        return corrupt(e, "cut off");
    if (host->begin && (rc = host->begin(host->context, r.host_state, r.header.host_state_len,
                                         r.policy, r.header.policy_len, e)) < 0)
        return rc;
    struct arena_limits limits = {.memory_bytes = r.header.memory_bytes,
                                  .stack_bytes = r.header.stack_bytes,
                                  .table_entries = r.header.table_entries,
                                  .no_window = r.header.no_window};
    if ((rc = arena_create(r.header.slot, &limits, &r.arena, e)) < 0)
        return rc;
    r.arena->data_end = SLOT_SIZE; /* parts can lie anywhere */
    r.header.memory_bytes = r.arena->limits.memory_bytes;
    if ((rc = restore_into(&r, e)) < 0) {
        arena_destroy(r.arena);
        return rc;
    }
    *out = r.arena;
    return 0;
}
