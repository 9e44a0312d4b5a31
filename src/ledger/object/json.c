/* JSON views; see json.h. */
#include "ledger/object/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- members of an object; false when memory is exhausted ---- */

static bool hex_add(cJSON *o, const char *name, const void *data, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *bytes = data;
    char *text = malloc(2 * len + 1);
    if (!text)
        return false;
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * len] = '\0';
    bool added = cJSON_AddStringToObject(o, name, text) != NULL;
    free(text);
    return added;
}

static bool slice_add(cJSON *o, const char *name, struct slice bytes)
{
    return hex_add(o, name, bytes.data, bytes.len);
}

/* Text that decoding has found to be printable. */
static bool text_add(cJSON *o, const char *name, struct slice text)
{
    char copy[LEDGER_ADDRESS_MAX + 1];
    size_t len = text.len < sizeof copy ? text.len : sizeof copy - 1;
    if (len)
        memcpy(copy, text.data, len);
    copy[len] = '\0';
    return cJSON_AddStringToObject(o, name, copy) != NULL;
}

static bool u64_add(cJSON *o, const char *name, uint64_t value)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, value);
    return cJSON_AddStringToObject(o, name, text) != NULL;
}

static bool number_add(cJSON *o, const char *name, double value)
{
    return cJSON_AddNumberToObject(o, name, value) != NULL;
}

/* A row of hashes. */
static bool hashes_add(cJSON *o, const char *name, const struct merkle_hash *hashes, uint32_t count)
{
    cJSON *list = cJSON_AddArrayToObject(o, name);
    char text[2 * HASH_LEN + 1];
    for (uint32_t i = 0; list && i < count; i++) {
        hash_hex(hashes[i].bytes, text);
        cJSON *item = cJSON_CreateString(text);
        if (!item || !cJSON_AddItemToArray(list, item))
            return false;
    }
    return list != NULL;
}

/* A new object at the end of a list. */
static cJSON *object_append(cJSON *list)
{
    cJSON *o = cJSON_CreateObject();
    if (o && list && cJSON_AddItemToArray(list, o))
        return o;
    cJSON_Delete(o);
    return NULL;
}

/* The object, unless something is missing in it. */
static cJSON *whole(cJSON *o, bool complete)
{
    if (complete)
        return o;
    cJSON_Delete(o);
    return NULL;
}

/* ---- requests ---- */

static bool bundle_add(cJSON *o, const struct ledger_body *body)
{
    if (body->form == LEDGER_BODY_ALONE)
        return cJSON_AddNullToObject(o, "bundle") != NULL;
    cJSON *bundle = cJSON_AddObjectToObject(o, "bundle");
    return bundle && number_add(bundle, "count", body->count) &&
           number_add(bundle, "position", body->position) &&
           hashes_add(bundle, "path", body->path, body->path_len);
}

cJSON *ledger_request_json(const struct ledger_body *body)
{
    const struct ledger_request *r = &body->request;
    cJSON *o = cJSON_CreateObject();
    return whole(o, o && hex_add(o, "genesis", r->genesis, HASH_LEN) &&
                        hex_add(o, "client", r->client, ED25519_KEY_LEN) &&
                        u64_add(o, "reqno", r->reqno) && u64_add(o, "min_index", r->min_index) &&
                        number_add(o, "procedure", r->proc) && slice_add(o, "args", r->args) &&
                        number_add(o, "flags", r->flags) &&
                        hex_add(o, "signature", body->signature, ED25519_SIGNATURE_LEN) &&
                        bundle_add(o, body));
}

/* ---- receipts ---- */

static bool signers_add(cJSON *o, const struct ledger_receipt *receipt)
{
    cJSON *list = cJSON_AddArrayToObject(o, "signers");
    const uint8_t *signature = receipt->signatures, *nonce = receipt->nonces;
    for (uint64_t left = receipt->bits; list && left; left &= left - 1) {
        cJSON *signer = object_append(list);
        if (!signer || !number_add(signer, "replica", __builtin_ctzll(left)) ||
            !hex_add(signer, "signature", signature, ED25519_SIGNATURE_LEN) ||
            !hex_add(signer, "nonce", nonce, LEDGER_NONCE_LEN))
            return false;
        signature += ED25519_SIGNATURE_LEN;
        nonce += LEDGER_NONCE_LEN;
    }
    return list != NULL;
}

static bool transaction_add(cJSON *o, const struct ledger_receipt *receipt)
{
    if (!receipt->of_transaction)
        return cJSON_AddNullToObject(o, "transaction") != NULL;
    const struct ledger_tx *tx = &receipt->tx;
    cJSON *t = cJSON_AddObjectToObject(o, "transaction"), *request;
    if (!t || !u64_add(t, "index", tx->index) || !number_add(t, "position", receipt->position) ||
        !number_add(t, "status", tx->status) || !slice_add(t, "output", tx->output) ||
        !hex_add(t, "writeset_hash", tx->writeset_hash, HASH_LEN) ||
        !hashes_add(t, "path", receipt->path, receipt->path_len))
        return false;
    request = ledger_request_json(&receipt->body);
    if (request && cJSON_AddItemToObject(t, "request", request))
        return true;
    cJSON_Delete(request);
    return false;
}

cJSON *ledger_receipt_json(const struct ledger_receipt *receipt)
{
    const struct ledger_pp *pp = &receipt->pp;
    cJSON *o = cJSON_CreateObject();
    return whole(o, o && number_add(o, "config", pp->config) && u64_add(o, "view", pp->view) &&
                        u64_add(o, "batch", pp->seqno) &&
                        cJSON_AddStringToObject(o, "kind", ledger_kind_name(pp->kind)) &&
                        hex_add(o, "ledger_root", pp->ledger_root, HASH_LEN) &&
                        u64_add(o, "first_index", pp->first_index) &&
                        number_add(o, "count", pp->count) &&
                        u64_add(o, "evidence_bits", pp->evidence_bits) &&
                        u64_add(o, "gov_index", pp->gov_index) &&
                        hex_add(o, "kv_digest", pp->kv_digest, HASH_LEN) &&
                        hex_add(o, "previous", pp->previous, HASH_LEN) && signers_add(o, receipt) &&
                        transaction_add(o, receipt));
}

/* ---- proofs ---- */

cJSON *ledger_proof_json(const struct ledger_proof *p)
{
    cJSON *o = cJSON_CreateObject();
    return whole(o, o && cJSON_AddStringToObject(o, "type", ledger_proof_name(p->type)) &&
                        number_add(o, "blamed", p->blamed) && number_add(o, "config", p->config) &&
                        u64_add(o, "view", p->view) && u64_add(o, "batch", p->seqno) &&
                        slice_add(o, "first", p->statements[0]) &&
                        slice_add(o, "second", p->statements[1]));
}

/* ---- configurations ---- */

static bool members_add(cJSON *o, const struct ledger_configuration *c)
{
    cJSON *list = cJSON_AddArrayToObject(o, "members");
    for (uint32_t i = 0; list && i < c->member_count; i++) {
        cJSON *member = object_append(list);
        if (!member || !text_add(member, "name", c->members[i].name) ||
            !hex_add(member, "key", c->members[i].public_key, ED25519_KEY_LEN))
            return false;
    }
    return list != NULL;
}

static bool replicas_add(cJSON *o, const struct ledger_configuration *c)
{
    cJSON *list = cJSON_AddArrayToObject(o, "replicas");
    for (uint32_t i = 0; list && i < c->replica_count; i++) {
        const struct ledger_node *node = &c->replicas[i];
        cJSON *replica = object_append(list);
        if (!replica || !number_add(replica, "replica", i) ||
            !hex_add(replica, "key", node->public_key, ED25519_KEY_LEN) ||
            !text_add(replica, "member", c->members[node->member].name) ||
            !text_add(replica, "address", node->address))
            return false;
    }
    return list != NULL;
}

cJSON *ledger_configuration_json(const struct ledger_configuration *c)
{
    cJSON *o = cJSON_CreateObject();
    return whole(
        o, o && number_add(o, "number", c->number) &&
               number_add(o, "engine_version", c->engine_version) &&
               number_add(o, "faulty_max", ledger_faulty_max(c)) &&
               number_add(o, "quorum", ledger_quorum(c)) &&
               number_add(o, "max_batch", c->max_batch) &&
               number_add(o, "checkpoint_interval", c->checkpoint_interval) &&
               u64_add(o, "view_timeout_us", c->view_timeout_us) && members_add(o, c) &&
               replicas_add(o, c) &&
               hashes_add(o, "clients", (const struct merkle_hash *)c->clients, c->client_count));
}

cJSON *ledger_genesis_json(const struct ledger_genesis *g)
{
    cJSON *o = cJSON_CreateObject();
    cJSON *configuration = ledger_configuration_json(&g->configuration);
    bool done = o && configuration && hex_add(o, "hash", g->hash, HASH_LEN) &&
                text_add(o, "name", g->name) && hex_add(o, "nonce", g->nonce, sizeof g->nonce) &&
                number_add(o, "pipeline", g->pipeline) &&
                number_add(o, "buckets", 1u << g->bucket_bits) &&
                hex_add(o, "bucket_key", g->bucket_key, sizeof g->bucket_key) &&
                number_add(o, "procedures", g->procedures) && slice_add(o, "state", g->state);
    if (!done || !cJSON_AddItemToObject(o, "configuration", configuration)) {
        cJSON_Delete(configuration);
        done = false;
    }
    return whole(o, done);
}
