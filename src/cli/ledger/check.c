/* `atoll ledger check`: whether a ledger keeps to the rules; needs no replica. */
#include "base/file.h"
#include "cli/bench/measure.h"
#include "cli/ledger/ledger.h"
#include "cli/ledger/source.h"
#include "cli/report.h"
#include "ledger/check/checker.h"
#include "ledger/object/genesis.h"
#include "ledger/object/proof.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct walk {
    struct ledger_checker *checker;
    const char *path;
    bool begun;
};

static int entry_take(void *context, uint64_t position, uint8_t type, struct slice payload,
                      struct error *e)
{
    struct walk *w = context;
    if (!w->begun && position != 0)
        return error_set(e, ATOLL_EINVAL,
                         "%s begins at entry %" PRIu64
                         ", but a ledger is checked from its genesis on",
                         w->path, position);
    w->begun = true;
    return ledger_checker_entry(w->checker, type, payload, e);
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

/* ---- proofs that a replica keeps ---- */

#define PROOFS_SHOWN 256

/* A file of DIR/proofs: whom it accuses, once it is checked like anybody else's. */
static bool proof_check(const char *path, const struct ledger_genesis *g,
                        struct ledger_proof *proof, struct error *e)
{
    struct buffer file = {0};
    struct slice bytes;
    int rc = file_read(path, LEDGER_PROOF_FILE_MAX, &file, e);
    if (rc == 0)
        rc = ledger_proof_file_decode(slice_of_buffer(&file), g->hash, &bytes, e);
    if (rc == 0)
        rc = ledger_proof_verify(bytes, &g->configuration, &LEDGER_VERIFIER_SINGLE, proof, e);
    buffer_free(&file);
    return rc == 0;
}

static void proof_print(const char *path, const struct ledger_genesis *g)
{
    struct ledger_proof proof;
    struct error e;
    if (proof_check(path, g, &proof, &e))
        printf("replica %u signed two different things at view %" PRIu64 ", batch %" PRIu64
               ": %s, %s\n",
               proof.blamed, proof.view, proof.seqno, ledger_proof_name(proof.type), path);
    else
        printf("%s proves nothing: %s\n", path, e.text);
}

/* Tells of every proof that lies in the directory. */
static void proofs_print(const struct source *s, const struct buffer *genesis)
{
    char path[PATH_MAX];
    struct error e;
    struct ledger_genesis *g = malloc(sizeof *g);
    snprintf(path, sizeof path, "%s/proofs", s->path);
    DIR *d = s->directory ? opendir(path) : NULL;
    bool known = g && ledger_genesis_decode(slice_of_buffer(genesis), g, &e) == 0;
    int shown = 0;
    for (struct dirent *entry; d && known && shown < PROOFS_SHOWN && (entry = readdir(d));) {
        size_t len = strlen(entry->d_name);
        if (len <= 4 || strcmp(entry->d_name + len - 4, ".pom") != 0)
            continue;
        snprintf(path, sizeof path, "%s/proofs/%s", s->path, entry->d_name);
        proof_print(path, g);
        shown++;
    }
    if (d)
        closedir(d);
    free(g);
}

static int source_check(const struct source *s, const struct buffer *genesis, bool json,
                        struct error *e)
{
    struct ledger_checker *checker;
    struct ledger_checker_counts counts;
    int rc = ledger_checker_create(slice_of_buffer(genesis), &checker, e);
    if (rc != 0)
        return rc;
    int64_t begin = clock_monotonic_ns();
    struct walk walk = {checker, s->path, false};
    rc = source_visit(s, 0, UINT64_MAX, NULL, entry_take, &walk, e);
    if (rc == 0)
        rc = ledger_checker_finish(checker, e);
    ledger_checker_counts(checker, &counts);
    if (rc == 0)
        counts_print(&counts, (double)(clock_monotonic_ns() - begin) * 1e-9, json);
    ledger_checker_destroy(checker);
    return rc;
}

/* The genesis to trust: one that is named, or the directory's own. When it is none that is not the
 * ledger's fault: ATOLL_EMALFORMED. */
static int genesis_take(const char *path, const struct source *s, struct buffer *own,
                        struct error *e)
{
    struct ledger_genesis *g = malloc(sizeof *g);
    int rc = g ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for a genesis");
    if (rc == 0 && path)
        rc = file_read(path, LEDGER_ENTRY_MAX, own, e);
    if (rc == 0 &&
        ledger_genesis_decode(slice_of_buffer(path ? own : &s->genesis_bytes), g, e) != 0) {
        error_prefix(e, "%s%s", path ? path : s->path, path ? "" : "/genesis");
        rc = e->code = -ATOLL_EMALFORMED;
    }
    free(g);
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
    if (rc == 0 && !source.directory && !genesis_path) {
        free(operands.items);
        return usage_error(&command_ledger_check, "which ledger is it of? Give --genesis FILE.");
    }
    if (rc == 0)
        rc = genesis_take(genesis_path, &source, &own, &e);
    if (rc == 0)
        rc = source_check(&source, genesis_path ? &own : &source.genesis_bytes, json, &e);
    if (rc != 0)
        ledger_report(&e);
    else if (!json)
        proofs_print(&source, genesis_path ? &own : &source.genesis_bytes);
    buffer_free(&own);
    source_close(&source);
    free(operands.items);
    return rc == 0 ? EXIT_OK : rc == -ATOLL_ECORRUPT ? EXIT_NEGATIVE : exit_code_of(&e);
}

const struct command command_ledger_check = {
    .name = "ledger check",
    .usage = "[OPTIONS] DIR|FILE",
    .summary = "check a whole ledger offline",
    .description =
        "Checks every hash, signature and rule of order of a ledger: a replica's "
        "directory (it may be\n"
        "running) or a file of `atoll ledger export`. Outputs are not recomputed. "
        "Proofs that the\n"
        "replica keeps in DIR/proofs, of others that signed two different things, are "
        "checked and shown.\n\n"
        "Exit code: 0 when it keeps to the rules, or\n"
        "  1    it does not, is damaged, or is of another genesis: the first wrong entry is "
        "named\n"
        "  2    the command line is wrong\n"
        "  125  it, or the genesis, cannot be read\n"
        "  126  the genesis is not a usable one",
    .run = check_run,
};
