/*
 * What signatures a quorum's statements need checked (spec/ledger §4, §5, §9.1): of a batch's pp,
 * of Prepares opened by nonces, of a certificate. Everything but the signatures is judged here,
 * without memory; the signatures come out as work (signature.h), which points into the
 * configuration, the pp (the primary's signature) and the arrays that were given: all must outlive
 * it.
 */
#ifndef LEDGER_OBJECT_QUORUM_H
#define LEDGER_OBJECT_QUORUM_H

#include "ledger/object/configuration.h"
#include "ledger/object/view_change.h"

/*
 * The signatures of a quorum that prepared pp and opened its nonces: Q replicas in bits, the
 * primary among them; signatures of the backups ascending (the primary's, in pp.signature, is not
 * among them); nonces ascending, the primary's among them. pp_hash is ledger_pp_hash of pp, which
 * the caller has. Each Prepare is built anew from the pp and the nonce's hash. work gets the
 * primary's signature first, then the backups'. Returns Q, or
 *
 *   ATOLL_EQUORUM     bits: not exactly Q replicas of this configuration, or without the primary
 *   ATOLL_ESIGNATURE  the primary's nonce does not open the pp's commitment
 */
int ledger_quorum_opened(const struct ledger_configuration *, const struct ledger_pp *,
                         const uint8_t pp_hash[static HASH_LEN], uint64_t bits,
                         const uint8_t *backup_signatures, const uint8_t *nonces,
                         struct ledger_signature work[static LEDGER_REPLICAS_MAX], struct error *);
/* The same with the primary's signature among the others, in its ascending place, as receipts have
 * them; pp.signature is not looked at. */
int ledger_quorum_signed(const struct ledger_configuration *, const struct ledger_pp *,
                         const uint8_t pp_hash[static HASH_LEN], uint64_t bits,
                         const uint8_t *signatures, const uint8_t *nonces,
                         struct ledger_signature work[static LEDGER_REPLICAS_MAX], struct error *);
/* The same of an Evidence for the pp it must be about: ATOLL_EINVAL when it is about another. */
int ledger_evidence_check(const struct ledger_configuration *, const struct ledger_pp *,
                          const struct ledger_evidence *,
                          struct ledger_signature work[static LEDGER_REPLICAS_MAX], struct error *);
/* The signatures of a certificate: the pp's and exactly Q-1 backups'. Returns Q, or ATOLL_EQUORUM.
 */
int ledger_certificate_check(const struct ledger_configuration *, const struct ledger_certificate *,
                             struct ledger_signature work[static LEDGER_REPLICAS_MAX],
                             struct error *);

#endif
