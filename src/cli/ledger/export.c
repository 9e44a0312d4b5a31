/* `atoll ledger export`: a piece of a ledger as a file. */
#include "cli/ledger/interruption.h"
#include "cli/ledger/ledger.h"
#include "cli/ledger/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct request {
    const char *output;
    uint64_t from, to;
};

struct export
{
    const char *path;
    const struct fragment_head *head;
    struct fragment_writer *writer;
    uint64_t count;
};

/* The frontier is known when the first entry comes. */
static int entry_write(void *context, uint64_t position, uint8_t type, struct slice payload,
                       struct error *e)
{
    struct export *x = context;
    (void)position;
    int rc = interruption_check(e);
    if (rc == 0 && x->writer == NULL)
        rc = fragment_create(x->path, x->head->genesis, &x->head->before, &x->writer, e);
    x->count += rc == 0;
    return rc == 0 ? fragment_append(x->writer, type, payload, e) : rc;
}

static int source_export(const struct source *s, const struct request *r, struct error *e)
{
    struct fragment_head head;
    struct export x = {.path = r->output, .head = &head};
    if (!s->directory)
        return error_set(e, ATOLL_EINVAL,
                         "%s is a file; entries are exported from a replica's directory", s->path);
    int rc = source_visit(s, r->from, r->to, &head, entry_write, &x, e);
    if (rc == 0 && x.writer == NULL)
        rc = error_set(e, ATOLL_ERANGE, "the ledger has no entry %" PRIu64, r->from);
    struct error ignored;
    if (x.writer) {
        int closed = fragment_close(x.writer, rc == 0, rc == 0 ? e : &ignored);
        rc = rc == 0 ? closed : rc;
    }
    if (rc == 0)
        printf("%" PRIu64 " entries\n", x.count);
    return rc;
}

static int export_run(int argc, char **argv)
{
    struct request r = {.to = UINT64_MAX};
    const struct option_spec options[] = {
        {"output", 'o', OPTION_TEXT, "FILE", "where to (name it .lfrag)", &r.output, NULL},
        {"from", 0, OPTION_COUNT, "N", "first entry (default 0, the genesis)", &r.from, NULL},
        {"to", 0, OPTION_COUNT, "N", "first entry that is left out (default: none)", &r.to, NULL},
    };
    struct text_list operands = {0};
    struct source source;
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_export, options, 3, argc, argv, 1, 1, &operands, &code))
        return code;
    if (r.output == NULL) {
        free(operands.items);
        return usage_error(&command_ledger_export, "where to? give --output FILE");
    }
    if (!ledger_range(&command_ledger_export, r.from, r.to)) {
        free(operands.items);
        return EXIT_USAGE;
    }
    interruption_catch();
    int rc = source_open(operands.items[0], &source, &e);
    if (rc == 0)
        rc = source_export(&source, &r, &e);
    source_close(&source);
    free(operands.items);
    if (rc == 0)
        return EXIT_OK;
    interruption_obey("nothing was exported");
    ledger_report(&e);
    return exit_code_of(&e);
}

const struct command command_ledger_export = {
    .name = "ledger export",
    .usage = "[OPTIONS] -o FILE DIR",
    .summary = "write entries of a ledger to a file",
    .description =
        "Writes entries of the ledger in a replica's directory (it may be running) to a\n"
        "file that `atoll ledger check` and `dump` read.\n\n"
        "Exit code: 0, or\n"
        "  2    the command line is wrong\n"
        "  125  it cannot be read, or has no such entry, or the file cannot be written",
    .run = export_run,
};
