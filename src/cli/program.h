/*
 * What run and resume have in common: the options about running, the run itself with its
 * checkpoints, and the account of how it ended.
 */
#ifndef CLI_PROGRAM_H
#define CLI_PROGRAM_H

#include "cli/checkpoint.h"
#include "cli/options.h"

#define PREOPENS_MAX 64
/* What the target of an option holds before it is given. */
#define TIME_NOT_GIVEN  INT64_C(-1)
#define COUNT_NOT_GIVEN UINT64_MAX

struct program {
    const struct command *command;

    /* Set by PROGRAM_OPTIONS. */
    struct text_list dirs;
    const char *checkpoint;
    int64_t checkpoint_after_ns, timeout_ns;
    bool json;

    struct wasi_preopen preopens[PREOPENS_MAX];
    char *preopen_texts[PREOPENS_MAX];

    struct guest guest;
    const struct artefact *artefact; /* the primary module's; the instance holds it */
    bool cached;
    struct watch *watch;
    struct checkpoint_call call;
    struct wasm_signature signature; /* of call.function */
    union host_slot *slots;          /* its arguments, then results */
    struct run_result result;
    enum guest_end end;
    struct checkpoint_size captured;
    int64_t began_ns;
};

/* What a program is before its options are read. */
#define PROGRAM_OF(its_command) \
    {.command = (its_command), .timeout_ns = TIME_NOT_GIVEN, .checkpoint_after_ns = TIME_NOT_GIVEN}

/* Entries for the table of options. */
#define PROGRAM_OPTIONS(p)                                                                       \
    {"dir",                                                                                      \
     0,                                                                                          \
     OPTION_LIST,                                                                                \
     "HOST::GUEST[::ro]",                                                                        \
     "let the program use directory HOST under the name GUEST,\n"                                \
     "read-only with ::ro; may be repeated",                                                     \
     &(p).dirs,                                                                                  \
     NULL},                                                                                      \
        {"timeout",       0,   OPTION_DURATION, "TIME", "stop it after this time (no limit)",    \
         &(p).timeout_ns, NULL},                                                                 \
        {"checkpoint",                                                                           \
         0,                                                                                      \
         OPTION_TEXT,                                                                            \
         "FILE",                                                                                 \
         "on SIGUSR2, write the running program to FILE and end\n"                               \
         "with 123; `atoll resume FILE` goes on",                                                \
         &(p).checkpoint,                                                                        \
         NULL},                                                                                  \
        {"checkpoint-after",       0,   OPTION_DURATION, "TIME", "do so after this time, too",   \
         &(p).checkpoint_after_ns, NULL},                                                        \
    {                                                                                            \
        "json", 0, OPTION_FLAG, NULL, "say how it ended as one JSON object on the error output", \
            &(p).json, NULL                                                                      \
    }

/* Checks these options, fills preopens, and makes times that were not given 0. EXIT_OK, or what
 * usage_error returned. */
int program_options_check(struct program *);
/* Makes room for the arguments and results of call.function. EXIT_OK or EXIT_ATOLL. */
int program_prepare_call(struct program *);
/* Starts the clock and the watcher. */
int program_begin(struct program *, struct error *);
/* After each step that ran the guest: writes a checkpoint when one stopped it, and goes on when
 * that could not be done. */
int program_settle(struct program *, struct error *);
/* Whether the last step returned, so that the next may follow. */
bool program_went_well(const struct program *);
/* Says how it ended (in words or JSON) and returns the exit code. */
int program_report(struct program *);
/* The same for an error before or beside the run. */
int program_report_failure(const struct program *, const struct error *);
void program_free(struct program *);

#endif
