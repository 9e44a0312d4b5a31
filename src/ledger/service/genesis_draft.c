/* See genesis_draft.h. */
#include "ledger/service/genesis_draft.h"

#include "base/random.h"
#include "ledger/kv/smallbank.h"

#include <stdlib.h>
#include <string.h>

/* What the genesis points to lies beside it. */
struct genesis_draft {
    struct ledger_genesis genesis;
    uint8_t state[SMALLBANK_STATE_LEN];
    char name[LEDGER_NAME_MAX + 1];
    struct {
        char address[LEDGER_ADDRESS_MAX], member[LEDGER_NAME_MAX];
        uint8_t key[ED25519_KEY_LEN], member_key[ED25519_KEY_LEN];
    } replicas[LEDGER_REPLICAS_MAX];
};

int genesis_draft_create(const struct genesis_terms *terms, struct genesis_draft **out,
                         struct error *e)
{
    struct genesis_draft *d = *out = calloc(1, sizeof *d);
    if (d == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for a genesis");
    struct ledger_genesis *g = &d->genesis;
    strncpy(d->name, terms->name, LEDGER_NAME_MAX);
    smallbank_state_encode(terms->accounts, terms->balance, terms->balance, d->state);
    *g =
        (struct ledger_genesis){.name = slice_of(d->name, strlen(d->name)),
                                .pipeline = terms->pipeline,
                                .bucket_bits = LEDGER_BUCKET_BITS_MAX,
                                .procedures = PROCEDURE_FAMILY_SMALLBANK,
                                .state = slice_of(d->state, sizeof d->state),
                                .configuration = {.max_batch = terms->max_batch,
                                                  .checkpoint_interval = terms->checkpoint_interval,
                                                  .view_timeout_us = terms->view_timeout_us}};
    if (random_bytes(g->nonce, sizeof g->nonce) == 0 &&
        random_bytes(g->bucket_key, sizeof g->bucket_key) == 0)
        return 0;
    genesis_draft_destroy(d);
    *out = NULL;
    return error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
}

void genesis_draft_destroy(struct genesis_draft *d)
{
    free(d);
}

int genesis_draft_add(struct genesis_draft *d, struct slice address, const uint8_t *public_key,
                      struct slice member, const uint8_t *member_key, struct error *e)
{
    struct ledger_configuration *c = &d->genesis.configuration;
    uint32_t i = c->replica_count, m = 0;
    if (i == LEDGER_REPLICAS_MAX)
        return error_set(e, ATOLL_ELIMIT, "a ledger has at most %d replicas", LEDGER_REPLICAS_MAX);
    if (address.len > LEDGER_ADDRESS_MAX || member.len > LEDGER_NAME_MAX)
        return error_set(e, ATOLL_EINVAL, "the address or member's name of replica %u is too long",
                         i);
    memcpy(d->replicas[i].address, address.data, address.len);
    memcpy(d->replicas[i].member, member.data, member.len);
    memcpy(d->replicas[i].key, public_key, ED25519_KEY_LEN);
    memcpy(d->replicas[i].member_key, member_key, ED25519_KEY_LEN);
    while (m < c->member_count &&
           memcmp(c->members[m].public_key, member_key, ED25519_KEY_LEN) != 0)
        m++;
    if (m == c->member_count)
        c->members[c->member_count++] = (struct ledger_member){
            slice_of(d->replicas[i].member, member.len), d->replicas[i].member_key};
    c->replicas[c->replica_count++] =
        (struct ledger_node){d->replicas[i].key, m, slice_of(d->replicas[i].address, address.len)};
    return 0;
}

int genesis_draft_encode(const struct genesis_draft *d, struct buffer *out, struct error *e)
{
    size_t start = out->len;
    struct ledger_genesis *check = malloc(sizeof *check);
    int rc = check && ledger_genesis_encode(&d->genesis, out)
                 ? ledger_genesis_decode(slice_of(out->data + start, out->len - start), check, e)
                 : error_set(e, ATOLL_ENOMEM, "no memory for a genesis");
    free(check);
    return rc;
}
