/* `atoll ledger check`: whether a ledger keeps to the rules; needs no replica. */
#include "base/file.h"
#include "cli/bench/measure.h"
#include "cli/ledger/ledger.h"
#include "cli/ledger/source.h"
#include "cli/report.h"
#include "ledger/check/checker.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

static int entry_take(void *context, uint64_t position, uint8_t type, struct slice payload,
                      struct error *e)
{
    (void)position;
    return ledger_checker_entry(context, type, payload, e);
}

static void counts_print(const struct ledger_checker_counts *c, double seconds, bool json)
{
    char root[2 * HASH_LEN + 1];
    hash_hex(c->root, root);
    if (!json) {
        printf("keeps to the rules: %" PRIu64 " entries, %" PRIu64 " batches, %" PRIu64
               " transactions, %" PRIu64 " view changes, %" PRIu64 " signatures\n"
               "last batch %" PRIu64 " in view %" PRIu64 "; evidence for batches up to %" PRIu64
               "\nroot %s\n%.0f transactions a second\n",
               c->entries, c->batches, c->transactions, c->new_views, c->signatures, c->seqno,
               c->view, c->proven, root, (double)c->transactions / seconds);
        return;
    }
    cJSON *o = cJSON_CreateObject();
    cJSON_AddBoolToObject(o, "valid", true);
    cJSON_AddNumberToObject(o, "entries", (double)c->entries);
    cJSON_AddNumberToObject(o, "batches", (double)c->batches);
    cJSON_AddNumberToObject(o, "transactions", (double)c->transactions);
    cJSON_AddNumberToObject(o, "view_changes", (double)c->new_views);
    cJSON_AddNumberToObject(o, "signatures", (double)c->signatures);
    cJSON_AddNumberToObject(o, "last_batch", (double)c->seqno);
    cJSON_AddNumberToObject(o, "proven_batch", (double)c->proven);
    cJSON_AddStringToObject(o, "root", root);
    cJSON_AddNumberToObject(o, "tx_per_s", (double)c->transactions / seconds);
    json_print(o, false);
}

static int source_check(const struct source *s, const struct buffer *genesis, bool json,
                        struct error *e)
{
    struct ledger_checker *checker;
    struct ledger_checker_counts counts;
    struct fragment_head head;
    int rc = ledger_checker_create(slice_of_buffer(genesis), &checker, e);
    if (rc != 0)
        return rc;
    int64_t begin = clock_monotonic_ns();
    rc = source_visit(s, 0, UINT64_MAX, &head, entry_take, checker, e);
    if (rc == 0 && head.first != 0)
        rc =
            error_set(e, ATOLL_EINVAL,
                      "%s begins at entry %" PRIu64 ", but a ledger is checked from its genesis on",
                      s->path, head.first);
    if (rc == 0)
        rc = ledger_checker_finish(checker, e);
    ledger_checker_counts(checker, &counts);
    if (rc == 0)
        counts_print(&counts, (double)(clock_monotonic_ns() - begin) * 1e-9, json);
    ledger_checker_destroy(checker);
    return rc;
}

static int check_run(int argc, char **argv)
{
    const char *genesis_path = NULL;
    bool json = false;
    const struct option_spec options[] = {
        {"genesis", 0, OPTION_TEXT, "FILE", "the genesis to trust (default: the one in DIR)",
         &genesis_path, NULL},
        {"json", 0, OPTION_FLAG, NULL, "print one JSON object", &json, NULL},
    };
    struct text_list operands = {0};
    struct source source;
    struct buffer own = {0};
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_check, options, 2, argc, argv, 1, 1, &operands, &code))
        return code;
    int rc = source_open(operands.items[0], &source, &e);
    if (rc == 0 && genesis_path)
        rc = file_read(genesis_path, LEDGER_ENTRY_MAX, &own, &e);
    else if (rc == 0 && !source.directory)
        rc = error_set(&e, ATOLL_EINVAL, "which ledger? give --genesis FILE");
    if (rc == 0)
        rc = source_check(&source, genesis_path ? &own : &source.genesis_bytes, json, &e);
    if (rc != 0)
        report_error(&e);
    buffer_free(&own);
    source_close(&source);
    free(operands.items);
    return rc == 0 ? EXIT_OK : rc == -ATOLL_ECORRUPT ? EXIT_NEGATIVE : exit_code_of(&e);
}

const struct command command_ledger_check = {
    .name = "ledger check",
    .usage = "[OPTIONS] DIR|FILE",
    .summary = "check a whole ledger offline",
    .description = "Checks every hash, signature and rule of order of a ledger: a replica's "
                   "directory (it may be\n"
                   "running) or a file of `atoll ledger export`. Exit code 1 and the entry when "
                   "one is broken.\n"
                   "Outputs are not recomputed.",
    .run = check_run,
};
