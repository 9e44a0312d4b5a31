/* The tags as they are hashed; see tag.h. */
#include "ledger/object/tag.h"

#include <assert.h>

/* Zero-padded; a tag of 16 characters has no NUL, which is why these are arrays and not strings. */
static const uint8_t tags[LEDGER_TAGS][LEDGER_TAG_LEN] = {
    [LEDGER_TAG_REQUEST] = "atoll.req.v1",
    [LEDGER_TAG_BUNDLE] = "atoll.bundle.v1",
    [LEDGER_TAG_BODY] = "atoll.body.v1",
    [LEDGER_TAG_TX] = "atoll.tx.v1",
    [LEDGER_TAG_PP] = "atoll.pp.v1",
    [LEDGER_TAG_PREPARE] = {'a', 't', 'o', 'l', 'l', '.', 'p', 'r', 'e', 'p', 'a', 'r', 'e', '.',
                            'v', '1'},
    [LEDGER_TAG_NONCE] = "atoll.nonce.v1",
    [LEDGER_TAG_VIEW_CHANGE] = "atoll.vc.v1",
    [LEDGER_TAG_NEW_VIEW] = "atoll.nv.v1",
    [LEDGER_TAG_GENESIS] = {'a', 't', 'o', 'l', 'l', '.', 'g', 'e', 'n', 'e', 's', 'i', 's', '.',
                            'v', '1'},
    [LEDGER_TAG_CONFIGURATION] = "atoll.cfg.v1",
    [LEDGER_TAG_ENTRY_EVIDENCE] = "atoll.ev.v1",
    [LEDGER_TAG_ENTRY_PP] = "atoll.e.pp.v1",
    [LEDGER_TAG_ENTRY_VCSET] = "atoll.vcset.v1",
    [LEDGER_TAG_ENTRY_NEW_VIEW] = "atoll.e.nv.v1",
};

const uint8_t *ledger_tag(enum ledger_tag tag)
{
    assert((unsigned)tag < LEDGER_TAGS);
    return tags[tag];
}

void ledger_hash(enum ledger_tag tag, const void *data, size_t len, uint8_t out[static HASH_LEN])
{
    ledger_hash_two(tag, slice_of(data, len), (struct slice){NULL, 0}, out);
}

void ledger_hash_two(enum ledger_tag tag, struct slice first, struct slice second,
                     uint8_t out[static HASH_LEN])
{
    struct hash_part parts[3] = {
        {ledger_tag(tag), LEDGER_TAG_LEN},
        {first.data, first.len},
        {second.data, second.len},
    };
    hash_sha256_parts(parts, second.len ? 3 : 2, out);
}
