/* `atoll ledger`: the accountable ledger's own commands. */
#include "cli/ledger/ledger.h"

#include "base/file.h"
#include "cli/report.h"
#include "ledger/object/entry.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct command *const commands[] = {
    &command_ledger_demo,   &command_ledger_keygen,  &command_ledger_genesis, &command_ledger_node,
    &command_ledger_call,   &command_ledger_receipt, &command_ledger_check,   &command_ledger_dump,
    &command_ledger_export, &command_ledger_bench,
};

#define COMMAND_COUNT (sizeof commands / sizeof commands[0])
/* What stands before a subcommand's own name. */
#define PREFIX "ledger "

static const char *own_name(const struct command *c)
{
    return c->name + strlen(PREFIX);
}

static void overview_print(FILE *output)
{
    fprintf(output, "Usage: atoll ledger COMMAND [OPTIONS] ...\n\n"
                    "A ledger that several parties run together: transactions with receipts that\n"
                    "anyone can check, without trusting those who run it.\n\nCommands:\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        fprintf(output, "  %-10s%s\n", own_name(commands[i]), commands[i]->summary);
    fprintf(output, "\n`atoll ledger COMMAND --help` tells all about one.\n");
}

static int ledger_run(int argc, char **argv)
{
    if (argc < 2) {
        overview_print(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        overview_print(stdout);
        return EXIT_OK;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(own_name(commands[i]), argv[1]) == 0)
            return commands[i]->run(argc - 1, argv + 1);
    }
    return usage_error(&command_ledger, "there is no ledger command %s; try `atoll ledger help`",
                       argv[1]);
}

const struct command command_ledger = {
    .name = "ledger",
    .usage = "COMMAND [OPTIONS] ...",
    .summary = "a replicated ledger with receipts: run it, call it, check it",
    .description = "See `atoll ledger help`.",
    .run = ledger_run,
};

/* ---- what they share ---- */

int ledger_genesis_read(const char *path, struct buffer *bytes, struct ledger_genesis *g,
                        struct error *e)
{
    int rc = file_read(path, LEDGER_ENTRY_MAX, bytes, e);
    if (rc == 0)
        rc = ledger_genesis_decode(slice_of_buffer(bytes), g, e);
    if (rc == 0)
        return 0;
    buffer_free(bytes);
    if (rc == -ATOLL_ECORRUPT)
        e->code = -ATOLL_EMALFORMED; /* refused, not damaged while it was used */
    return error_prefix(e, "the genesis %s", path);
}

int ledger_passphrase_read(const char *path, char **passphrase, struct error *e)
{
    struct buffer text = {0};
    *passphrase = NULL;
    if (path == NULL)
        return 0;
    int rc = file_read(path, 4096, &text, e);
    if (rc != 0)
        return rc;
    size_t len = 0;
    while (len < text.len && text.data[len] != '\n' && text.data[len] != '\r')
        len++;
    if (len == 0)
        rc = error_set(e, ATOLL_EINVAL, "there is no passphrase in %s", path);
    else if ((*passphrase = strndup((const char *)text.data, len)) == NULL)
        rc = error_set(e, ATOLL_ENOMEM, "no memory for a passphrase");
    explicit_bzero(text.data, text.len);
    buffer_free(&text);
    return rc;
}

bool ledger_options(const struct command *c, const struct option_spec *options, size_t count,
                    int argc, char **argv, size_t least, size_t most, struct text_list *operands,
                    int *exit_code)
{
    enum options_outcome outcome =
        options_parse(c, options, count, argc, argv, least, most, operands);
    *exit_code = outcome == OPTIONS_HELP ? EXIT_OK : EXIT_USAGE;
    if (outcome != OPTIONS_GO)
        free(operands->items);
    return outcome == OPTIONS_GO;
}

/* Where in an object's bytes is in the sentence; report_error would call it a place in a module. */
void ledger_report(const struct error *e)
{
    struct error told = *e;
    told.offset = ERROR_NOWHERE;
    report_error(&told);
}

bool ledger_range(const struct command *c, uint64_t from, uint64_t to)
{
    if (from < to)
        return true;
    usage_error(c, "there is nothing from entry %" PRIu64 " up to, but not including, %" PRIu64,
                from, to);
    return false;
}
