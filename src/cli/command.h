/*
 * The subcommands of `atoll`: each is one file that offers one struct command, listed in main.c.
 */
#ifndef CLI_COMMAND_H
#define CLI_COMMAND_H

#include "base/error.h"

#include <stdbool.h>

/*
 * Exit codes, the same for every subcommand. 120 and above are Atoll's own; what lies below is the
 * guest program's (run, resume) or the subcommand's.
 */
enum exit_code {
    EXIT_OK = 0,
    EXIT_NEGATIVE = 1,   /* the subcommand did its work and the answer is no */
    EXIT_USAGE = 2,      /* the command line is wrong */
    EXIT_CAPTURED = 123, /* stopped and written to the checkpoint file */
    EXIT_TIMEOUT = 124,  /* --timeout passed */
    EXIT_ATOLL = 125,    /* Atoll or the system failed */
    EXIT_REFUSED = 126,  /* the module was refused, or imports what is not offered */
    EXIT_NO_FILE = 127,  /* a file named on the command line cannot be read */
    EXIT_TRAP = 134,     /* the guest trapped */
};

struct command {
    const char *name;
    const char *usage;   /* without "atoll NAME", e.g. "[OPTIONS] FILE.wasm" */
    const char *summary; /* one line for `atoll help` */
    const char *description;
    int (*run)(int argc, char **argv); /* argv[0] is the subcommand; returns the exit code */
};

extern const struct command command_bench, command_build, command_call, command_compile,
    command_deploy, command_doctor, command_files, command_fn, command_init, command_inspect,
    command_invoke, command_ledger, command_logs, command_node, command_resume, command_run,
    command_state, command_tenant, command_token, command_top, command_up, command_version,
    command_worker;

/* Prints "atoll: " and the error's sentence on the error output; with its place, when it has one.
 */
void report_error(const struct error *);
/* The exit code that stands for an error. */
int exit_code_of(const struct error *);

#endif
