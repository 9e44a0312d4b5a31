/*
 * What a guest asks to be called: options, a name, and the version that the name means now.
 *
 * Names are known after the first use (names.c); until then, and when they have changed, the
 * supervisor is asked, which also says whether this function may call that one.
 */
#include "node/worker/chain.h"

#include <assert.h>

#define RIGHT_REMOTE  1u /* of REQUEST_RESOLVE's answer: by REQUEST_CALL */
#define PRIORITY_MOST 10u
#define CHAIN_FLAGS   (CHAIN_DETACH | CHAIN_LOCAL | CHAIN_FRESH | CHAIN_GANG)

/* ---- decoding ---- */

int chain_options_read(struct host_call *hc, uint32_t at, struct chain_options *o)
{
    *o = (struct chain_options){.size = (uint32_t)sizeof *o};
    if (at == 0)
        return 0;
    uint32_t size;
    if (guest_read(hc->arena, &size, at, sizeof size) < 0)
        return -ATOLL_EFAULT;
    if (size < sizeof *o)
        return -ATOLL_EINVAL;
    if (guest_read(hc->arena, o, at, sizeof *o) < 0)
        return -ATOLL_EFAULT;
    if (!guest_range(hc->arena, o->affinity_ptr, o->affinity_len, GUEST_READ) ||
        !guest_range(hc->arena, o->policy_ptr, o->policy_len, GUEST_READ))
        return -ATOLL_EFAULT;
    if (o->flags & ~(uint32_t)CHAIN_FLAGS || o->retries > CALL_RETRIES_MAX ||
        o->priority > PRIORITY_MOST)
        return -ATOLL_EINVAL;
    return 0;
}

/* Where the next part goes. The parts are a tenant, a function and an alias, which fit. */
static uint32_t text_put(char out[NAME_TEXT_MAX], uint32_t at, const char *part, uint32_t len)
{
    assert(len < NAME_TEXT_MAX - at);
    memcpy(out + at, part, len);
    out[at + len] = 0;
    return at + len;
}

int callee_name(struct host_call *hc, uint32_t at, uint32_t len, char out[NAME_TEXT_MAX],
                uint32_t *out_len)
{
    const struct faaslet *f = faaslet_of(hc);
    char text[NAME_TEXT_MAX], tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1];
    struct error e;
    if (!guest_range(hc->arena, at, len, GUEST_READ))
        return -ATOLL_EFAULT;
    if (len == 0 || len > 3 * NAME_MAX_LEN + 2)
        return -ATOLL_EINVAL;
    if (guest_read(hc->arena, text, at, len) < 0)
        return -ATOLL_EFAULT;
    const char *alias = memchr(text, '@', len), *slash = memchr(text, '/', len);
    uint32_t name_len = alias ? (uint32_t)(alias - text) : len;
    if (alias && !name_is_valid(alias + 1, len - name_len - 1))
        return -ATOLL_EINVAL;
    if (name_split(text, name_len, tenant, function, &e) < 0)
        return -ATOLL_EINVAL;
    const char *owner = slash ? tenant : f->version->tenant;
    if (!manifest_may_call(&f->version->manifest, owner, function))
        return -ATOLL_EPERM;
    uint32_t at_end = text_put(out, 0, owner, (uint32_t)strlen(owner));
    at_end = text_put(out, at_end, "/", 1);
    at_end = text_put(out, at_end, function, (uint32_t)strlen(function));
    *out_len = text_put(out, at_end, text + name_len, len - name_len);
    return 0;
}

/* ---- finding the version ---- */

/* Keeps the version while calls of it are made. Under worker.lock. */
static int version_hold(struct worker *w, uint32_t number, struct chain *chain)
{
    struct version *v = version_find(w, number);
    if (!v || v->dropped)
        return -ATOLL_ENOENT;
    v->calls++;
    chain->version = v;
    return 0;
}

void callee_let_go(struct worker *w, struct chain *chain)
{
    struct version *v = chain->version;
    if (v && --v->calls == 0)
        version_unused(w, v);
    chain->version = NULL;
}

/* From the supervisor's answer. */
static int name_answered(struct faaslet *f, const char *name, uint32_t len, struct chain *chain)
{
    struct worker *w = f->worker;
    const struct answer *a = faaslet_answer(f);
    if (a->result < 0)
        return a->result == -ATOLL_EPERM ? -ATOLL_EPERM
               : a->result < -100        ? -ATOLL_EIO
                                         : (int)a->result;
    if (a->payload_len != 12)
        return -ATOLL_EIO;
    uint32_t number = load_u32(a->payload);
    bool remote = load_u64(a->payload + 4) & RIGHT_REMOTE;
    pthread_mutex_lock(&w->lock);
    int rc = remote ? 0 : version_hold(w, number, chain);
    if (rc == 0 && !remote)
        name_learn(w, name, len, number, f->name_epoch);
    pthread_mutex_unlock(&w->lock);
    chain->remote = remote ? number : UINT32_MAX;
    return rc;
}

int callee_find(struct host_call *hc, const char *name, uint32_t len, struct chain *chain)
{
    struct faaslet *f = faaslet_of(hc);
    struct worker *w = f->worker;
    uint32_t number;
    if (f->asked_name) {
        f->asked_name = false;
        return name_answered(f, name, len, chain);
    }
    pthread_mutex_lock(&w->lock);
    bool known = name_known(w, name, len, &number) && version_hold(w, number, chain) == 0;
    f->name_epoch = w->name_epoch;
    pthread_mutex_unlock(&w->lock);
    if (known)
        return 0;
    f->asked_name = true;
    (void)faaslet_ask(hc, REQUEST_RESOLVE, name, len, -1, 0);
    return 1;
}
