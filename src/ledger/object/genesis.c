/* The genesis; format in genesis.h. */
#include "ledger/object/genesis.h"

#include "ledger/object/read.h"
#include "ledger/object/tag.h"
#include "ledger/object/write.h"

#include <assert.h>

#define SUITE_ED25519_SHA256 1

bool ledger_genesis_encode(const struct ledger_genesis *g, struct buffer *out)
{
    assert(g->name.len <= LEDGER_NAME_MAX && g->state.len <= LEDGER_STATE_MAX);
    uint8_t *at = buffer_extend(out, 4 + 4 + g->name.len + 32 + 4 + 4 + 16 + 4 + 4 + g->state.len);
    if (!at)
        return false;
    at = put_u32(at, SUITE_ED25519_SHA256);
    at = put_bytes(at, g->name);
    at = put_raw(at, g->nonce, sizeof g->nonce);
    at = put_u32(at, g->pipeline);
    at = put_u32(at, g->bucket_bits);
    at = put_raw(at, g->bucket_key, sizeof g->bucket_key);
    at = put_u32(at, g->procedures);
    put_bytes(at, g->state);
    size_t len_at = out->len;
    if (!buffer_append_u32(out, 0) || !ledger_configuration_encode(&g->configuration, out))
        return false;
    store_u32(out->data + len_at, (uint32_t)(out->len - len_at - 4));
    return true;
}

static void genesis_read(struct ledger_reader *r, struct ledger_genesis *g)
{
    if (ledger_read_u32(r) != SUITE_ED25519_SHA256)
        ledger_read_fail(r, ATOLL_EUNSUPPORTED, "its suite of cryptography is unknown");
    g->name = ledger_read_bytes(r, LEDGER_NAME_MAX, "its name is too long");
    for (size_t i = 0; i < g->name.len; i++)
        if (g->name.data[i] < 0x20 || g->name.data[i] > 0x7e)
            ledger_read_fail(r, ATOLL_EINVAL, "its name is not printable ASCII");
    ledger_read_copy(r, g->nonce, sizeof g->nonce);
    g->pipeline = ledger_read_u32(r);
    g->bucket_bits = ledger_read_u32(r);
    ledger_read_copy(r, g->bucket_key, sizeof g->bucket_key);
    g->procedures = ledger_read_u32(r);
    g->state = ledger_read_bytes(r, LEDGER_STATE_MAX, "its initial state takes too many bytes");
    g->configuration_bytes =
        ledger_read_bytes(r, LEDGER_MESSAGE_MAX, "its configuration takes too many bytes");
    if (g->pipeline == 0 || g->pipeline > LEDGER_PIPELINE_MAX)
        ledger_read_fail(r, ATOLL_EINVAL, "its pipeline is empty or too deep");
    if (g->bucket_bits > LEDGER_BUCKET_BITS_MAX)
        ledger_read_fail(r, ATOLL_EINVAL, "its store has too many buckets");
}

int ledger_genesis_decode(struct slice bytes, struct ledger_genesis *g, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "genesis");
    genesis_read(&r, g);
    int result = ledger_read_end(&r, e);
    if (result == 0)
        result = ledger_configuration_decode(g->configuration_bytes, &g->configuration, e);
    if (result < 0)
        return error_prefix(e, "not a usable genesis");
    if (g->configuration.number != 0)
        return error_set(e, ATOLL_EINVAL, "the genesis brings configuration %u instead of 0",
                         g->configuration.number);
    if (g->configuration.checkpoint_interval < 2 * g->pipeline)
        return error_set(e, ATOLL_EINVAL,
                         "the genesis asks for a checkpoint every %u batches: with a pipeline of "
                         "%u it must be %u or more",
                         g->configuration.checkpoint_interval, g->pipeline, 2 * g->pipeline);
    ledger_hash(LEDGER_TAG_GENESIS, bytes.data, bytes.len, g->hash);
    return 0;
}
