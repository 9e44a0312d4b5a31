/*
 * Host functions that start one call: of a function by name, or of a function of the caller's
 * table. The contract is sdk/c/include/atoll.h.
 */
#include "node/worker/chain.h"

/* ---- starting ---- */

/* Lets go of the version that was found. */
static int local_start(struct worker *w, struct guest_thread *t, struct call *parent,
                       struct chain *chain, struct blob *input, uint64_t *id)
{
    int64_t now = clock_monotonic_ns();
    struct version *v = chain->version;
    struct call *c = NULL;
    pthread_mutex_lock(&w->lock);
    int rc = children_allowed(w, parent, 1);
    if (rc == 0)
        c = child_make(w, chain, parent, v, input, now);
    if (rc == 0 && !c)
        rc = -ATOLL_ENOMEM;
    if (c && !queue_prepare(w, v, c->depth, c->priority)) {
        c->input = NULL;
        call_undo(w, c);
        rc = -ATOLL_ENOMEM;
    } else if (c) {
        *id = c->id;
        child_start(w, c, parent);
    }
    uint64_t left = ids_left(w);
    callee_let_go(w, chain);
    pthread_mutex_unlock(&w->lock);
    if (left < IDS_LOW)
        ids_ask(w, IDS_LOW);
    if (rc == 0)
        children_announce(t, 1, now);
    return rc;
}

static void callee_drop(struct worker *w, struct chain *chain)
{
    pthread_mutex_lock(&w->lock);
    callee_let_go(w, chain);
    pthread_mutex_unlock(&w->lock);
}

/* chain and chain_fn, when the version is known. */
static enum host_status chain_one(struct host_call *hc, struct chain *chain, uint32_t at,
                                  uint64_t len)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    struct blob *input = NULL;
    uint64_t id = 0;
    int rc = child_input(hc, at, len, &input);
    if (rc < 0)
        callee_drop(w, chain);
    else if (chain->remote != UINT32_MAX)
        rc = child_remote_start(w, f->call, chain, input, &id);
    else
        rc = local_start(w, f->thread, f->call, chain, input, &id);
    if (rc < 0)
        blob_release(input);
    if (rc == -ATOLL_EAGAIN)
        return ids_wait(hc, w, 1);
    if (rc == 0 && !chain->no_ids)
        rc = guest_write(hc->arena, chain->ids_at, &id, sizeof id);
    return host_result_i32(hc, rc);
}

/* Common checks of chain and chain_fn; *rc is 0 when they pass. */
static int chain_decode(struct host_call *hc, struct chain *chain, uint32_t in, uint64_t len,
                        uint32_t options, uint32_t id)
{
    const struct call *c = faaslet_of(hc)->call;
    *chain = (struct chain){
        .remote = UINT32_MAX, .function = UINT32_MAX, .count = 1, .ids_at = id, .no_ids = id == 0};
    int rc = chain_options_read(hc, options, &chain->options);
    if (rc < 0)
        return rc;
    if (len > UINT32_MAX || !guest_range(hc->arena, in, len, GUEST_READ))
        return -ATOLL_EFAULT;
    if (chain->no_ids && !(chain->options.flags & CHAIN_DETACH))
        return -ATOLL_EFAULT;
    if (!chain->no_ids && !guest_range(hc->arena, id, 8, GUEST_WRITE))
        return -ATOLL_EFAULT;
    return c->zygote ? -ATOLL_EPERM : 0;
}

static enum host_status import_chain(struct host_call *hc)
{
    struct chain chain;
    char name[NAME_TEXT_MAX];
    uint32_t name_len, in = hc->slots[2].u32;
    uint64_t len = hc->slots[3].u64;
    int rc = chain_decode(hc, &chain, in, len, hc->slots[4].u32, hc->slots[5].u32);
    if (rc == 0)
        rc = callee_name(hc, hc->slots[0].u32, hc->slots[1].u32, name, &name_len);
    if (rc == 0)
        rc = callee_find(hc, name, name_len, &chain);
    if (rc > 0)
        return HOST_PARK;
    if (rc < 0)
        return host_result_i32(hc, rc);
    return chain_one(hc, &chain, in, len);
}

/* ---- functions of tables ---- */

/* The defined function () -> i32 that the table entry holds, or UINT32_MAX. */
static uint32_t table_function(const struct faaslet *f, uint32_t index)
{
    const struct instance *i = arena_primary(f->arena);
    const struct artefact *artefact = instance_artefact(i);
    const struct wasm_module *m = &artefact->module;
    if (m->table_count == 0)
        return UINT32_MAX;
    const struct table_descriptor *d = instance_table(i, 0);
    if (index >= d->size)
        return UINT32_MAX;
    int64_t record = table_entries(i, d)[index].record;
    uint64_t offset = (uint64_t)(f->arena->base + record - (const uint8_t *)instance_records(i));
    uint64_t number = offset / sizeof(struct function_record);
    if (record == 0 || offset % sizeof(struct function_record) ||
        number >= artefact->layout.record_count)
        return UINT32_MAX;
    uint32_t function = f->proto->record_functions[number];
    struct wasm_signature s = wasm_function_signature(m, function);
    bool fits = s.param_count == 0 && s.result_count == 1 && s.results[0] == WASM_I32;
    return fits ? function : UINT32_MAX;
}

static enum host_status import_chain_fn(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    struct chain chain;
    uint32_t in = hc->slots[1].u32;
    uint64_t len = hc->slots[2].u64;
    int rc = chain_decode(hc, &chain, in, len, hc->slots[3].u32, hc->slots[4].u32);
    if (rc == 0 && (chain.function = table_function(f, hc->slots[0].u32)) == UINT32_MAX)
        rc = -ATOLL_EINVAL;
    if (rc < 0)
        return host_result_i32(hc, rc);
    pthread_mutex_lock(&w->lock);
    chain.version = f->version;
    chain.version->calls++;
    pthread_mutex_unlock(&w->lock);
    return chain_one(hc, &chain, in, len);
}

const struct import_entry imports_chain[] = {
    {"chain", "iiilii:i", import_chain},
    {"chain_fn", "iilii:i", import_chain_fn},
    {0},
};
