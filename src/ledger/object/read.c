/* Bounds-checked reading; see read.h. */
#include "ledger/object/read.h"

void ledger_read_fail(struct ledger_reader *r, int code, const char *wrong)
{
    if (r->code == 0) {
        r->code = -code;
        r->wrong = wrong;
    }
}

const uint8_t *ledger_read_raw(struct ledger_reader *r, size_t len)
{
    if (r->code == 0 && len > (size_t)(r->end - r->at))
        ledger_read_fail(r, ATOLL_ECORRUPT, "it is cut off");
    if (r->code < 0)
        return NULL;
    const uint8_t *at = r->at;
    r->at += len;
    return at;
}

uint8_t ledger_read_u8(struct ledger_reader *r)
{
    const uint8_t *at = ledger_read_raw(r, 1);
    return at ? *at : 0;
}

uint16_t ledger_read_u16(struct ledger_reader *r)
{
    const uint8_t *at = ledger_read_raw(r, 2);
    return at ? load_u16(at) : 0;
}

uint32_t ledger_read_u32(struct ledger_reader *r)
{
    const uint8_t *at = ledger_read_raw(r, 4);
    return at ? load_u32(at) : 0;
}

uint64_t ledger_read_u64(struct ledger_reader *r)
{
    const uint8_t *at = ledger_read_raw(r, 8);
    return at ? load_u64(at) : 0;
}

void ledger_read_copy(struct ledger_reader *r, void *to, size_t len)
{
    const uint8_t *at = ledger_read_raw(r, len);
    if (at)
        memcpy(to, at, len);
    else
        memset(to, 0, len);
}

struct slice ledger_read_bytes(struct ledger_reader *r, size_t max, const char *too_long)
{
    uint32_t len = ledger_read_u32(r);
    if (r->code == 0 && len > max)
        ledger_read_fail(r, ATOLL_ELIMIT, too_long);
    const uint8_t *at = ledger_read_raw(r, len);
    return at ? (struct slice){at, len} : (struct slice){NULL, 0};
}

uint32_t ledger_read_count(struct ledger_reader *r, uint32_t max, size_t item_len,
                           const char *too_many)
{
    uint32_t count = ledger_read_u32(r);
    if (r->code == 0 && count > max)
        ledger_read_fail(r, ATOLL_ELIMIT, too_many);
    if (r->code == 0 && count * item_len > (size_t)(r->end - r->at))
        ledger_read_fail(r, ATOLL_ECORRUPT, "a list has more items than bytes");
    return r->code < 0 ? 0 : count;
}

int ledger_read_end(struct ledger_reader *r, struct error *e)
{
    if (r->code == 0 && r->at != r->end)
        ledger_read_fail(r, ATOLL_ECORRUPT, "bytes follow its end");
    if (r->code == 0)
        return 0;
    return error_set_at(e, -r->code, (uint64_t)(r->at - r->start), UINT32_MAX,
                        "the %s cannot be read: %s (near byte %llu)", r->what, r->wrong,
                        (unsigned long long)(r->at - r->start));
}
