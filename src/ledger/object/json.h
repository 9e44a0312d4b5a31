/*
 * The ledger's objects as JSON, for people and HTTP (spec/ledger §3): a view that is never signed,
 * hashed or read back. Digests, keys, signatures and bytes are lower-case hex; numbers of 64 bits
 * are decimal strings, others are numbers.
 *
 * A receipt's view leaves out batch_root and nonce_commit, which whoever checks it has to compute:
 * a verifier that compares with supplied ones checks nothing.
 *
 * All return an object that the caller deletes (cJSON_Delete), or NULL when memory is exhausted.
 */
#ifndef LEDGER_OBJECT_JSON_H
#define LEDGER_OBJECT_JSON_H

#include "ledger/object/proof.h"
#include "ledger/object/receipt.h"

#include <cjson/cJSON.h>

/* {client, reqno, min_index, procedure, args, signature, bundle: {count, position, path} or null}
 */
cJSON *ledger_request_json(const struct ledger_body *);
/* {config, view, batch, kind, …, signers: [{replica, signature, nonce}], transaction or null} */
cJSON *ledger_receipt_json(const struct ledger_receipt *);
/* {type, blamed, config, view, batch, first, second}, of a proof that was checked */
cJSON *ledger_proof_json(const struct ledger_proof *);
/* {number, quorum, …, members: […], replicas: […], clients: […]} */
cJSON *ledger_configuration_json(const struct ledger_configuration *);
/* {hash, name, pipeline, …, configuration} */
cJSON *ledger_genesis_json(const struct ledger_genesis *);

#endif
