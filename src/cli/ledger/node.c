/* `atoll ledger node`: one replica, until it is told to stop. */
#include "cli/ledger/ledger.h"
#include "ledger/service/server.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct request {
    const char *listen, *passphrase_file;
    uint64_t threads;
    int mode;
};

struct node {
    uv_loop_t loop;
    uv_signal_t terminate, interrupt;
    struct ledger_server *server;
    bool failed;
};

static void line_tell(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "atoll ledger: %s\n", line);
}

static void signals_close(struct node *n)
{
    uv_close((uv_handle_t *)&n->terminate, NULL);
    uv_close((uv_handle_t *)&n->interrupt, NULL);
}

static void node_stop(struct node *n)
{
    if (n->server == NULL)
        return;
    ledger_server_close(n->server, NULL, NULL);
    n->server = NULL;
    signals_close(n);
}

static void signalled(uv_signal_t *handle, int number)
{
    (void)number;
    node_stop(handle->data);
}

/* A disk that failed may have lost what was written: nothing more may leave this process. */
static void server_stopped(void *context, const char *why)
{
    struct node *n = context;
    fprintf(stderr, "atoll ledger: this replica cannot go on: %s\n", why);
    n->failed = true;
    uv_stop(&n->loop);
}

static void signals_open(struct node *n)
{
    signal(SIGPIPE, SIG_IGN);
    uv_signal_init(&n->loop, &n->terminate);
    uv_signal_init(&n->loop, &n->interrupt);
    n->terminate.data = n->interrupt.data = n;
    uv_signal_start(&n->terminate, signalled, SIGTERM);
    uv_signal_start(&n->interrupt, signalled, SIGINT);
}

static int node_serve(const struct request *r, const char *directory, struct error *e)
{
    static struct node n;
    char *passphrase;
    int rc = ledger_passphrase_read(r->passphrase_file, &passphrase, e);
    if (rc != 0)
        return rc;
    uv_loop_init(&n.loop);
    signals_open(&n);
    struct ledger_server_config config = {.directory = directory,
                                          .passphrase = passphrase,
                                          .listen = r->listen,
                                          .mode = (enum ledger_log_mode)r->mode,
                                          .verify_threads = (unsigned)r->threads,
                                          .tell = line_tell,
                                          .stopped = server_stopped,
                                          .context = &n};
    rc = ledger_server_open(&n.loop, &config, &n.server, e);
    if (passphrase)
        explicit_bzero(passphrase, strlen(passphrase));
    free(passphrase);
    if (rc == 0) {
        struct ledger_status status;
        ledger_status(ledger_server_replica(n.server), &status);
        printf("replica %u of %u: view %" PRIu64 ", %" PRIu64 " transactions\n",
               ledger_server_number(n.server),
               ledger_server_genesis(n.server)->configuration.replica_count, status.view,
               status.next_index - 1);
        fflush(stdout);
        uv_run(&n.loop, UV_RUN_DEFAULT);
        if (n.failed) {
            rc = error_set(e, ATOLL_EIO, "the replica stopped");
            node_stop(&n);
        }
    } else {
        signals_close(&n);
    }
    uv_run(&n.loop, UV_RUN_DEFAULT);
    uv_loop_close(&n.loop);
    return rc;
}

static int node_run(int argc, char **argv)
{
    static const char *const modes[] = {"strict", "async", NULL};
    struct request r = {0};
    const struct option_spec options[] = {
        {"listen", 0, OPTION_TEXT, "HOST:PORT", "instead of the address in the genesis", &r.listen,
         NULL},
        {"mode", 0, OPTION_CHOICE, NULL,
         "strict (default): nothing signed leaves before it is on the disk;\n"
         "async: before it is handed to the kernel, which a machine that\n"
         "stops may lose",
         &r.mode, modes},
        {"threads", 0, OPTION_COUNT, "N", "that check signatures (default 1)", &r.threads, NULL},
        {"passphrase-file", 0, OPTION_TEXT, "FILE", "of the replica's key", &r.passphrase_file,
         NULL},
    };
    struct text_list operands = {0};
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_node, options, 4, argc, argv, 1, 1, &operands, &code))
        return code;
    int rc = node_serve(&r, operands.items[0], &e);
    if (rc != 0)
        report_error(&e);
    free(operands.items);
    return rc == 0 ? EXIT_OK : exit_code_of(&e);
}

const struct command command_ledger_node = {
    .name = "ledger node",
    .usage = "[OPTIONS] DIR",
    .summary = "run one replica",
    .description =
        "Runs the replica whose genesis and replica.key lie in DIR, and whose log and checkpoints\n"
        "are kept there, until SIGTERM.",
    .run = node_run,
};
