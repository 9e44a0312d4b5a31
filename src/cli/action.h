/* Commands with actions: `atoll fn ls`, `atoll state get T/KEY`. The first operand names one. */
#ifndef CLI_ACTION_H
#define CLI_ACTION_H

#include "cli/client.h"

struct action {
    const char *name;
    size_t least, most; /* operands behind the name */
    int (*run)(void *request, struct client *, const char *const *operands, size_t count);
};

/* Parses, connects, runs, prints what is wrong. actions ends with a NULL name. settings are those
 * that the options write to. */
int action_command(const struct command *, const struct option_spec *, size_t option_count,
                   int argc, char **argv, const struct action *, void *request,
                   const struct client_settings *settings);

/* ---- JSON answers ---- */
/* GETs a path: with --json the answer is printed as it is, else `print` gets it. */
int action_show(struct client *, const struct client_settings *, const char *path,
                void (*print)(const cJSON *));
/* The same for the list of `what` ("files") of a tenant, given as TENANT or TENANT/PREFIX; any
 * other operand is said to be wrong. */
int action_list(struct client *, const struct client_settings *, const char *what,
                const char *operand, void (*print)(const cJSON *));
/* Sends JSON (NULL: nothing; deleted here) and prints nothing when it worked. */
int action_send(struct client *, enum http_method, const char *path, cJSON *body);
const char *member_text(const cJSON *, const char *name); /* "" when it is no text */
double member_number(const cJSON *, const char *name);    /* 0 when it is no number */

#endif
