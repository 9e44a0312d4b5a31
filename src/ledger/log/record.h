/*
 * The kinds of record that a replica writes to its log.
 *
 * One sequence of log sequence numbers (lsn) runs over all of them. ENTRY, ROLLBACK and SIGNED go to
 * the segment stream, so that one fdatasync makes an entry and the mark that it may be signed
 * durable together; CERTIFICATE, VIEW_CHANGE and NEW_VIEW go to the vote log.
 *
 *   ENTRY        a ledger entry at `position`; its type is the entry's type
 *   ROLLBACK     the ledger ends at `position` from here on; no payload
 *   SIGNED       u32 config | u64 view | u64 s | u8 what | u8[32] pp_hash: what may be signed
 *   CERTIFICATE  a Cert (object/): makes its batch prepared
 *   VIEW_CHANGE  the replica's own ViewChange with its signature
 *   NEW_VIEW     a NewView with its signature, then bytes: the VCSET payload. The replica follows it.
 */
#ifndef LEDGER_LOG_RECORD_H
#define LEDGER_LOG_RECORD_H

enum ledger_record_kind {
    LEDGER_RECORD_ENTRY = 1,
    LEDGER_RECORD_ROLLBACK = 2,
    LEDGER_RECORD_SIGNED = 3,
    LEDGER_RECORD_CERTIFICATE = 4,
    LEDGER_RECORD_VIEW_CHANGE = 5,
    LEDGER_RECORD_NEW_VIEW = 6,
};

#endif
