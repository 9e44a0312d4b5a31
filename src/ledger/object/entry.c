/* Ledger entries and two records of the log; formats in entry.h. */
#include "ledger/object/entry.h"

#include "ledger/object/genesis.h"
#include "ledger/object/read.h"
#include "ledger/object/tag.h"
#include "ledger/object/write.h"

#include <assert.h>

static const struct {
    const char *name;
    enum ledger_tag tag;
} types[] = {
    [LEDGER_ENTRY_GENESIS] = {"genesis", LEDGER_TAG_GENESIS},
    [LEDGER_ENTRY_EVIDENCE] = {"evidence", LEDGER_TAG_ENTRY_EVIDENCE},
    [LEDGER_ENTRY_PP] = {"pp", LEDGER_TAG_ENTRY_PP},
    [LEDGER_ENTRY_TX] = {"tx", LEDGER_TAG_TX},
    [LEDGER_ENTRY_VCSET] = {"vcset", LEDGER_TAG_ENTRY_VCSET},
    [LEDGER_ENTRY_NEW_VIEW] = {"new_view", LEDGER_TAG_ENTRY_NEW_VIEW},
};

static bool type_known(unsigned type)
{
    return type < sizeof types / sizeof types[0] && types[type].name;
}

const char *ledger_entry_name(enum ledger_entry_type type)
{
    return type_known(type) ? types[type].name : "unknown";
}

/* The entry hash; type is one of the list (asserted). */
static void entry_hash(enum ledger_entry_type type, struct slice payload,
                       uint8_t out[static HASH_LEN])
{
    assert(type_known(type));
    size_t signature = type == LEDGER_ENTRY_PP || type == LEDGER_ENTRY_NEW_VIEW
                           ? (size_t)ED25519_SIGNATURE_LEN
                           : 0;
    size_t len = payload.len >= signature ? payload.len - signature : 0;
    ledger_hash(types[type].tag, payload.data, len, out);
}

struct merkle_hash ledger_entry_leaf(enum ledger_entry_type type, struct slice payload)
{
    uint8_t hash[HASH_LEN];
    entry_hash(type, payload, hash);
    return merkle_leaf(hash, HASH_LEN);
}

static int tx_check(struct slice payload, struct error *e)
{
    struct ledger_tx tx;
    struct ledger_body body;
    int result = ledger_tx_decode(payload, &tx, e);
    return result < 0 ? result : ledger_body_decode(tx.body, &body, e);
}

static int vcset_check(struct slice payload, struct error *e)
{
    struct ledger_vcset set;
    struct ledger_view_change vc;
    int result = ledger_vcset_decode(payload, &set, e);
    for (uint32_t i = 0; result == 0 && i < set.count; i++)
        result = ledger_view_change_decode_signed(set.view_changes[i], &vc, e);
    return result;
}

int ledger_entry_check(enum ledger_entry_type type, struct slice payload, struct error *e)
{
    union {
        struct ledger_genesis genesis;
        struct ledger_evidence evidence;
        struct ledger_pp pp;
        struct ledger_new_view nv;
    } object;
    switch (type) {
    case LEDGER_ENTRY_GENESIS: return ledger_genesis_decode(payload, &object.genesis, e);
    case LEDGER_ENTRY_EVIDENCE: return ledger_evidence_decode(payload, &object.evidence, e);
    case LEDGER_ENTRY_PP: return ledger_pp_decode_signed(payload, &object.pp, e);
    case LEDGER_ENTRY_TX: return tx_check(payload, e);
    case LEDGER_ENTRY_VCSET: return vcset_check(payload, e);
    case LEDGER_ENTRY_NEW_VIEW: return ledger_new_view_decode_signed(payload, &object.nv, e);
    }
    return error_set(e, ATOLL_ECORRUPT, "a ledger entry has the unknown type %u", (unsigned)type);
}

/* ---- records of the log ---- */

void ledger_signed_encode(const struct ledger_signed *mark, uint8_t out[static LEDGER_SIGNED_LEN])
{
    uint8_t *at = put_u8(out, (uint8_t)mark->what);
    at = put_u32(at, mark->config);
    at = put_u64(at, mark->view);
    at = put_u64(at, mark->seqno);
    at = put_raw(at, mark->hash, HASH_LEN);
    assert(at == out + LEDGER_SIGNED_LEN);
}

int ledger_signed_decode(struct slice bytes, struct ledger_signed *mark, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "mark of a signature");
    unsigned what = ledger_read_u8(&r);
    mark->what = (enum ledger_signed_what)what;
    mark->config = ledger_read_u32(&r);
    mark->view = ledger_read_u64(&r);
    mark->seqno = ledger_read_u64(&r);
    ledger_read_copy(&r, mark->hash, HASH_LEN);
    if (what < LEDGER_SIGNED_PP || what > LEDGER_SIGNED_NEW_VIEW)
        ledger_read_fail(&r, ATOLL_ECORRUPT, "what was signed is unknown");
    return ledger_read_end(&r, e);
}

void ledger_rollback_encode(uint64_t position, uint8_t out[static LEDGER_ROLLBACK_LEN])
{
    put_u64(out, position);
}

int ledger_rollback_decode(struct slice bytes, uint64_t *position, struct error *e)
{
    struct ledger_reader r = ledger_reader_of(bytes, "rollback record");
    *position = ledger_read_u64(&r);
    return ledger_read_end(&r, e);
}
