/*
 * The view's proofs of misbehaviour (http_route.h): what lies in the replica's directory, at most
 * one of each type and replica, checked anew for every answer. So a proof that is shown holds, and
 * a file that does not is said to be damaged.
 */
#include "ledger/service/http_route.h"

#include "ledger/object/json.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_LEN 32

static const enum ledger_proof_type types[] = {LEDGER_PROOF_EQUIV_PP, LEDGER_PROOF_EQUIV_PREPARE};

static void name_write(enum ledger_proof_type type, uint32_t replica, char out[static NAME_MAX_LEN])
{
    snprintf(out, NAME_MAX_LEN, "%s-%" PRIu32 ".pom", ledger_proof_name(type), replica);
}

/* The proof that is kept, which points into `file`. ATOLL_ENOENT: none is. */
static int proof_take(const struct http_view *v, enum ledger_proof_type type, uint32_t replica,
                      struct buffer *file, struct ledger_proof *out, struct error *e)
{
    const struct ledger_genesis *g = ledger_server_genesis(v->server);
    struct slice bytes;
    int rc = ledger_server_proof(v->server, type, (uint16_t)replica, file, e);
    if (rc == 0)
        rc = ledger_proof_file_decode(slice_of_buffer(file), g->hash, &bytes, e);
    if (rc == 0)
        rc = ledger_proof_verify(bytes, &g->configuration, &LEDGER_VERIFIER_SINGLE, out, e);
    if (rc == 0 && (out->type != type || out->blamed != replica))
        rc = error_set(e, ATOLL_ECORRUPT, "it accuses replica %u by %s", out->blamed,
                       ledger_proof_name(out->type));
    return rc;
}

/* Appends what is kept of one type against one replica, if anything is, without the statements.
 * False: no memory. */
static bool proof_list(const struct http_view *v, enum ledger_proof_type type, uint32_t replica,
                       cJSON *list)
{
    struct buffer file = {0};
    struct ledger_proof proof;
    struct error e;
    char name[NAME_MAX_LEN];
    int rc = proof_take(v, type, replica, &file, &proof, &e);
    cJSON *o = rc == -ATOLL_ENOENT ? NULL
               : rc == 0           ? ledger_proof_json(&proof)
                                   : cJSON_CreateObject();
    bool done = rc == -ATOLL_ENOENT || o != NULL;
    if (o) {
        name_write(type, replica, name);
        cJSON_DeleteItemFromObjectCaseSensitive(o, "first");
        cJSON_DeleteItemFromObjectCaseSensitive(o, "second");
        done = cJSON_AddStringToObject(o, "name", name) &&
               (rc == 0 || cJSON_AddStringToObject(o, "damaged", e.text)) &&
               cJSON_AddItemToArray(list, o);
        if (!done)
            cJSON_Delete(o);
    }
    buffer_free(&file);
    return done;
}

void route_proofs(struct http_view *v, struct http_request *r)
{
    uint32_t replicas = ledger_server_genesis(v->server)->configuration.replica_count;
    cJSON *o = cJSON_CreateObject(), *list = cJSON_AddArrayToObject(o, "proofs");
    bool done = list != NULL;
    for (uint32_t i = 0; i < replicas && done; i++)
        for (size_t t = 0; t < sizeof types / sizeof types[0] && done; t++)
            done = proof_list(v, types[t], i, list);
    if (!done) {
        cJSON_Delete(o);
        o = NULL;
    }
    view_json(v, r, 200, o, 0);
}

/* Which proof bears this name; false: none ever does. */
static bool name_read(const struct http_view *v, const char *name, size_t len,
                      enum ledger_proof_type *type, uint32_t *replica)
{
    uint32_t replicas = ledger_server_genesis(v->server)->configuration.replica_count;
    char is[NAME_MAX_LEN];
    for (*replica = 0; *replica < replicas; ++*replica) {
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            *type = types[t];
            name_write(*type, *replica, is);
            if (strlen(is) == len && memcmp(is, name, len) == 0)
                return true;
        }
    }
    return false;
}

void route_proof(struct http_view *v, struct http_request *r, const char *name, size_t len)
{
    enum ledger_proof_type type;
    uint32_t replica;
    struct buffer file = {0};
    struct ledger_proof proof;
    struct error e;
    int rc = name_read(v, name, len, &type, &replica)
                 ? proof_take(v, type, replica, &file, &proof, &e)
                 : -ATOLL_ENOENT;
    if (rc == -ATOLL_ENOENT) {
        view_problem(v, r, 404, "this replica keeps no such proof; GET /v1/proofs lists them");
    } else if (rc == -ATOLL_ENOMEM) {
        view_problem(v, r, 503, e.text);
    } else if (rc != 0) {
        error_prefix(&e, "the file %.*s in proofs/ proves nothing", (int)len, name);
        view_problem(v, r, 500, e.text);
    } else if (view_accepts(r, "application/octet-stream")) {
        view_bytes(v, r, "application/octet-stream", file.data, file.len);
    } else if (view_accepts(r, "application/json")) {
        view_json(v, r, 200, ledger_proof_json(&proof), 0);
    } else {
        view_problem(v, r, 406, "proofs come as application/json or application/octet-stream");
    }
    buffer_free(&file);
}
