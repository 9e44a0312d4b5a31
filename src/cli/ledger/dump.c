/* `atoll ledger dump`: the entries of a ledger, for people. */
#include "cli/ledger/ledger.h"
#include "cli/ledger/source.h"
#include "cli/report.h"
#include "ledger/kv/smallbank.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static void short_hex(const uint8_t *bytes, char out[static 17])
{
    char hex[2 * HASH_LEN + 1];
    hash_hex(bytes, hex);
    snprintf(out, 17, "%.16s", hex);
}

static void pp_print(struct slice payload)
{
    struct ledger_pp pp;
    struct error e;
    char root[17], content[17];
    if (ledger_pp_decode_signed(payload, &pp, &e) != 0) {
        printf("damaged: %s\n", e.text);
        return;
    }
    short_hex(pp.ledger_root, root);
    short_hex(pp.batch_root, content);
    printf("view %" PRIu64 " batch %" PRIu64 " %s, %u transactions from %" PRIu64
           ", ledger %s… content %s…\n",
           pp.view, pp.seqno, ledger_kind_name(pp.kind), pp.count, pp.first_index, root, content);
}

static void tx_print(struct slice payload)
{
    struct ledger_tx tx;
    struct ledger_body body;
    struct error e;
    char client[17];
    if (ledger_tx_decode(payload, &tx, &e) != 0 || ledger_body_decode(tx.body, &body, &e) != 0) {
        printf("damaged: %s\n", e.text);
        return;
    }
    short_hex(body.request.client, client);
    printf("%" PRIu64 " client %s… request %" PRIu64 " %s, status %" PRId32 ", %zu bytes out\n",
           tx.index, client, body.request.reqno, smallbank_procedure_name(body.request.proc),
           tx.status, tx.output.len);
}

static void evidence_print(struct slice payload)
{
    struct ledger_evidence evidence;
    struct error e;
    if (ledger_evidence_decode(payload, &evidence, &e) != 0)
        printf("damaged: %s\n", e.text);
    else
        printf("for batch %" PRIu64 " of view %" PRIu64 ", replicas %#" PRIx64 "\n", evidence.seqno,
               evidence.view, evidence.bits);
}

static void new_view_print(struct slice payload)
{
    struct ledger_new_view nv;
    struct error e;
    if (ledger_new_view_decode_signed(payload, &nv, &e) != 0)
        printf("damaged: %s\n", e.text);
    else
        printf("view %" PRIu64 " behind batch %" PRIu64 ", %u batches again, up to (%" PRIu64
               ", %" PRIu64 ")\n",
               nv.view, nv.base_seqno, nv.plan_count, nv.tip_view, nv.tip_seqno);
}

static int entry_print(void *context, uint64_t position, uint8_t type, struct slice payload,
                       struct error *e)
{
    uint64_t *printed = context;
    (void)e;
    ++*printed;
    printf("%8" PRIu64 "  %-9s ", position, ledger_entry_name((enum ledger_entry_type)type));
    switch (type) {
    case LEDGER_ENTRY_PP: pp_print(payload); break;
    case LEDGER_ENTRY_TX: tx_print(payload); break;
    case LEDGER_ENTRY_EVIDENCE: evidence_print(payload); break;
    case LEDGER_ENTRY_NEW_VIEW: new_view_print(payload); break;
    default: printf("%zu bytes\n", payload.len);
    }
    return 0;
}

static int dump_run(int argc, char **argv)
{
    uint64_t from = 0, to = UINT64_MAX;
    const struct option_spec options[] = {
        {"from", 0, OPTION_COUNT, "N", "first entry (default 0, the genesis)", &from, NULL},
        {"to", 0, OPTION_COUNT, "N", "first entry that is left out (default: none)", &to, NULL},
    };
    struct text_list operands = {0};
    struct source source;
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_dump, options, 2, argc, argv, 1, 1, &operands, &code))
        return code;
    if (!ledger_range(&command_ledger_dump, from, to)) {
        free(operands.items);
        return EXIT_USAGE;
    }
    uint64_t printed = 0;
    int rc = source_open(operands.items[0], &source, &e);
    if (rc == 0)
        rc = source_visit(&source, from, to, NULL, entry_print, &printed, &e);
    if (rc == 0 && printed == 0)
        rc = error_set(&e, ATOLL_ERANGE, "%s has no entry %" PRIu64, operands.items[0], from);
    if (rc != 0)
        ledger_report(&e);
    source_close(&source);
    free(operands.items);
    return rc == 0 ? EXIT_OK : exit_code_of(&e);
}

const struct command command_ledger_dump = {
    .name = "ledger dump",
    .usage = "[OPTIONS] DIR|FILE",
    .summary = "print the entries of a ledger",
    .description = "Prints one line for each entry of a ledger: a replica's directory (it may be\n"
                   "running) or a file of `atoll ledger export`. Checks nothing.\n\n"
                   "Exit code: 0, or\n"
                   "  2    the command line is wrong\n"
                   "  125  it cannot be read, or has no such entry",
    .run = dump_run,
};
