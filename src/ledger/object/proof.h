/*
 * Proofs of misbehaviour that need nothing else (spec/ledger §9.2): two statements of one replica
 * that no correct replica signs both. Whoever has the genesis can check one.
 *
 *   file (.pom)  "atollpom" 8 | u32 version = 1 | genesis 32 | Proof | SHA-256 of all before
 *   Proof        type u8 | list of governance transactions (none until configurations change)
 *                | bytes first | bytes second
 *
 *   type 1 EQUIV_PP       two signed pps of one (config, view, s)            blamed: the primary
 *   type 2 EQUIV_PREPARE  two signed Prepares of one (config, view, s) and replica, for two pps
 *
 * The statements stand in the order of their pps' hashes, so there is one encoding of each pair.
 */
#ifndef LEDGER_OBJECT_PROOF_H
#define LEDGER_OBJECT_PROOF_H

#include "ledger/object/batch.h"
#include "ledger/object/configuration.h"
#include "ledger/object/signature.h"

enum ledger_proof_type { LEDGER_PROOF_EQUIV_PP = 1, LEDGER_PROOF_EQUIV_PREPARE = 2 };

struct ledger_proof {
    enum ledger_proof_type type;
    struct slice statements[2]; /* encoded and signed, in the bytes that it was decoded from */
    uint32_t config;
    uint64_t view, seqno;
    uint16_t blamed; /* of PREPARE as it says; of PP the view's primary, filled in by the check */
};

/* "EQUIV_PP", … */
const char *ledger_proof_name(enum ledger_proof_type);

/* Appends the Proof of two statements, in whichever order. ATOLL_EINVAL: they do not contradict
 * each other. ATOLL_ENOMEM. */
int ledger_proof_of_pps(const struct ledger_pp *, const struct ledger_pp *, struct buffer *,
                        struct error *);
int ledger_proof_of_prepares(const struct ledger_prepare *, const struct ledger_prepare *,
                             struct buffer *, struct error *);
/* Everything but the configuration and the signatures. ATOLL_ECORRUPT, ATOLL_ELIMIT. */
int ledger_proof_decode(struct slice bytes, struct ledger_proof *, struct error *);
/* Fills in `blamed` and the two signatures that are left; work points into the proof's bytes and
 * the configuration. Returns 2, or ATOLL_EINVAL: of another configuration or of no replica of it.
 */
int ledger_proof_check(const struct ledger_configuration *, struct ledger_proof *,
                       struct ledger_signature work[static 2], struct error *);
/* The whole: 0 and *out, or what is wrong with it; ATOLL_ESIGNATURE: it proves nothing. */
int ledger_proof_verify(struct slice bytes, const struct ledger_configuration *,
                        const struct ledger_verifier *, struct ledger_proof *out, struct error *);

/* ---- files ---- */

#define LEDGER_PROOF_FILE_MAX 1024

/* Appends the file of a Proof. False: no memory. */
bool ledger_proof_file_encode(struct slice proof, const uint8_t genesis[static HASH_LEN],
                              struct buffer *out);
/* The Proof in a file's bytes. ATOLL_ECORRUPT: not such a file, of another version, or damaged;
 * ATOLL_EINVAL: of another service. */
int ledger_proof_file_decode(struct slice file, const uint8_t genesis[static HASH_LEN],
                             struct slice *proof, struct error *);

#endif
