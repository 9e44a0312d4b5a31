/*
 * What clients sign: a request to run a stored procedure, alone or as a member of a bundle
 * (spec/ledger §3, §3.1). Little-endian; `bytes` is u32 length and data, `list` u32 count and
 * items.
 *
 *   Request   genesis 32 | client 32 | reqno u64 | min_index u64 | proc u32 | args bytes
 *             | flags u32
 *     req_hash = H("atoll.req.v1", Request). No flag is defined yet: a request with any is refused.
 *
 *   Body      what is logged, executed and sent between replicas: the request with its proof
 *     alone   form u8 = 0 | Request | signature 64
 *             over req_hash
 *     member  form u8 = 1 | Request | signature 64 | count u32 | position u32 | path list of 32
 *             over H("atoll.bundle.v1", genesis ‖ client ‖ count ‖ root)
 *     The path leads from leaf req_hash at position to root, the RFC 6962 tree over the req_hash of
 *     all count members (leaf = SHA-256(0x00 ‖ req_hash)).
 *
 *   Bundle    genesis 32 | client 32 | list of Member | signature 64       how a client sends one
 *   Member    reqno u64 | min_index u64 | proc u32 | args bytes | flags u32
 *             a Request without genesis and client, which the bundle gives once
 *
 * The body's hash H("atoll.body.v1", Body) names it exactly: one request may have two valid
 * signatures, hence two bodies, and replicas must log the same one.
 */
#ifndef LEDGER_OBJECT_REQUEST_H
#define LEDGER_OBJECT_REQUEST_H

#include "base/error.h"
#include "crypto/merkle.h"
#include "ledger/object/limits.h"
#include "ledger/object/signature.h"
#include "ledger/object/slice.h"

/* Bytes of a Request, and of a Member of a bundle, without its arguments. */
#define LEDGER_MEMBER_FIXED_LEN  (8 + 8 + 4 + 4 + 4)
#define LEDGER_REQUEST_FIXED_LEN (32 + 32 + LEDGER_MEMBER_FIXED_LEN)

struct ledger_request {
    uint8_t genesis[HASH_LEN];
    uint8_t client[ED25519_KEY_LEN];
    uint64_t reqno;
    uint64_t min_index;
    uint32_t proc;
    struct slice args;
    uint32_t flags;
};

enum ledger_body_form { LEDGER_BODY_ALONE = 0, LEDGER_BODY_MEMBER = 1 };

struct ledger_body {
    struct slice bytes;  /* the body itself */
    struct slice fields; /* the bytes of Request in it, for its hash */
    struct ledger_request request;
    enum ledger_body_form form;
    const uint8_t *signature; /* ED25519_SIGNATURE_LEN bytes */
    /* of a member */
    uint32_t count, position;
    const struct merkle_hash *path;
    uint32_t path_len;
};

/* ---- requests ---- */

/* Appends the fields. False when memory is exhausted. The arguments fit a body (asserted). */
bool ledger_request_encode(const struct ledger_request *, struct buffer *out);
/* fields: exactly a Request. ATOLL_ECORRUPT, or ATOLL_ELIMIT for what passes a limit. */
int ledger_request_decode(struct slice fields, struct ledger_request *, struct error *);
/* req_hash of encoded fields. */
void ledger_request_hash(struct slice fields, uint8_t out[static HASH_LEN]);

/* ---- bodies ---- */

/* Appends the body of a lone request of which fields are the encoded bytes. False: no memory. */
bool ledger_body_encode_alone(struct slice fields,
                              const uint8_t signature[static ED25519_SIGNATURE_LEN],
                              struct buffer *out);
/* bytes: exactly a Body of at most LEDGER_BODY_MAX. Errors as of ledger_request_decode. */
int ledger_body_decode(struct slice bytes, struct ledger_body *, struct error *);
void ledger_body_hash(struct slice bytes, uint8_t out[static HASH_LEN]);
/*
 * Everything about a body that needs no signature check: the request is for this service, its key
 * is not one of small order, and a member's path has the length that its place asks for. Fills in
 * req_hash and the signature that is left to check; it points into the bytes of the body. 0, or
 *
 *   ATOLL_EINVAL  another service's request
 *   ATOLL_EPERM   a client key of small order
 *   ATOLL_EPATH   a path that leads nowhere
 */
int ledger_body_check(const struct ledger_body *, const uint8_t genesis[static HASH_LEN],
                      uint8_t req_hash[static HASH_LEN], struct ledger_signature *left,
                      struct error *);

/* The members of bundles that were checked last: zero-initialise. */
struct ledger_body_memo {
    struct merkle_walk walk;
    struct merkle_hash root; /* of this bundle, and what of it is signed */
    uint32_t count;
    uint8_t client[ED25519_KEY_LEN], hash[HASH_LEN];
};
/* ledger_body_check, of many bodies of one service: neighbours in a bundle share most of their
 * paths, and then most of the work. */
int ledger_body_check_after(struct ledger_body_memo *, const struct ledger_body *,
                            const uint8_t genesis[static HASH_LEN],
                            uint8_t req_hash[static HASH_LEN], struct ledger_signature *left,
                            struct error *);
/* The signature of a body, for the hash that it signs: it points into the bytes. */
void ledger_body_signature(const struct ledger_body *, const uint8_t hash[static HASH_LEN],
                           struct ledger_signature *);

/* ---- bundles ---- */

struct ledger_bundle {
    uint8_t genesis[HASH_LEN];
    uint8_t client[ED25519_KEY_LEN];
    uint32_t count;           /* 1 … LEDGER_BUNDLE_MAX */
    struct slice members;     /* the members' bytes, one after the other */
    const uint8_t *signature; /* ED25519_SIGNATURE_LEN bytes */
};

/* bytes: exactly a Bundle; every member has been looked at. Errors as of ledger_request_decode. */
int ledger_bundle_decode(struct slice bytes, struct ledger_bundle *, struct error *);
/*
 * Writes a bundle's members out as bodies, one after the other, into out (emptied before): body i
 * lies at ends[i - 1] (0 for the first) up to ends[i]; ends has room for LEDGER_BUNDLE_MAX. Signs
 * nothing, checks nothing but that every body fits (ATOLL_ELIMIT); ATOLL_ENOMEM. req_hashes, when
 * not NULL, gets the members' hashes, and hash what the signature must be over.
 */
int ledger_bundle_open(const struct ledger_bundle *, struct buffer *out, size_t *ends,
                       uint8_t (*req_hashes)[HASH_LEN], uint8_t hash[static HASH_LEN],
                       struct error *);
/* Appends the bundle of these requests (all of one service and client; asserted). False: no memory.
 */
bool ledger_bundle_encode(const struct ledger_request *requests, uint32_t count,
                          const uint8_t signature[static ED25519_SIGNATURE_LEN],
                          struct buffer *out);
/* The hash that the client of these requests signs. False: no memory. */
bool ledger_bundle_hash_of(const struct ledger_request *requests, uint32_t count,
                           uint8_t out[static HASH_LEN]);

#endif
