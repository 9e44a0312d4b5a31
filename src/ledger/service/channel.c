/* See channel.h. The handshake's bytes are hashed as they pass; keys exist only once it is done. */
#include "ledger/service/channel.h"

#include "crypto/aead.h"
#include "crypto/ed25519.h"
#include "crypto/kdf.h"
#include "crypto/key_exchange.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC      "ATOLLNK1"
#define FIRST_LEN  (8u + HASH_LEN + 2u + KEY_EXCHANGE_LEN)
#define SECOND_LEN (2u + KEY_EXCHANGE_LEN + ED25519_SIGNATURE_LEN)
#define HEAD_LEN   4u
#define NOBODY     (UINT16_MAX - 1)

/* Domain tags of 16 bytes, as those of ledger/object/tag.h. */
static const char tag_responder[16] = "atoll.link.r.v1";
static const char tag_initiator[16] = "atoll.link.i.v1";

enum channel_step {
    CHANNEL_WAITS_FIRST,  /* the responder */
    CHANNEL_WAITS_SECOND, /* the initiator */
    CHANNEL_WAITS_THIRD,  /* the responder, of a replica */
    CHANNEL_READY,
    CHANNEL_BROKEN,
};

struct channel {
    const struct channel_identity *own;
    enum channel_step step;
    uint16_t peer;
    struct key_exchange exchange;
    uint8_t first[FIRST_LEN], second[SECOND_LEN];
    struct aead *sealing, *opening;
    uint64_t sealed, opened; /* messages so far */
    struct buffer incoming, outgoing;
    size_t incoming_start; /* what lies before was taken */
};

/* ---- signatures of the handshake ---- */

static void responder_hash(const struct channel *c, uint8_t out[static HASH_LEN])
{
    struct hash_part parts[] = {{tag_responder, sizeof tag_responder},
                                {c->first, sizeof c->first},
                                {c->second, SECOND_LEN - ED25519_SIGNATURE_LEN}};
    hash_sha256_parts(parts, 3, out);
}

static void initiator_hash(const struct channel *c, uint8_t out[static HASH_LEN])
{
    struct hash_part parts[] = {{tag_initiator, sizeof tag_initiator},
                                {c->first, sizeof c->first},
                                {c->second, sizeof c->second}};
    hash_sha256_parts(parts, 3, out);
}

static int signature_check(const struct channel *c, uint16_t replica,
                           const uint8_t hash[static HASH_LEN], const uint8_t *signature,
                           struct error *e)
{
    const struct ledger_configuration *known = c->own->configuration;
    if (replica < known->replica_count &&
        ed25519_verify(known->replicas[replica].public_key, hash, HASH_LEN, signature))
        return 0;
    return error_set(e, ATOLL_ESIGNATURE, "the other end is not replica %u as it says", replica);
}

/* ---- life ---- */

static struct channel *channel_create(const struct channel_identity *own, uint16_t peer,
                                      enum channel_step step, struct error *e)
{
    struct channel *c = calloc(1, sizeof *c);
    if (c == NULL) {
        error_set(e, ATOLL_ENOMEM, "no memory for a connection");
        return NULL;
    }
    c->own = own;
    c->peer = peer;
    c->step = step;
    if (key_exchange_begin(&c->exchange, e) == 0)
        return c;
    free(c);
    return NULL;
}

int channel_connect(const struct channel_identity *own, uint16_t peer, struct channel **out,
                    struct error *e)
{
    struct channel *c = channel_create(own, peer, CHANNEL_WAITS_SECOND, e);
    *out = c;
    if (c == NULL)
        return e->code;
    memcpy(c->first, MAGIC, 8);
    memcpy(c->first + 8, own->genesis, HASH_LEN);
    memcpy(c->first + 8 + HASH_LEN, &own->role, 2);
    memcpy(c->first + 10 + HASH_LEN, c->exchange.public_key, KEY_EXCHANGE_LEN);
    if (buffer_append(&c->outgoing, c->first, sizeof c->first))
        return 0;
    channel_destroy(c);
    *out = NULL;
    return error_set(e, ATOLL_ENOMEM, "no memory for a connection");
}

int channel_accept(const struct channel_identity *own, struct channel **out, struct error *e)
{
    *out = channel_create(own, NOBODY, CHANNEL_WAITS_FIRST, e);
    return *out ? 0 : e->code;
}

void channel_destroy(struct channel *c)
{
    if (c == NULL)
        return;
    key_exchange_erase(&c->exchange);
    aead_destroy(c->sealing);
    aead_destroy(c->opening);
    buffer_free(&c->incoming);
    buffer_free(&c->outgoing);
    free(c);
}

uint16_t channel_peer(const struct channel *c)
{
    return c->peer;
}

bool channel_ready(const struct channel *c)
{
    return c->step == CHANNEL_READY;
}

/* ---- handshake ---- */

/* Both keys from the shared secret and everything that was said and signed. */
static int keys_make(struct channel *c, bool initiator, struct error *e)
{
    uint8_t shared[KEY_EXCHANGE_LEN], said[HASH_LEN], keys[2 * AEAD_KEY_LEN];
    const uint8_t *theirs = initiator ? c->second + 2 : c->first + 10 + HASH_LEN;
    int rc = key_exchange_secret(&c->exchange, theirs, shared, e);
    if (rc != 0)
        return rc;
    initiator_hash(c, said);
    hkdf_sha256(shared, sizeof shared, said, sizeof said, "atoll ledger channel", keys,
                sizeof keys);
    rc = aead_create(AEAD_AES_256_GCM, keys + (initiator ? 0 : AEAD_KEY_LEN), &c->sealing, e);
    if (rc == 0)
        rc = aead_create(AEAD_AES_256_GCM, keys + (initiator ? AEAD_KEY_LEN : 0), &c->opening, e);
    explicit_bzero(shared, sizeof shared);
    explicit_bzero(keys, sizeof keys);
    key_exchange_erase(&c->exchange);
    return rc;
}

static int first_take(struct channel *c, struct error *e)
{
    uint8_t hash[HASH_LEN];
    if (memcmp(c->first, MAGIC, 8) != 0)
        return error_set(e, ATOLL_ECORRUPT, "the other end does not speak the ledger's protocol");
    if (memcmp(c->first + 8, c->own->genesis, HASH_LEN) != 0)
        return error_set(e, ATOLL_EINVAL, "the other end belongs to another ledger");
    uint16_t role = load_u16(c->first + 8 + HASH_LEN);
    if (role != CHANNEL_CLIENT &&
        (role >= c->own->configuration->replica_count || role == c->own->role))
        return error_set(e, ATOLL_ESIGNATURE, "there is no replica %u to connect from", role);
    memcpy(c->second, &c->own->role, 2);
    memcpy(c->second + 2, c->exchange.public_key, KEY_EXCHANGE_LEN);
    responder_hash(c, hash);
    secret_sign(c->own->secret, hash, sizeof hash, c->second + 2 + KEY_EXCHANGE_LEN);
    if (!buffer_append(&c->outgoing, c->second, sizeof c->second))
        return error_set(e, ATOLL_ENOMEM, "no memory for a connection");
    c->peer = role;
    c->step = role == CHANNEL_CLIENT ? CHANNEL_READY : CHANNEL_WAITS_THIRD;
    return keys_make(c, false, e);
}

static int second_take(struct channel *c, struct error *e)
{
    uint8_t hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN];
    if (load_u16(c->second) != c->peer)
        return error_set(e, ATOLL_ESIGNATURE, "replica %u answers where replica %u was expected",
                         load_u16(c->second), c->peer);
    responder_hash(c, hash);
    int rc = signature_check(c, c->peer, hash, c->second + 2 + KEY_EXCHANGE_LEN, e);
    if (rc == 0)
        rc = keys_make(c, true, e);
    if (rc != 0)
        return rc;
    if (c->own->role != CHANNEL_CLIENT) {
        initiator_hash(c, hash);
        secret_sign(c->own->secret, hash, sizeof hash, signature);
        if (!buffer_append(&c->outgoing, signature, sizeof signature))
            return error_set(e, ATOLL_ENOMEM, "no memory for a connection");
    }
    c->step = CHANNEL_READY;
    return 0;
}

static int third_take(struct channel *c, const uint8_t *signature, struct error *e)
{
    uint8_t hash[HASH_LEN];
    initiator_hash(c, hash);
    int rc = signature_check(c, c->peer, hash, signature, e);
    if (rc == 0)
        c->step = CHANNEL_READY;
    return rc;
}

/* ---- messages ---- */

/* Takes one step's or message's bytes from the incoming ones: 1 done, 0 more are needed, or an
 * error. */
static int channel_step(struct channel *c, channel_message message, void *context, struct error *e)
{
    uint8_t *at = c->incoming.data + c->incoming_start;
    size_t have = c->incoming.len - c->incoming_start;
    size_t need = c->step == CHANNEL_WAITS_FIRST    ? FIRST_LEN
                  : c->step == CHANNEL_WAITS_SECOND ? SECOND_LEN
                  : c->step == CHANNEL_WAITS_THIRD  ? ED25519_SIGNATURE_LEN
                                                    : HEAD_LEN;
    if (have < need)
        return 0;
    int rc = 0;
    if (c->step == CHANNEL_WAITS_FIRST) {
        memcpy(c->first, at, need);
        rc = first_take(c, e);
    } else if (c->step == CHANNEL_WAITS_SECOND) {
        memcpy(c->second, at, need);
        rc = second_take(c, e);
    } else if (c->step == CHANNEL_WAITS_THIRD) {
        rc = third_take(c, at, e);
    } else {
        uint32_t len = load_u32(at);
        uint8_t nonce[AEAD_NONCE_LEN];
        if (len > LEDGER_MESSAGE_MAX)
            return error_set(e, ATOLL_ELIMIT, "a message of %u bytes is announced", len);
        need = HEAD_LEN + len + AEAD_TAG_LEN;
        if (have < need)
            return 0;
        aead_nonce(c->opened++, nonce);
        rc = aead_open(c->opening, nonce, at, HEAD_LEN, at + HEAD_LEN, len + AEAD_TAG_LEN,
                       at + HEAD_LEN, e);
        if (rc != 0)
            return error_set(e, ATOLL_ESIGNATURE, "a message was damaged or forged on its way");
        c->incoming_start += need;
        message(context, slice_of(at + HEAD_LEN, len));
        return 1;
    }
    c->incoming_start += need;
    return rc != 0 ? rc : 1;
}

/* Takes the first bytes away. Whoever sent or got one large message does not keep the room. */
static void front_drop(const struct channel *c, struct buffer *b, size_t len)
{
    memmove(b->data, b->data + len, b->len - len);
    b->len -= len;
    if (b->len == 0 &&
        b->capacity > (c->peer == CHANNEL_CLIENT ? CHANNEL_SPARE : CHANNEL_SPARE_REPLICA))
        buffer_free(b);
}

int channel_receive(struct channel *c, const void *data, size_t len, channel_message message,
                    void *context, struct error *e)
{
    if (c->step == CHANNEL_BROKEN)
        return error_set(e, ATOLL_ESIGNATURE, "the connection has ended");
    if (!buffer_append(&c->incoming, data, len))
        return error_set(e, ATOLL_ENOMEM, "no memory for what arrives");
    int rc;
    do
        rc = channel_step(c, message, context, e);
    while (rc == 1);
    if (rc < 0) {
        c->step = CHANNEL_BROKEN;
        return rc;
    }
    if (c->incoming_start == 0)
        return 0;
    front_drop(c, &c->incoming, c->incoming_start);
    c->incoming_start = 0;
    return 0;
}

int channel_send(struct channel *c, const struct slice *parts, unsigned count, struct error *e)
{
    size_t len = 0;
    uint8_t nonce[AEAD_NONCE_LEN];
    if (c->step != CHANNEL_READY)
        return error_set(e, ATOLL_EAGAIN, "the connection is not ready");
    for (unsigned i = 0; i < count; i++)
        len += parts[i].len;
    if (len > LEDGER_MESSAGE_MAX)
        return error_set(e, ATOLL_ESIZE, "a message of %zu bytes is too long", len);
    if (!buffer_reserve(&c->outgoing, HEAD_LEN + len + AEAD_TAG_LEN))
        return error_set(e, ATOLL_ENOMEM, "no memory for what is sent");
    uint8_t *head = c->outgoing.data + c->outgoing.len;
    buffer_append_u32(&c->outgoing, (uint32_t)len);
    for (unsigned i = 0; i < count; i++)
        buffer_append(&c->outgoing, parts[i].len ? parts[i].data : (const uint8_t *)"",
                      parts[i].len);
    buffer_append(&c->outgoing, NULL, AEAD_TAG_LEN);
    aead_nonce(c->sealed++, nonce);
    aead_seal(c->sealing, nonce, head, HEAD_LEN, head + HEAD_LEN, len, head + HEAD_LEN);
    return 0;
}

const struct buffer *channel_outgoing(const struct channel *c)
{
    return &c->outgoing;
}

size_t channel_held(const struct channel *c)
{
    return c->incoming.capacity + c->outgoing.capacity;
}

void channel_sent(struct channel *c, size_t len)
{
    front_drop(c, &c->outgoing, len);
}
