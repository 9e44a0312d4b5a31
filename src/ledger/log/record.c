/* Making and recognising records (record.h). */
#include "ledger/log/record.h"

#include "store/checksum.h"

#define CRC_AT 16

static uint32_t record_crc(uint64_t salt, const uint8_t *record, size_t len)
{
    uint32_t crc = checksum_crc32c(0, &salt, sizeof salt);
    crc = checksum_crc32c(crc, record, CRC_AT);
    return checksum_crc32c(crc, record + LOG_RECORD_HEAD, len);
}

bool log_record_append(struct buffer *b, uint64_t salt, uint16_t kind, uint16_t entry_type,
                       uint64_t position, const struct slice *parts, unsigned count)
{
    size_t len = 0, start = b->len;
    for (unsigned i = 0; i < count; i++)
        len += parts[i].len;
    size_t size = (size_t)log_record_size(len);
    if (!buffer_reserve(b, size))
        return false;
    uint8_t *at = b->data + start;
    memset(at + size - 8, 0, 8);
    store_u32(at, (uint32_t)len);
    memcpy(at + 4, &kind, sizeof kind);
    memcpy(at + 6, &entry_type, sizeof entry_type);
    store_u64(at + 8, position);
    uint8_t *to = at + LOG_RECORD_HEAD;
    for (unsigned i = 0; i < count; i++) {
        if (parts[i].len > 0)
            memcpy(to, parts[i].data, parts[i].len);
        to += parts[i].len;
    }
    store_u32(at + CRC_AT, record_crc(salt, at, len));
    b->len += size;
    return true;
}

static bool kind_known(uint16_t kind)
{
    return (kind >= LEDGER_RECORD_ENTRY && kind <= LEDGER_RECORD_NEW_VIEW) ||
           kind == LOG_RECORD_CLOSE;
}

bool log_record_read(const uint8_t *bytes, uint64_t len, uint64_t salt, struct log_record *out)
{
    if (len < LOG_RECORD_HEAD)
        return false;
    *out = (struct log_record){.len = load_u32(bytes),
                               .kind = load_u16(bytes + 4),
                               .entry_type = load_u16(bytes + 6),
                               .position = load_u64(bytes + 8),
                               .payload = bytes + LOG_RECORD_HEAD};
    return kind_known(out->kind) && out->len <= LOG_PAYLOAD_MAX &&
           out->len <= len - LOG_RECORD_HEAD &&
           load_u32(bytes + CRC_AT) == record_crc(salt, bytes, out->len);
}

bool log_record_search(const uint8_t *bytes, uint64_t len, uint64_t from, uint64_t salt,
                       uint64_t *position)
{
    struct log_record r;
    bool found = false;
    for (uint64_t at = from; at + LOG_RECORD_HEAD <= len; at += 8) {
        if (!kind_known(load_u16(bytes + at + 4)) ||
            !log_record_read(bytes + at, len - at, salt, &r))
            continue;
        if (!position)
            return true;
        if (!found || r.position > *position)
            *position = r.position;
        found = true;
    }
    return found;
}
