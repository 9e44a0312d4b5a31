/* Numbers of the checkpoint's formats (checkpoint.h draws them), for those who write and read them.
 */
#ifndef LEDGER_KV_MANIFEST_H
#define LEDGER_KV_MANIFEST_H

#include "ledger/kv/trie.h"

#define KV_MANIFEST_VERSION 1u
#define KV_MANIFEST_HEAD    36 /* bytes before the cut */
#define KV_CHUNK_HEAD       4

enum kv_cut { KV_CUT_EMPTY = 0, KV_CUT_CHUNK = 1, KV_CUT_CHILDREN = 2 };

#define KV_FILE_MAGIC "ATLCKPT1"
/* magic, genesis, s, digest, meta_len, manifest_len */
#define KV_FILE_HEAD (8 + HASH_LEN + 8 + HASH_LEN + 4 + 4)

#endif
