/* The subcommands of `atoll ledger`: each is one file that offers one struct command, listed in
 * ledger.c; and what they share. */
#ifndef CLI_LEDGER_LEDGER_H
#define CLI_LEDGER_LEDGER_H

#include "cli/options.h"
#include "ledger/object/genesis.h"

extern const struct command command_ledger_keygen, command_ledger_genesis, command_ledger_node,
    command_ledger_call, command_ledger_receipt, command_ledger_check, command_ledger_dump,
    command_ledger_export, command_ledger_bench, command_ledger_demo;

/* Reads a genesis file. The bytes are the caller's to free; the genesis points into them. */
int ledger_genesis_read(const char *path, struct buffer *bytes, struct ledger_genesis *,
                        struct error *);
/* The passphrase in the first line of a file; NULL for no path. Freed by the caller. */
int ledger_passphrase_read(const char *path, char **passphrase, struct error *);
/* Parses the options; *exit_code is what to end with when it returns false. */
bool ledger_options(const struct command *, const struct option_spec *, size_t count, int argc,
                    char **argv, size_t least, size_t most, struct text_list *operands,
                    int *exit_code);
/* Says what failed on stderr. */
void ledger_report(const struct error *);
/* Whether entries from … to - 1 are some. If not, says so; the command line is wrong. */
bool ledger_range(const struct command *, uint64_t from, uint64_t to);

#endif
