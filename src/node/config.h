/*
 * The node's configuration: defaults, then atoll.yaml, then ATOLL_SECTION_KEY from the environment,
 * then options of `atoll up`. Unknown keys are errors with line and column.
 */
#ifndef NODE_CONFIG_H
#define NODE_CONFIG_H

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define CONFIG_BYTES_MAX (64u << 10)

enum config_authentication {
    AUTHENTICATION_UNLESS_LOOPBACK,
    AUTHENTICATION_NEVER,
    AUTHENTICATION_ALWAYS
};

struct node_config {
    char data[4096];          /* directory; default $XDG_DATA_HOME/atoll or ~/.local/share/atoll */
    char listen[256];         /* "ADDR:PORT"; default 127.0.0.1:7777; port 0: any free one */
    char metrics_listen[256]; /* /metrics and health also there, without tokens; "" = no */
    char tls_certificate[4096], tls_key[4096]; /* PEM files; "" = plain HTTP */
    char tls_client_ca[4096]; /* mutual TLS: clients must show a certificate of it */
    enum config_authentication authentication;
    uint32_t threads;             /* guest threads per worker; 0 = online processors */
    uint64_t module_bytes;        /* upload limit, default 64 MiB */
    uint64_t input_bytes;         /* call input limit, default 64 MiB */
    uint64_t state_bytes;         /* local tier, default half of the memory */
    uint64_t results_bytes;       /* kept results in memory, default 256 MiB */
    uint64_t tenant_memory_bytes; /* default a quarter of the memory */
    uint32_t queue_max;           /* waiting calls per tenant; 0 = 4 x threads x 64 */
    uint32_t instances;           /* of a worker process; 0 = what the system allows */
    uint32_t connections;         /* default 4,096 */
    int64_t compile_ns;           /* for compiling a module, default 5 min */
    int64_t drain_ns;             /* default 30 s */
    uint32_t node_id;             /* 16 bits of call ids; default 1 */
    int log_level;                /* 0 trace … 4 error, default 2 (info) */
    char callbacks[1024];         /* hosts that Atoll-Callback may name, comma-separated */
};

void config_default(struct node_config *);
/* Reads a file; missing is an error when required. */
int config_read(const char *path, bool required, struct node_config *, struct error *);
int config_environment(struct node_config *, struct error *);
/* One "section.key" (or "key") and its value, as in the file; for options of the command. */
int config_set(struct node_config *, const char *key, const char *value, struct error *);

/* Every setting's name, "section.key" or "key". */
void config_names(void (*visit)(void *context, const char *name), void *context);

#endif
