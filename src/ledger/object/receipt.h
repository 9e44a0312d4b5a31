/*
 * Receipts (spec/ledger §9.1): what a client keeps and anyone can check offline, knowing only the
 * genesis. Little-endian; `bytes` is u32 length and data, `list` u32 count and items.
 *
 *   Receipt   pp fields 209 | bits u64 | list of signature 64 | list of nonce 32 | subject u8
 *             | [ TxEntry bytes | position u32 | path list of 32 ]
 *     signatures, nonces   of the replicas in bits, ascending: the primary's signature is that of
 *                          the pp, the others' are those of their Prepares
 *     subject              0: a batch, nothing follows; 1: a transaction
 *     position, path       of the TxEntry's leaf in batch_root
 *
 *   File      magic "atollrcp" | version u32 = 1 | genesis hash 32 | Receipt bytes | SHA-256 32
 *   (.rcpt)   the SHA-256 is over all that stands before it
 *
 * For N = 4 and a batch of 300 a receipt takes 814 bytes and the TxEntry.
 *
 * Checking takes nothing on trust and no memory: ledger_receipt_check judges everything but the
 * signatures and says which those are; ledger_receipt_verify checks them, too; receipt_batch.h does
 * both for many at once. Which rule failed is exact.
 */
#ifndef LEDGER_OBJECT_RECEIPT_H
#define LEDGER_OBJECT_RECEIPT_H

#include "ledger/object/entry.h"
#include "ledger/object/genesis.h"
#include "ledger/object/quorum.h"
#include "ledger/object/sealed_file.h"

/* The rules, in the order in which they are checked. */
enum ledger_rule {
    LEDGER_RULE_HOLDS = 0,     /* none failed */
    LEDGER_RULE_FORMAT,        /* it is a canonical receipt within the limits */
    LEDGER_RULE_CONFIGURATION, /* its configuration is known to the verifier */
    LEDGER_RULE_SUBJECT,       /* a transaction has a NORMAL batch; an EMPTY one the empty tree */
    LEDGER_RULE_POSITION,      /* position < count and index = first_index + position */
    LEDGER_RULE_PATH,          /* TxEntry, position and path lead to batch_root */
    LEDGER_RULE_QUORUM,        /* exactly Q replicas of the configuration, the primary among them */
    LEDGER_RULE_COMMITMENT,    /* the primary's nonce opens the pp's commitment */
    LEDGER_RULE_REQUEST,       /* the request is well formed, of this service, its path leads on */
    LEDGER_RULE_REQUEST_SIGNATURE, /* the client signed it */
    LEDGER_RULE_PRIMARY_SIGNATURE, /* the primary signed the pp */
    LEDGER_RULE_PREPARE_SIGNATURE, /* the backup signed the Prepare that its nonce opens */
    LEDGER_RULE_MIN_INDEX, /* index > min_index; the only rule whose breach blames signers */
    LEDGER_RULES,
};

/* "format", "quorum", …; what the rule asks for, for people, is in the error's text. */
const char *ledger_rule_name(enum ledger_rule);

struct ledger_receipt {
    struct ledger_pp pp; /* without signature */
    uint64_t bits;
    uint32_t signer_count;     /* replicas in bits */
    const uint8_t *signatures; /* of them, ED25519_SIGNATURE_LEN bytes each */
    const uint8_t *nonces;     /* of them, LEDGER_NONCE_LEN bytes each */
    bool of_transaction;
    /* when of_transaction */
    struct slice tx_bytes;
    struct ledger_tx tx;
    struct ledger_body body;
    uint32_t position;
    uint32_t path_len;
    const struct merkle_hash *path;
};

/* ---- building ---- */

/* Appends. False: no memory. */
bool ledger_receipt_encode(const struct ledger_receipt *, struct buffer *out);

/* ---- reading and checking ---- */

/* Rule FORMAT. bytes: exactly a Receipt; of a transaction, its TxEntry and body decode, too. */
int ledger_receipt_decode(struct slice bytes, struct ledger_receipt *, struct error *);

/* The configurations that a verifier knows: those of one service, by number. */
struct ledger_keys {
    uint8_t genesis[HASH_LEN];
    const struct ledger_configuration *configurations; /* number i at i */
    uint32_t configuration_count;
};
/* The keys that the genesis alone gives: configuration 0. */
struct ledger_keys ledger_keys_of(const struct ledger_genesis *);

/* Signatures of one receipt: the client's, the primary's, the other replicas' ascending. */
#define LEDGER_RECEIPT_SIGNATURES_MAX (LEDGER_REPLICAS_MAX + 1)

/*
 * Every rule between FORMAT and the signatures. Fills in work (which points into the receipt and
 * the keys) and returns how many there are: Q, and 1 of a transaction. Or a negative code, and the
 * rule that failed.
 */
int ledger_receipt_check(const struct ledger_receipt *, const struct ledger_keys *,
                         struct ledger_signature work[static LEDGER_RECEIPT_SIGNATURES_MAX],
                         enum ledger_rule *failed, struct error *);
/* The verdict, from the verdicts on those signatures; the text names the replica. MIN_INDEX is
 * judged here, last. */
int ledger_receipt_judge(const struct ledger_receipt *, const struct ledger_keys *,
                         const bool *valid, enum ledger_rule *failed, struct error *);

struct ledger_receipt_info {
    enum ledger_rule failed;
    struct ledger_receipt receipt; /* points into the bytes; valid once FORMAT holds */
};

/*
 * The whole of §9.1. bytes: a Receipt (not a file). verifier NULL: one signature at a time. 0 and
 * info->failed = LEDGER_RULE_HOLDS, or a negative code and the rule:
 *   ATOLL_ECORRUPT, ATOLL_ELIMIT   FORMAT          ATOLL_ENOENT     CONFIGURATION
 *   ATOLL_EINVAL                   SUBJECT, REQUEST (its service)   ATOLL_EPERM  REQUEST (its key)
 *   ATOLL_ERANGE                   POSITION, MIN_INDEX
 *   ATOLL_EPATH                    PATH, REQUEST (its path)         ATOLL_EQUORUM  QUORUM
 *   ATOLL_ESIGNATURE               COMMITMENT and the signatures
 */
int ledger_receipt_verify(struct slice bytes, const struct ledger_keys *,
                          const struct ledger_verifier *, struct ledger_receipt_info *,
                          struct error *);

/* ---- files ---- */

#define LEDGER_RECEIPT_FILE_MAX (LEDGER_RECEIPT_MAX + LEDGER_FILE_OVERHEAD)

/* Appends the file of a receipt. False: no memory. */
bool ledger_receipt_file_encode(struct slice receipt, const uint8_t genesis[static HASH_LEN],
                                struct buffer *out);
/* The receipt in a file's bytes, and its service. ATOLL_ECORRUPT: not such a file, of another
 * version, or damaged. */
int ledger_receipt_file_decode(struct slice file, struct slice *receipt,
                               uint8_t genesis[static HASH_LEN], struct error *);

#endif
