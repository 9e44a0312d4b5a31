/* See json.h. */
#include "ledger/check/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static cJSON *hex_string(const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";
    char *text = malloc(2 * len + 1);
    if (text == NULL)
        return NULL;
    for (size_t i = 0; i < len; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * len] = 0;
    cJSON *string = cJSON_CreateString(text);
    free(text);
    return string;
}

void ledger_json_hex(cJSON *o, const char *name, const uint8_t *bytes, size_t len)
{
    cJSON_AddItemToObject(o, name, hex_string(bytes, len));
}

void ledger_json_number(cJSON *o, const char *name, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    cJSON_AddStringToObject(o, name, text);
}

/* Names and addresses are printable ASCII. */
static void text_add(cJSON *o, const char *name, struct slice text)
{
    char copy[LEDGER_ADDRESS_MAX + 1];
    snprintf(copy, sizeof copy, "%.*s", (int)text.len, (const char *)text.data);
    cJSON_AddStringToObject(o, name, copy);
}

/* ---- receipts ---- */

static void request_add(cJSON *o, const struct ledger_body *body)
{
    const struct ledger_request *q = &body->request;
    ledger_json_hex(o, "client", q->client, ED25519_KEY_LEN);
    ledger_json_number(o, "reqno", q->reqno);
    ledger_json_number(o, "min_index", q->min_index);
    cJSON_AddNumberToObject(o, "procedure", q->proc);
    ledger_json_hex(o, "args", q->args.data, q->args.len);
}

static void transaction_add(cJSON *o, const struct ledger_tx *tx)
{
    struct ledger_body body;
    struct error e;
    ledger_json_number(o, "index", tx->index);
    if (ledger_body_decode(tx->body, &body, &e) == 0)
        request_add(o, &body);
    cJSON_AddNumberToObject(o, "status", tx->status);
    ledger_json_hex(o, "output", tx->output.data, tx->output.len);
}

/* What receipts and entries have in common of a pp. */
static void pp_add(cJSON *o, const struct ledger_pp *pp)
{
    cJSON_AddNumberToObject(o, "config", pp->config);
    ledger_json_number(o, "view", pp->view);
    ledger_json_number(o, "batch", pp->seqno);
    cJSON_AddStringToObject(o, "kind", ledger_kind_name(pp->kind));
    ledger_json_number(o, "first_index", pp->first_index);
    cJSON_AddNumberToObject(o, "count", pp->count);
}

/* The rest that the signatures cover and that cannot be computed from the receipt. */
static cJSON *signed_object(const struct ledger_pp *pp)
{
    cJSON *o = cJSON_CreateObject();
    pp_add(o, pp);
    ledger_json_hex(o, "ledger_root", pp->ledger_root, HASH_LEN);
    ledger_json_number(o, "evidence_bits", pp->evidence_bits);
    ledger_json_number(o, "gov_index", pp->gov_index);
    ledger_json_hex(o, "kv_digest", pp->kv_digest, HASH_LEN);
    ledger_json_hex(o, "previous", pp->previous, HASH_LEN);
    return o;
}

static void signers_add(cJSON *o, const struct ledger_receipt *r)
{
    cJSON *list = cJSON_AddArrayToObject(o, "signers");
    for (unsigned replica = 0, i = 0; replica < LEDGER_REPLICAS_MAX; replica++) {
        if (!(r->bits >> replica & 1) || i == r->signer_count)
            continue;
        cJSON *one = cJSON_CreateObject();
        cJSON_AddNumberToObject(one, "replica", replica);
        ledger_json_hex(one, "signature", r->signatures + (size_t)i * ED25519_SIGNATURE_LEN,
                        ED25519_SIGNATURE_LEN);
        ledger_json_hex(one, "nonce", r->nonces + (size_t)i * LEDGER_NONCE_LEN, LEDGER_NONCE_LEN);
        cJSON_AddItemToArray(list, one);
        i++;
    }
}

cJSON *ledger_json_receipt(const struct ledger_receipt *r, const uint8_t genesis[static HASH_LEN])
{
    cJSON *o = cJSON_CreateObject();
    ledger_json_hex(o, "genesis", genesis, HASH_LEN);
    if (r->of_transaction) {
        transaction_add(o, &r->tx);
        cJSON_AddNumberToObject(o, "position", r->position);
        cJSON *path = cJSON_AddArrayToObject(o, "path");
        for (uint32_t i = 0; i < r->path_len; i++)
            cJSON_AddItemToArray(path, hex_string(r->path[i].bytes, HASH_LEN));
        ledger_json_hex(o, "entry", r->tx_bytes.data, r->tx_bytes.len);
    } else {
        /* Nothing leads to the root of a batch that has no transaction in the receipt. */
        ledger_json_hex(o, "batch_root", r->pp.batch_root, HASH_LEN);
    }
    cJSON_AddItemToObject(o, "signed", signed_object(&r->pp));
    signers_add(o, r);
    return o;
}

/* ---- entries ---- */

static void entry_tell(cJSON *o, uint8_t type, struct slice payload)
{
    struct error e;
    struct ledger_pp pp;
    struct ledger_tx tx;
    struct ledger_evidence evidence;
    struct ledger_new_view nv;
    switch (type) {
    case LEDGER_ENTRY_EVIDENCE:
        if (ledger_evidence_decode(payload, &evidence, &e) == 0) {
            ledger_json_number(o, "view", evidence.view);
            ledger_json_number(o, "batch", evidence.seqno);
            ledger_json_number(o, "bits", evidence.bits);
        }
        break;
    case LEDGER_ENTRY_PP:
        if (ledger_pp_decode_signed(payload, &pp, &e) == 0)
            pp_add(o, &pp);
        break;
    case LEDGER_ENTRY_TX:
        if (ledger_tx_decode(payload, &tx, &e) == 0)
            transaction_add(o, &tx);
        break;
    case LEDGER_ENTRY_NEW_VIEW:
        if (ledger_new_view_decode_signed(payload, &nv, &e) == 0) {
            ledger_json_number(o, "view", nv.view);
            ledger_json_number(o, "base", nv.base_seqno);
            ledger_json_number(o, "tip", nv.tip_seqno);
        }
        break;
    default: break; /* the bytes say it all */
    }
}

cJSON *ledger_json_entry(uint64_t position, uint8_t type, struct slice payload)
{
    cJSON *o = cJSON_CreateObject();
    ledger_json_number(o, "position", position);
    cJSON_AddStringToObject(o, "type", ledger_entry_name((enum ledger_entry_type)type));
    entry_tell(o, type, payload);
    ledger_json_hex(o, "payload", payload.data, payload.len);
    return o;
}

/* ---- genesis ---- */

cJSON *ledger_json_genesis(const struct ledger_genesis *g)
{
    const struct ledger_configuration *c = &g->configuration;
    cJSON *o = cJSON_CreateObject();
    text_add(o, "name", g->name);
    ledger_json_hex(o, "genesis", g->hash, HASH_LEN);
    cJSON_AddNumberToObject(o, "config", c->number);
    cJSON_AddNumberToObject(o, "pipeline", g->pipeline);
    cJSON_AddNumberToObject(o, "max_batch", c->max_batch);
    cJSON_AddNumberToObject(o, "checkpoint_interval", c->checkpoint_interval);
    ledger_json_number(o, "view_timeout_us", c->view_timeout_us);
    cJSON_AddNumberToObject(o, "faulty_max", ledger_faulty_max(c));
    cJSON_AddNumberToObject(o, "quorum", ledger_quorum(c));
    cJSON *members = cJSON_AddArrayToObject(o, "members");
    for (uint32_t i = 0; i < c->member_count; i++) {
        cJSON *one = cJSON_CreateObject();
        text_add(one, "name", c->members[i].name);
        ledger_json_hex(one, "public_key", c->members[i].public_key, ED25519_KEY_LEN);
        cJSON_AddItemToArray(members, one);
    }
    cJSON *replicas = cJSON_AddArrayToObject(o, "replicas");
    for (uint32_t i = 0; i < c->replica_count; i++) {
        cJSON *one = cJSON_CreateObject();
        text_add(one, "address", c->replicas[i].address);
        ledger_json_hex(one, "public_key", c->replicas[i].public_key, ED25519_KEY_LEN);
        cJSON_AddNumberToObject(one, "member", c->replicas[i].member);
        cJSON_AddItemToArray(replicas, one);
    }
    cJSON_AddNumberToObject(o, "clients", c->client_count);
    return o;
}
