/*
 * The command line parser all subcommands share. A subcommand declares its options as a table; the
 * same table parses and writes --help, so help is complete by construction.
 *
 * Strict: an unknown option, a missing or malformed value, a repeated single-valued option are
 * errors (exit code 2) with a hint. Options and operands may be mixed; "--" ends the options.
 */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H

#include "cli/command.h"

#include <stddef.h>
#include <stdint.h>

/* Strings of argv; nothing is owned but the array. */
struct text_list {
    const char **items;
    size_t count;
};

enum option_kind {
    OPTION_FLAG,     /* bool: true when given */
    OPTION_TEXT,     /* const char * */
    OPTION_LIST,     /* struct text_list: may be given again and again */
    OPTION_COUNT,    /* uint64_t: a decimal number */
    OPTION_SIZE,     /* uint64_t bytes: "65536", "64K", "64KiB", "512M", "2G" */
    OPTION_DURATION, /* int64_t nanoseconds: "2", "1.5s", "250ms", "10m", "1h" */
    OPTION_CHOICE,   /* int: index of the word in choices */
};

struct option_spec {
    const char *name; /* long name without dashes; NULL when it has only a letter */
    char letter;      /* 0 when it has only a name */
    enum option_kind kind;
    const char *value;          /* how help calls the value; NULL for flags and choices */
    const char *help;           /* may hold line breaks */
    void *target;               /* by kind; keeps its initial content when the option is absent */
    const char *const *choices; /* NULL-terminated */
};

enum options_outcome {
    OPTIONS_GO,
    OPTIONS_HELP, /* --help was given and printed: end with EXIT_OK */
    OPTIONS_BAD,  /* said on the error output: end with EXIT_USAGE */
};

/* Parses argv[1..argc). Operands go to *operands (its array is the caller's to free, on every
 * outcome), which must number between least and most. At most 32 options. */
enum options_outcome options_parse(const struct command *, const struct option_spec *,
                                   size_t option_count, int argc, char **argv, size_t least,
                                   size_t most, struct text_list *operands);

/* "atoll NAME: " and the sentence on the error output; returns EXIT_USAGE. */
int usage_error(const struct command *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The three value forms. False when text is not one. */
bool text_parse_count(const char *text, uint64_t *out);
bool text_parse_size(const char *text, uint64_t *out);
bool text_parse_duration(const char *text, int64_t *out_ns);

/* The number of single-character changes between two words (insert, delete, replace, swap), for
 * hints; words beyond 63 bytes are far from everything. */
unsigned text_distance(const char *a, const char *b);

#endif
