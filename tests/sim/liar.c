/*
 * A client who lies: two signatures of one request, requests that can never run (min_index), that
 * are not signed, that another client signed, numbers used twice, bundles with a foreign member,
 * keys of small order, garbage; and who asks for more than others: requests too large to travel
 * with their batch, and so many at a time that they fill pools and batches. Any run may have one;
 * it is no replica and does not count as faulty.
 */
#include "adversary.h"

#include <stdlib.h>

#define LIAR_KEY (SIM_KEY_CLIENTS + SIM_CLIENTS_MAX)

enum lie {
    LIE_OTHER_SIGNATURE, /* the request of before, signed again: two bodies of one request */
    LIE_OTHER_REQUEST,   /* the number of before for another call */
    LIE_NEVER,           /* min_index beyond all */
    LIE_UNSIGNED,
    LIE_FOREIGN_KEY, /* in another client's name */
    LIE_SMALL_KEY,
    LIE_BUNDLE, /* whole, or with a member that was not signed with it */
    LIE_GARBAGE,
    LIE_LARGE, /* true, and only named in the batch that it comes into */
    LIE_CROWD, /* many true ones at a time */
    LIE_FAIR,  /* none: something to build on */
    LIES,
};

#define LARGE_MAX 12288
#define CROWD_MAX 80

static const char *const lie_name[LIES + 1] = {
    [LIE_OTHER_SIGNATURE] = "another signature of the same request",
    [LIE_OTHER_REQUEST] = "another request under the same number",
    [LIE_NEVER] = "a min_index beyond reach",
    [LIE_UNSIGNED] = "a request that is not signed",
    [LIE_FOREIGN_KEY] = "a request in another client's name",
    [LIE_SMALL_KEY] = "a key of small order",
    [LIE_BUNDLE] = "a bundle, with or without a foreign member",
    [LIE_GARBAGE] = "garbage",
    [LIE_LARGE] = "a request that batches only name",
    [LIE_CROWD] = "many requests at a time",
    [LIE_FAIR] = "none: something to build on",
};

const char *const *sim_lie_names(void)
{
    return lie_name;
}

static void request_make(struct sim_adversary *a, struct ledger_request *request, uint64_t reqno,
                         uint8_t *args)
{
    struct sim_random *r = sim_adversary_random(a);

    /* The no-op: what liars do to the bank would blind the judge. */
    sim_random_fill(r, args, 8);
    memset(request, 0, sizeof *request);
    memcpy(request->genesis, a->cluster->genesis.hash, HASH_LEN);
    memcpy(request->client, sim_key(LIAR_KEY)->public_key, sizeof request->client);
    request->reqno = reqno;
    request->proc = PROCEDURE_NO_OP;
    request->args = slice_of(args, sim_random_below(r, 9));
}

static void body_make(struct sim_adversary *a, const struct ledger_request *request, bool again,
                      unsigned signer, struct buffer *body)
{
    struct buffer fields = {0};
    uint8_t hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN];

    if (!ledger_request_encode(request, &fields))
        abort();
    ledger_request_hash(slice_of_buffer(&fields), hash);
    if (again)
        sim_sign_again(&a->cluster->signatures, sim_key(signer), hash, signature);
    else
        sim_sign(&a->cluster->signatures, sim_key(signer), hash, signature);
    if (!ledger_body_encode_alone(slice_of_buffer(&fields), signature, body))
        abort();
    buffer_free(&fields);
}

static void bodies_message(const struct buffer *body, struct buffer *message)
{
    struct ledger_message_writer writer;

    if (!ledger_bodies_begin(&writer, message, LEDGER_MESSAGE_REQUEST) ||
        !ledger_bodies_body(&writer, slice_of_buffer(body)))
        abort();
    ledger_message_end(&writer);
}

/* A bundle of two to nine; in a bad one a member is changed after signing. */
static void bundle_message(struct sim_adversary *a, struct buffer *message)
{
    struct sim_random *r = sim_adversary_random(a);
    struct ledger_request request[9];
    struct buffer bundle = {0};
    uint32_t count = (uint32_t)sim_random_range(r, 2, 9);
    uint8_t args[9][8], hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN];

    for (uint32_t i = 0; i < count; i++)
        request_make(a, &request[i], a->lie_number++, args[i]);
    if (!ledger_bundle_hash_of(request, count, hash))
        abort();
    sim_sign(&a->cluster->signatures, sim_key(LIAR_KEY), hash, signature);
    if (sim_random_chance(r, 500))
        request[sim_random_below(r, count)].reqno += 1000;
    if (!ledger_bundle_encode(request, count, signature, &bundle) ||
        !ledger_bundle_write(message, slice_of_buffer(&bundle)))
        abort();
    buffer_free(&bundle);
}

/* As many as a batch of this service may hold, or a few. */
static void crowd_message(struct sim_adversary *a, struct buffer *message)
{
    struct sim_random *r = sim_adversary_random(a);
    bool large_batches = a->cluster->genesis.configuration.max_batch > SIM_BATCH_USUAL;
    uint64_t count = large_batches ? sim_random_range(r, 20, CROWD_MAX) : sim_random_range(r, 2, 4);
    struct ledger_message_writer writer;
    struct buffer body = {0};

    if (!ledger_bodies_begin(&writer, message, LEDGER_MESSAGE_REQUEST))
        abort();
    while (count--) {
        struct ledger_request request;
        uint8_t args[8];

        body.len = 0;
        request_make(a, &request, ++a->lie_number, args);
        body_make(a, &request, false, LIAR_KEY, &body);
        if (!ledger_bodies_body(&writer, slice_of_buffer(&body)))
            abort();
    }
    ledger_message_end(&writer);
    buffer_free(&body);
}

void sim_lie(struct sim_adversary *a, struct buffer *message)
{
    static uint8_t large[LARGE_MAX]; /* one thread */
    struct sim_random *r = sim_adversary_random(a);
    struct ledger_request request;
    struct buffer body = {0};
    uint8_t args[8], junk[64];
    enum lie lie = (enum lie)sim_random_below(r, LIES);
    unsigned signer = LIAR_KEY;
    uint64_t reqno = a->lie_number;

    if (lie != LIE_OTHER_REQUEST && lie != LIE_OTHER_SIGNATURE)
        reqno = ++a->lie_number;
    message->len = 0;
    sim_covered(&a->cluster->coverage, SIM_SECTION_LIE, lie);
    request_make(a, &request, reqno, args);
    switch (lie) {
    case LIE_BUNDLE: bundle_message(a, message); return;
    case LIE_CROWD: crowd_message(a, message); return;
    case LIE_GARBAGE:
        sim_random_fill(r, junk, sizeof junk);
        junk[0] = (uint8_t)sim_random_range(r, LEDGER_MESSAGE_HELLO, LEDGER_MESSAGE_REFUSAL);
        if (!buffer_append(message, junk, sim_random_range(r, 1, sizeof junk)))
            abort();
        return;
    case LIE_OTHER_SIGNATURE:
        request = a->told;
        request.args = slice_of(a->told_args, a->told.args.len);
        break;
    case LIE_LARGE:
        memcpy(large, args, sizeof args);
        request.args = slice_of(large, sim_random_range(r, LEDGER_INLINE_MAX, LARGE_MAX));
        break;
    case LIE_NEVER: request.min_index = UINT64_MAX - sim_random_below(r, 2); break;
    case LIE_UNSIGNED: signer = LIAR_KEY + 1; break;
    case LIE_FOREIGN_KEY:
        memcpy(request.client, sim_key(SIM_KEY_CLIENTS)->public_key, sizeof request.client);
        break;
    case LIE_SMALL_KEY: memset(request.client, 0, sizeof request.client); break;
    default: break;
    }
    body_make(a, &request, lie == LIE_OTHER_SIGNATURE, signer, &body);
    bodies_message(&body, message);
    buffer_free(&body);
    if (lie == LIE_FAIR) {
        a->told = request;
        memcpy(a->told_args, args, sizeof args);
    }
}
