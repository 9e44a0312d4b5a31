/* See signatures.h. */
#include "ledger/check/signatures.h"

#include "crypto/ed25519_batch.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define TOGETHER 2048u

struct kept {
    uint8_t hash[HASH_LEN], key[ED25519_KEY_LEN], signature[ED25519_SIGNATURE_LEN];
    struct check_subject subject;
};

struct check_signatures {
    struct ed25519_batch *batch;
    size_t count;
    struct kept kept[TOGETHER];
    struct ed25519_item items[TOGETHER];
    bool valid[TOGETHER];
};

int check_signatures_create(struct check_signatures **out, struct error *e)
{
    struct check_signatures *s = calloc(1, sizeof *s);
    *out = NULL;
    if (s == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory to check signatures");
    int rc = ed25519_batch_create(TOGETHER, ED25519_KERNEL_BEST, &s->batch, e);
    if (rc != 0) {
        free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void check_signatures_destroy(struct check_signatures *s)
{
    if (s == NULL)
        return;
    ed25519_batch_destroy(s->batch);
    free(s);
}

static bool kept_equals(const struct kept *k, const struct ledger_signature *one)
{
    return memcmp(k->signature, one->signature, sizeof k->signature) == 0 &&
           memcmp(k->hash, one->hash, sizeof k->hash) == 0 &&
           memcmp(k->key, one->public_key, sizeof k->key) == 0;
}

int check_signatures_add(struct check_signatures *s, const struct ledger_signature *one,
                         struct check_subject subject, struct error *e)
{
    if (s->count > 0 && kept_equals(&s->kept[s->count - 1], one))
        return 0;
    struct kept *k = &s->kept[s->count];
    memcpy(k->hash, one->hash, sizeof k->hash);
    memcpy(k->key, one->public_key, sizeof k->key);
    memcpy(k->signature, one->signature, sizeof k->signature);
    k->subject = subject;
    s->items[s->count++] = (struct ed25519_item){k->key, k->signature, k->hash, sizeof k->hash};
    return s->count == TOGETHER ? check_signatures_flush(s, e) : 0;
}

int check_signatures_flush(struct check_signatures *s, struct error *e)
{
    int rc = ed25519_batch_verify(s->batch, s->items, s->count, s->valid, e);
    for (size_t i = 0; i < s->count && rc == 0; i++) {
        const struct check_subject *about = &s->kept[i].subject;
        if (!s->valid[i])
            rc = error_set_at(e, ATOLL_ECORRUPT, about->entry, UINT32_MAX,
                              "entry %" PRIu64 ", batch %" PRIu64 ": %s is not valid", about->entry,
                              about->batch, about->what);
    }
    s->count = 0;
    return rc;
}
