/*
 * A small service for the tests and fuzzers of the ledger's objects: replicas with keys, clients,
 * batches with signatures. Everything follows from numbers, so a failure repeats.
 */
#ifndef TESTS_LEDGER_OBJECTS_H
#define TESTS_LEDGER_OBJECTS_H

#include "crypto/secret.h"
#include "ledger/object/receipt.h"
#include "ledger/object/tag.h"

#include <assert.h>
#include <stdio.h>

#define REPLICA_KEYS 16
#define CLIENT_KEYS  4

struct service {
    struct secret *replicas[REPLICA_KEYS], *clients[CLIENT_KEYS];
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    struct ledger_keys keys;
};

static inline struct slice text_slice(const char *text)
{
    return slice_of(text, strlen(text));
}

/* 32 bytes that follow from two numbers. */
static inline void number_hash(uint64_t a, uint64_t b, uint8_t out[static HASH_LEN])
{
    uint64_t numbers[2] = {a, b};
    hash_sha256(numbers, sizeof numbers, out);
}

static inline struct secret *number_secret(uint64_t kind, uint64_t number)
{
    uint8_t seed[SECRET_SEED_LEN];
    struct secret *secret = NULL;
    struct error e;
    number_hash(kind, number, seed);
    int result = secret_from_seed(seed, &secret, &e);
    assert(result == 0);
    (void)result;
    return secret;
}

static inline void service_describe(struct service *s, unsigned n, struct ledger_genesis *g)
{
    *g = (struct ledger_genesis){.name = text_slice("service of a test"),
                                 .pipeline = 2,
                                 .bucket_bits = 4,
                                 .procedures = 1,
                                 .state = text_slice("state")};
    number_hash(7, n, g->nonce);
    g->configuration = (struct ledger_configuration){.max_batch = 300,
                                                     .checkpoint_interval = 10,
                                                     .view_timeout_us = 2000000,
                                                     .member_count = 2,
                                                     .replica_count = n};
    for (unsigned i = 0; i < 2; i++)
        g->configuration.members[i] = (struct ledger_member){text_slice(i ? "second" : "first"),
                                                             secret_public(s->clients[i])};
    for (unsigned i = 0; i < n; i++)
        g->configuration.replicas[i] = (struct ledger_node){secret_public(s->replicas[i]), i % 2,
                                                            text_slice("127.0.0.1:7000")};
}

static inline void service_make(struct service *s, unsigned n)
{
    struct ledger_genesis g;
    struct error e;
    *s = (struct service){0};
    for (unsigned i = 0; i < n; i++)
        s->replicas[i] = number_secret(1, i);
    for (unsigned i = 0; i < CLIENT_KEYS; i++)
        s->clients[i] = number_secret(2, i);
    service_describe(s, n, &g);
    bool written = ledger_genesis_encode(&g, &s->genesis_bytes);
    int result = ledger_genesis_decode(slice_of_buffer(&s->genesis_bytes), &s->genesis, &e);
    if (result < 0)
        fprintf(stderr, "%s\n", e.text);
    assert(written && result == 0);
    (void)written;
    s->keys = ledger_keys_of(&s->genesis);
}

static inline void service_free(struct service *s)
{
    for (unsigned i = 0; i < REPLICA_KEYS; i++)
        secret_destroy(s->replicas[i]);
    for (unsigned i = 0; i < CLIENT_KEYS; i++)
        secret_destroy(s->clients[i]);
    buffer_free(&s->genesis_bytes);
}

/* ---- requests ---- */

static inline struct ledger_request service_request(const struct service *s, unsigned client,
                                                    uint64_t reqno, const char *args)
{
    struct ledger_request request = {.reqno = reqno, .proc = 3, .args = text_slice(args)};
    memcpy(request.genesis, s->genesis.hash, HASH_LEN);
    memcpy(request.client, secret_public(s->clients[client]), ED25519_KEY_LEN);
    return request;
}

/* Appends the body of the request, signed. */
static inline void service_body(const struct service *s, unsigned client,
                                const struct ledger_request *request, struct buffer *out)
{
    struct buffer fields = {0};
    uint8_t hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN];
    bool done = ledger_request_encode(request, &fields);
    ledger_request_hash(slice_of_buffer(&fields), hash);
    secret_sign(s->clients[client], hash, HASH_LEN, signature);
    done = done && ledger_body_encode_alone(slice_of_buffer(&fields), signature, out);
    assert(done);
    (void)done;
    buffer_free(&fields);
}

/* Appends a bundle of `count` requests of a client. */
static inline void service_bundle(const struct service *s, unsigned client, uint32_t count,
                                  struct buffer *out)
{
    static struct ledger_request requests[LEDGER_BUNDLE_MAX];
    uint8_t hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN];
    for (uint32_t i = 0; i < count; i++)
        requests[i] = service_request(s, client, i + 1, "argument");
    bool done = ledger_bundle_hash_of(requests, count, hash);
    secret_sign(s->clients[client], hash, HASH_LEN, signature);
    done = done && ledger_bundle_encode(requests, count, signature, out);
    assert(done);
    (void)done;
}

/* ---- batches ---- */

#define BATCH_TXS 300

/* A batch of one view with everything that its replicas signed. */
struct batch {
    struct ledger_pp pp;
    uint8_t pp_hash[HASH_LEN];
    struct buffer txs[BATCH_TXS];
    struct merkle_tree *tree;
    uint8_t nonces[REPLICA_KEYS][LEDGER_NONCE_LEN];
    struct ledger_prepare prepares[REPLICA_KEYS]; /* the primary's is not one */
    unsigned replicas;
};

static inline void batch_nonce(const struct batch *b, unsigned replica,
                               uint8_t out[static LEDGER_NONCE_LEN])
{
    number_hash(1000 + replica, b->pp.seqno * 1000 + b->pp.view, out);
}

static inline void batch_prepare(const struct service *s, struct batch *b, unsigned replica)
{
    struct ledger_prepare *p = &b->prepares[replica];
    uint8_t hash[HASH_LEN];
    *p = (struct ledger_prepare){b->pp.config, b->pp.view, b->pp.seqno, (uint16_t)replica,
                                 {0},          {0},        {0}};
    batch_nonce(b, replica, b->nonces[replica]);
    ledger_nonce_hash(b->nonces[replica], p->nonce_commit);
    memcpy(p->pp_hash, b->pp_hash, HASH_LEN);
    ledger_prepare_hash(p, hash);
    secret_sign(s->replicas[replica], hash, HASH_LEN, p->signature);
}

/* Signs what stands in b->pp. */
static inline void batch_sign(const struct service *s, struct batch *b)
{
    unsigned primary = ledger_primary(&s->genesis.configuration, b->pp.view);
    b->replicas = s->genesis.configuration.replica_count;
    batch_nonce(b, primary, b->nonces[primary]);
    ledger_nonce_hash(b->nonces[primary], b->pp.nonce_commit);
    ledger_pp_hash(&b->pp, b->pp_hash);
    secret_sign(s->replicas[primary], b->pp_hash, HASH_LEN, b->pp.signature);
    for (unsigned i = 0; i < b->replicas; i++)
        if (i != primary)
            batch_prepare(s, b, i);
}

static inline void batch_tx_add(struct batch *b, struct slice body, uint64_t index)
{
    struct ledger_tx tx = {.index = index, .body = body, .status = -3, .output = text_slice("out")};
    struct buffer *bytes = &b->txs[index - b->pp.first_index];
    struct error e;
    bool done = ledger_tx_encode(&tx, bytes);
    struct merkle_hash leaf = ledger_entry_leaf(LEDGER_ENTRY_TX, slice_of_buffer(bytes));
    done = done && merkle_tree_append(b->tree, &leaf, &e) == 0;
    assert(done);
    (void)done;
}

/* A batch of `count` transactions, one lone request each, of client 0. */
static inline void batch_make(const struct service *s, struct batch *b, uint64_t view,
                              uint64_t seqno, uint32_t count)
{
    struct error e;
    struct buffer body = {0};
    *b = (struct batch){0};
    int result = merkle_tree_create(&b->tree, &e);
    assert(result == 0);
    (void)result;
    b->pp = (struct ledger_pp){.view = view,
                               .seqno = seqno,
                               .kind = LEDGER_KIND_NORMAL,
                               .first_index = 1000 * seqno,
                               .count = count,
                               .evidence_bits = seqno > 2 ? 7 : 0};
    number_hash(3, seqno, b->pp.ledger_root);
    number_hash(4, seqno, b->pp.kv_digest);
    number_hash(5, seqno, b->pp.previous);
    for (uint32_t i = 0; i < count; i++) {
        struct ledger_request request = service_request(s, 0, i + 1, "arguments");
        body.len = 0;
        service_body(s, 0, &request, &body);
        batch_tx_add(b, slice_of_buffer(&body), b->pp.first_index + i);
    }
    buffer_free(&body);
    struct merkle_hash root = merkle_tree_root(b->tree);
    memcpy(b->pp.batch_root, root.bytes, HASH_LEN);
    batch_sign(s, b);
}

static inline void batch_free(struct batch *b)
{
    for (unsigned i = 0; i < BATCH_TXS; i++)
        buffer_free(&b->txs[i]);
    merkle_tree_destroy(b->tree);
}

/* The first Q replicas that a set may consist of, the primary among them. */
static inline uint64_t batch_bits(const struct service *s, const struct batch *b)
{
    const struct ledger_configuration *c = &s->genesis.configuration;
    uint64_t bits = UINT64_C(1) << ledger_primary(c, b->pp.view);
    for (unsigned i = 0; (unsigned)__builtin_popcountll(bits) < ledger_quorum(c); i++)
        bits |= UINT64_C(1) << i;
    return bits;
}

/* Signatures and nonces of the replicas in bits, ascending; with or without the primary's
 * signature. */
static inline void batch_votes(const struct service *s, const struct batch *b, uint64_t bits,
                               bool primary_too, struct buffer *signatures, struct buffer *nonces)
{
    unsigned primary = ledger_primary(&s->genesis.configuration, b->pp.view);
    bool done = true;
    signatures->len = nonces->len = 0;
    for (unsigned i = 0; i < b->replicas; i++) {
        if (!(bits >> i & 1))
            continue;
        if (i != primary || primary_too)
            done &=
                buffer_append(signatures, i == primary ? b->pp.signature : b->prepares[i].signature,
                              ED25519_SIGNATURE_LEN);
        done &= buffer_append(nonces, b->nonces[i], LEDGER_NONCE_LEN);
    }
    assert(done);
    (void)done;
}

/* Appends the receipt of transaction `position` (or of the batch when it is UINT32_MAX). */
static inline void batch_receipt(const struct service *s, const struct batch *b, uint32_t position,
                                 uint64_t bits, struct buffer *out)
{
    struct buffer signatures = {0}, nonces = {0};
    struct merkle_hash path[MERKLE_LEVELS];
    struct error e;
    batch_votes(s, b, bits, true, &signatures, &nonces);
    struct ledger_receipt receipt = {.pp = b->pp,
                                     .bits = bits,
                                     .signer_count = (uint32_t)__builtin_popcountll(bits),
                                     .signatures = signatures.data,
                                     .nonces = nonces.data};
    if (position != UINT32_MAX) {
        int len = merkle_tree_path(b->tree, position, b->pp.count, path, &e);
        assert(len >= 0);
        receipt.of_transaction = true;
        receipt.tx_bytes = slice_of_buffer(&b->txs[position]);
        receipt.position = position;
        receipt.path_len = (uint32_t)len;
        receipt.path = path;
    }
    bool done = ledger_receipt_encode(&receipt, out);
    assert(done);
    (void)done;
    buffer_free(&signatures);
    buffer_free(&nonces);
}

/* Appends the evidence for the batch. */
static inline void batch_evidence(const struct service *s, const struct batch *b, uint64_t bits,
                                  struct buffer *out)
{
    struct buffer signatures = {0}, nonces = {0};
    batch_votes(s, b, bits, false, &signatures, &nonces);
    struct ledger_evidence evidence = {.view = b->pp.view,
                                       .seqno = b->pp.seqno,
                                       .bits = bits,
                                       .prepare_count = (uint32_t)__builtin_popcountll(bits) - 1,
                                       .nonce_count = (uint32_t)__builtin_popcountll(bits),
                                       .signatures = signatures.data,
                                       .nonces = nonces.data};
    bool done = ledger_evidence_encode(&evidence, out);
    assert(done);
    (void)done;
    buffer_free(&signatures);
    buffer_free(&nonces);
}

/* The certificate of the batch by the backups among bits; its votes go into `votes`. */
static inline struct ledger_certificate batch_certificate(const struct service *s,
                                                          const struct batch *b, uint64_t bits,
                                                          struct buffer *votes)
{
    unsigned primary = ledger_primary(&s->genesis.configuration, b->pp.view);
    struct ledger_certificate c = {.pp = b->pp, .bits = bits & ~(UINT64_C(1) << primary)};
    bool done = true;
    votes->len = 0;
    for (unsigned i = 0; i < b->replicas; i++) {
        if (!(c.bits >> i & 1))
            continue;
        done &= buffer_append(votes, b->prepares[i].nonce_commit, HASH_LEN) &&
                buffer_append(votes, b->prepares[i].signature, ED25519_SIGNATURE_LEN);
        c.vote_count++;
    }
    assert(done);
    (void)done;
    c.votes = votes->data;
    return c;
}

/* ---- view changes ---- */

/* A new view that plans `plan` batches after a base of 5; signed by its primary. */
static inline struct ledger_new_view service_new_view(const struct service *s, unsigned plan)
{
    struct ledger_new_view nv = {
        .view = 2, .base_seqno = 5, .tip_view = 1, .tip_seqno = 5 + plan, .plan_count = plan};
    for (unsigned i = 0; i < plan; i++) {
        nv.plan[i] = (struct ledger_plan){
            .seqno = 6 + i, .kind = LEDGER_KIND_NORMAL, .first_index = 10 * i, .count = 10};
        number_hash(8, i, nv.plan[i].batch_root);
    }
    number_hash(9, 1, nv.ledger_root);
    number_hash(9, 2, nv.vcset_hash);
    uint8_t hash[HASH_LEN];
    ledger_new_view_hash(&nv, hash);
    secret_sign(s->replicas[ledger_primary(&s->genesis.configuration, nv.view)], hash, HASH_LEN,
                nv.signature);
    return nv;
}

/* Appends a signed view change with a certificate for each of the batches, and a new view or not.
 */
static inline void service_view_change(const struct service *s, uint16_t replica,
                                       const struct batch *batches, uint32_t count,
                                       bool has_new_view, struct buffer *out)
{
    static struct buffer votes[LEDGER_PIPELINE_MAX];
    static struct ledger_view_change vc;
    vc = (struct ledger_view_change){.new_view = 3,
                                     .replica = replica,
                                     .certificate_count = count,
                                     .has_new_view = has_new_view,
                                     .stable = {.seqno = 1}};
    for (uint32_t i = 0; i < count; i++)
        vc.certificates[i] =
            batch_certificate(s, &batches[i], batch_bits(s, &batches[i]), &votes[i]);
    if (has_new_view)
        vc.nv = service_new_view(s, 2);
    uint8_t hash[HASH_LEN];
    bool done = ledger_view_change_hash(&vc, hash);
    secret_sign(s->replicas[replica], hash, HASH_LEN, vc.signature);
    done = done && ledger_view_change_encode_signed(&vc, out);
    assert(done);
    (void)done;
    for (uint32_t i = 0; i < count; i++)
        buffer_free(&votes[i]);
}

#endif
