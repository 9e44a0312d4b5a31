/*
 * Commands talking to a node: where it is, who asks, requests, and what its answers mean.
 *
 * The node is --node URL, else $ATOLL_NODE, else http://127.0.0.1:7777; the token is --token, else
 * $ATOLL_TOKEN. Exit codes of commands that talk to a node are spec faaslets §13's.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "cli/options.h"
#include "net/http_client.h"

#include <cjson/cJSON.h>

enum client_exit {
    CLIENT_OK = 0,
    CLIENT_FAILED = 1, /* the call, or the request, failed */
    CLIENT_UNREACHABLE = 3,
    CLIENT_NOT_PERMITTED = 4,
    CLIENT_NOT_FOUND = 5,
    CLIENT_TIMEOUT = 6,
};

#define CLIENT_NODE "http://127.0.0.1:7777"

/* What every such command accepts; put CLIENT_OPTIONS(c) into its table. */
struct client_settings {
    const char *node, *token, *ca;
    bool json;
};
#define CLIENT_OPTIONS(c)                                                                         \
    {"node",     0,   OPTION_TEXT, "URL", "the node (default $ATOLL_NODE, else " CLIENT_NODE ")", \
     &(c)->node, NULL},                                                                           \
        {"token", 0, OPTION_TEXT, "TOKEN", "who asks (default $ATOLL_TOKEN)", &(c)->token, NULL}, \
        {"ca",     0,   OPTION_TEXT, "FILE", "certificates to trust (default: the system's)",     \
         &(c)->ca, NULL},                                                                         \
    {                                                                                             \
        "json", 0, OPTION_FLAG, NULL, "print JSON", &(c)->json, NULL                              \
    }
#define CLIENT_OPTION_COUNT 4

/* The end of their descriptions; `refused` says what 1 means. */
#define CLIENT_EXITS(refused)               \
    "\n"                                    \
    "\n"                                    \
    "Exit code: 0, or\n"                    \
    "  1    " refused "\n"                  \
    "  2    the command line is wrong\n"    \
    "  3    no node answers\n"              \
    "  4    the token does not permit it\n" \
    "  5    there is no such thing\n"       \
    "  6    the node took too long"

struct client;

/* NULL after having said why; then *exit_code is set. */
struct client *client_open(const struct client_settings *, int *exit_code);
void client_close(struct client *); /* NULL is fine */

struct client_request {
    enum http_method method;
    const char *path; /* percent-encoded, with its query: "/v1/fn/a/b" */
    const struct http_header *headers;
    size_t header_count;
    const void *body;
    uint64_t body_len;
    int (*write)(void *context, const void *data, size_t len); /* as http_client_request */
    void *context;
    uint32_t idle_ms;
};
/* Sends it. The reply is valid until the next request. 0 or an exit code, after having said why:
 * only for requests that got no answer at all. */
int client_send(struct client *, const struct client_request *,
                const struct http_client_response **);
/* The same, and an answer of 400 or above is printed and becomes its exit code. */
int client_do(struct client *, const struct client_request *, const struct http_client_response **);
/* The exit code of an answer's status. */
int client_exit_of(unsigned status);
/* Prints a problem document's detail (and stage) on the error output. */
void client_problem_print(const struct http_client_response *);
/* A GET whose answer is JSON: NULL after having said why. */
cJSON *client_get_json(struct client *, const char *path, int *exit_code);

/* ---- building paths ---- */
/* "tenant/function" (or "function": tenant "default") behind a prefix: "/v1/fn/tenant/function".
 * False after having said that the name is none. */
bool client_function_path(const char *prefix, const char *name, char *out, size_t size);
/* Appends bytes, percent-encoded. False after having said that it does not fit. */
bool client_path_append(char *path, size_t size, const void *bytes, size_t len, bool keep_slash);

/* ---- reading what the user gave ---- */
/* "@FILE", "-" (standard input), or the text itself. */
int client_data_read(const char *argument, struct buffer *out, struct error *);

#endif
