/* See sealed_file.h. */
#include "ledger/object/sealed_file.h"

#include "ledger/object/write.h"

#define VERSION 1

bool ledger_file_encode(const char magic[static LEDGER_FILE_MAGIC_LEN], struct slice object,
                        const uint8_t genesis[static HASH_LEN], struct buffer *out)
{
    uint8_t *file = buffer_extend(out, LEDGER_FILE_OVERHEAD + object.len);
    if (!file)
        return false;
    uint8_t *at = put_raw(file, magic, LEDGER_FILE_MAGIC_LEN);
    at = put_u32(at, VERSION);
    at = put_raw(at, genesis, HASH_LEN);
    at = put_raw(at, object.data, object.len);
    hash_sha256(file, (size_t)(at - file), at);
    return true;
}

int ledger_file_decode(const char magic[static LEDGER_FILE_MAGIC_LEN], const char *what,
                       struct slice file, struct slice *object, uint8_t genesis[static HASH_LEN],
                       struct error *e)
{
    uint8_t hash[HASH_LEN];
    if (file.len < LEDGER_FILE_OVERHEAD || memcmp(file.data, magic, LEDGER_FILE_MAGIC_LEN) != 0)
        return error_set(e, ATOLL_ECORRUPT, "this is not a %s file", what);
    uint32_t version = load_u32(file.data + LEDGER_FILE_MAGIC_LEN);
    if (version != VERSION)
        return error_set(e, ATOLL_ECORRUPT, "the %s file has version %u; only %u is known", what,
                         version, VERSION);
    size_t hashed = file.len - HASH_LEN;
    hash_sha256(file.data, hashed, hash);
    if (!hash_equal(hash, file.data + hashed))
        return error_set(e, ATOLL_ECORRUPT,
                         "the %s file is damaged or cut off: its checksum is wrong", what);
    memcpy(genesis, file.data + LEDGER_FILE_MAGIC_LEN + 4, HASH_LEN);
    *object = slice_of(file.data + LEDGER_FILE_HEAD_LEN, hashed - LEDGER_FILE_HEAD_LEN);
    return 0;
}
