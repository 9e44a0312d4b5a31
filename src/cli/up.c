/* `atoll up`: runs a node until it is told to stop. */
#include "cli/options.h"
#include "node/node.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONFIG_PATH "/etc/atoll/atoll.yaml"

struct request {
    const char *config, *data, *listen;
    struct text_list settings;
    uint64_t threads;
};

/* "key=value" of --set. */
static int setting_apply(struct node_config *c, const char *text, struct error *e)
{
    char key[128];
    const char *equals = strchr(text, '=');
    if (equals == NULL || (size_t)(equals - text) >= sizeof key)
        return error_set(e, ATOLL_EINVAL, "--set wants KEY=VALUE, not \"%s\"", text);
    memcpy(key, text, (size_t)(equals - text));
    key[equals - text] = 0;
    return config_set(c, key, equals + 1, e);
}

/* Defaults, file, environment, options: the later wins. */
static int config_gather(const struct request *r, struct node_config *c, struct error *e)
{
    char threads[24];
    config_default(c);
    int rc = config_read(r->config ? r->config : CONFIG_PATH, r->config != NULL, c, e);
    if (rc == 0)
        rc = config_environment(c, e);
    if (rc == 0 && r->data)
        rc = config_set(c, "data", r->data, e);
    if (rc == 0 && r->listen)
        rc = config_set(c, "listen", r->listen, e);
    if (rc == 0 && r->threads) {
        snprintf(threads, sizeof threads, "%llu", (unsigned long long)r->threads);
        rc = config_set(c, "threads", threads, e);
    }
    for (size_t i = 0; rc == 0 && i < r->settings.count; i++)
        rc = setting_apply(c, r->settings.items[i], e);
    return rc;
}

static int node_serve(const struct request *r)
{
    static struct node_config config;
    struct node *node;
    struct error e;
    int rc = config_gather(r, &config, &e);
    if (rc != 0) {
        report_error(&e);
        return EXIT_USAGE;
    }
    rc = node_create(&config, &node, &e);
    if (rc != 0) {
        report_error(&e);
        return rc == -ATOLL_EINVAL ? EXIT_USAGE : EXIT_ATOLL;
    }
    printf("%s\n", node_url(node));
    fflush(stdout);
    clearerr(stdout); /* a service may have nobody to read it; the log has it, too */
    int status = node_run(node);
    node_destroy(node);
    return status;
}

static int up_run(int argc, char **argv)
{
    struct request r = {0};
    const struct option_spec options[] = {
        {"data", 0, OPTION_TEXT, "DIR",
         "where functions and state are kept\n(default $XDG_DATA_HOME/atoll, ~/.local/share/atoll)",
         &r.data, NULL},
        {"listen", 0, OPTION_TEXT, "ADDR:PORT",
         "where to listen (default 127.0.0.1:7777; port 0: any\nfree one, printed)", &r.listen,
         NULL},
        {"config", 0, OPTION_TEXT, "FILE", "settings (default " CONFIG_PATH ", if it is there)",
         &r.config, NULL},
        {"threads", 0, OPTION_COUNT, "N", "guest threads of a worker (default: online processors)",
         &r.threads, NULL},
        {"set", 0, OPTION_LIST, "KEY=VALUE", "a setting as in the file, e.g. limits.input=1MiB",
         &r.settings, NULL},
    };
    struct text_list operands = {0};
    enum options_outcome outcome =
        options_parse(&command_up, options, 5, argc, argv, 0, 0, &operands);
    int status = outcome == OPTIONS_GO     ? node_serve(&r)
                 : outcome == OPTIONS_HELP ? EXIT_OK
                                           : EXIT_USAGE;
    free(operands.items);
    free(r.settings.items);
    return status;
}

const struct command command_up = {
    .name = "up",
    .usage = "[--data DIR] [--listen ADDR:PORT] [OPTIONS]",
    .summary = "run a node: serve functions",
    .description = "Runs a node until SIGTERM or SIGINT: stores functions and state in the data\n"
                   "directory, starts a worker process per tenant, and serves the HTTP interface.\n"
                   "The address is printed once it listens; the log goes to the error output, one\n"
                   "JSON object per line. When told to stop it finishes what runs (setting drain,\n"
                   "default 30s), and takes no new calls.\n"
                   "\n"
                   "Settings come from the file, then from the environment (ATOLL_LISTEN,\n"
                   "ATOLL_LIMITS_INPUT, ...), then from options. docs/operations.md lists them.\n"
                   "\n"
                   "Exit code: 0 after it was told to stop, or\n"
                   "  2    the command line or a setting is wrong\n"
                   "  125  the node cannot start: the data directory or the address is in use, ...",
    .run = up_run,
};
