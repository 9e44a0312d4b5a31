/*
 * Files that people pass on: an object of the ledger, with what it is and of which service, under a
 * checksum. The checksum finds damage, not lies: the object's own signatures do that.
 *
 *   magic 8 | version u32 = 1 | genesis hash 32 | the object | SHA-256 of all before 32
 */
#ifndef LEDGER_SEALED_FILE_H
#define LEDGER_SEALED_FILE_H

#include "base/error.h"
#include "crypto/hash.h"
#include "ledger/object/slice.h"

#define LEDGER_FILE_MAGIC_LEN 8
#define LEDGER_FILE_HEAD_LEN  (LEDGER_FILE_MAGIC_LEN + 4 + HASH_LEN)
#define LEDGER_FILE_OVERHEAD  (LEDGER_FILE_HEAD_LEN + HASH_LEN)

/* Appends the file of an object. False: no memory. */
bool ledger_file_encode(const char magic[static LEDGER_FILE_MAGIC_LEN], struct slice object,
                        const uint8_t genesis[static HASH_LEN], struct buffer *out);
/* The object in a file's bytes, and its service. ATOLL_ECORRUPT: not a file of `what` ("receipt"),
 * of another version, or damaged. */
int ledger_file_decode(const char magic[static LEDGER_FILE_MAGIC_LEN], const char *what,
                       struct slice file, struct slice *object, uint8_t genesis[static HASH_LEN],
                       struct error *);

#endif
