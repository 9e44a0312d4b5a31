/* Configurations; format in configuration.h. */
#include "ledger/object/configuration.h"

#include "ledger/object/read.h"
#include "ledger/object/tag.h"
#include "ledger/object/write.h"

#include <assert.h>
#include <stdlib.h>

/* ---- encoding ---- */

static bool bytes_append(struct buffer *out, struct slice data)
{
    return buffer_append_u32(out, (uint32_t)data.len) && buffer_append(out, data.data, data.len);
}

static bool members_append(const struct ledger_configuration *c, struct buffer *out)
{
    bool done = buffer_append_u32(out, c->member_count);
    for (uint32_t i = 0; done && i < c->member_count; i++)
        done = bytes_append(out, c->members[i].name) &&
               buffer_append(out, c->members[i].public_key, ED25519_KEY_LEN);
    return done;
}

static bool replicas_append(const struct ledger_configuration *c, struct buffer *out)
{
    bool done = buffer_append_u32(out, c->replica_count);
    for (uint32_t i = 0; done && i < c->replica_count; i++)
        done = buffer_append(out, c->replicas[i].public_key, ED25519_KEY_LEN) &&
               buffer_append_u32(out, c->replicas[i].member) &&
               bytes_append(out, c->replicas[i].address);
    return done;
}

bool ledger_configuration_encode(const struct ledger_configuration *c, struct buffer *out)
{
    assert(c->member_count <= LEDGER_MEMBERS_MAX && c->replica_count <= LEDGER_REPLICAS_MAX);
    return buffer_append_u32(out, c->number) && buffer_append_u32(out, c->engine_version) &&
           buffer_append_u32(out, c->max_batch) && buffer_append_u32(out, c->checkpoint_interval) &&
           buffer_append_u64(out, c->view_timeout_us) && members_append(c, out) &&
           replicas_append(c, out) && buffer_append_u32(out, c->client_count) &&
           buffer_append(out, c->clients, (size_t)c->client_count * ED25519_KEY_LEN);
}

/* ---- decoding ---- */

/* A name that people read: printable ASCII, at least one character. */
static struct slice name_read(struct ledger_reader *r, size_t max)
{
    struct slice name = ledger_read_bytes(r, max, "a name or address in it is too long");
    if (name.len == 0)
        ledger_read_fail(r, ATOLL_EINVAL, "a name or address in it is empty");
    for (size_t i = 0; i < name.len; i++)
        if (name.data[i] < 0x20 || name.data[i] > 0x7e)
            ledger_read_fail(r, ATOLL_EINVAL, "a name or address in it is not printable ASCII");
    return name;
}

static const uint8_t *key_read(struct ledger_reader *r)
{
    const uint8_t *key = ledger_read_raw(r, ED25519_KEY_LEN);
    struct error e;
    if (key && ed25519_key_check(key, &e) < 0)
        ledger_read_fail(r, ATOLL_EINVAL,
                         "a member's or replica's key in it is not a canonical key of prime order");
    return key;
}

static void members_read(struct ledger_reader *r, struct ledger_configuration *c)
{
    c->member_count =
        ledger_read_count(r, LEDGER_MEMBERS_MAX, 4 + ED25519_KEY_LEN, "it has too many members");
    if (c->member_count == 0)
        ledger_read_fail(r, ATOLL_EINVAL, "it has no members");
    for (uint32_t i = 0; i < c->member_count; i++) {
        c->members[i].name = name_read(r, LEDGER_NAME_MAX);
        c->members[i].public_key = key_read(r);
    }
}

static void replicas_read(struct ledger_reader *r, struct ledger_configuration *c)
{
    c->replica_count = ledger_read_count(r, LEDGER_REPLICAS_MAX, ED25519_KEY_LEN + 4 + 4,
                                         "it has too many replicas");
    if (c->replica_count < LEDGER_REPLICAS_MIN)
        ledger_read_fail(r, ATOLL_EINVAL, "it has fewer than four replicas");
    for (uint32_t i = 0; i < c->replica_count; i++) {
        struct ledger_node *node = &c->replicas[i];
        node->public_key = key_read(r);
        node->member = ledger_read_u32(r);
        node->address = name_read(r, LEDGER_ADDRESS_MAX);
        if (node->member >= c->member_count)
            ledger_read_fail(r, ATOLL_EINVAL, "a replica in it belongs to no member");
        for (uint32_t j = 0; r->code == 0 && j < i; j++)
            if (memcmp(c->replicas[j].public_key, node->public_key, ED25519_KEY_LEN) == 0)
                ledger_read_fail(r, ATOLL_EINVAL, "two replicas in it have the same key");
    }
}

static void clients_read(struct ledger_reader *r, struct ledger_configuration *c)
{
    c->client_count =
        ledger_read_count(r, LEDGER_CLIENTS_MAX, ED25519_KEY_LEN, "its access list is too long");
    c->clients = ledger_read_raw(r, (size_t)c->client_count * ED25519_KEY_LEN);
    for (uint32_t i = 1; i < c->client_count; i++) {
        const uint8_t *key = c->clients + (size_t)i * ED25519_KEY_LEN;
        if (memcmp(key - ED25519_KEY_LEN, key, ED25519_KEY_LEN) >= 0)
            ledger_read_fail(r, ATOLL_ECORRUPT, "its access list is not in ascending order");
    }
}

static void limits_check(struct ledger_reader *r, const struct ledger_configuration *c)
{
    if (c->max_batch == 0 || c->max_batch > LEDGER_BATCH_MAX)
        ledger_read_fail(r, ATOLL_EINVAL, "its batches have no transactions or too many");
    if (c->checkpoint_interval == 0 || c->checkpoint_interval > LEDGER_CHECKPOINT_MAX)
        ledger_read_fail(r, ATOLL_EINVAL, "its checkpoint interval is out of range");
    if (c->view_timeout_us == 0 || c->view_timeout_us > LEDGER_VIEW_TIMEOUT_MAX)
        ledger_read_fail(r, ATOLL_EINVAL, "its view timeout is out of range");
}

int ledger_configuration_decode(struct slice bytes, struct ledger_configuration *c, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "configuration");
    c->number = ledger_read_u32(&r);
    c->engine_version = ledger_read_u32(&r);
    c->max_batch = ledger_read_u32(&r);
    c->checkpoint_interval = ledger_read_u32(&r);
    c->view_timeout_us = ledger_read_u64(&r);
    limits_check(&r, c);
    members_read(&r, c);
    replicas_read(&r, c);
    clients_read(&r, c);
    return ledger_read_end(&r, e);
}

void ledger_configuration_hash(struct slice bytes, uint8_t out[static HASH_LEN])
{
    ledger_hash(LEDGER_TAG_CONFIGURATION, bytes.data, bytes.len, out);
}

static int key_compare(const void *a, const void *b)
{
    return memcmp(a, b, ED25519_KEY_LEN);
}

bool ledger_configuration_admits(const struct ledger_configuration *c,
                                 const uint8_t client[static ED25519_KEY_LEN])
{
    return c->client_count == 0 ||
           bsearch(client, c->clients, c->client_count, ED25519_KEY_LEN, key_compare);
}
