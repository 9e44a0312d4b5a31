/* `atoll ledger node`: one replica, until it is told to stop. */
#include "cli/ledger/ledger.h"
#include "ledger/service/http_view.h"

#include <inttypes.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <uv.h>

#define KEPT_BYTES (1 << 30) /* of free memory */

struct request {
    const char *listen, *http, *passphrase_file;
    uint64_t threads;
    int mode;
    bool until_eof;
};

struct node {
    uv_loop_t loop;
    uv_signal_t terminate, interrupt;
    uv_pipe_t input; /* with --until-eof */
    struct ledger_server *server;
    struct http_view *view;
    bool failed;
};

static void line_tell(void *context, const char *line)
{
    (void)context;
    fprintf(stderr, "atoll ledger: %s\n", line);
}

static void signals_close(struct node *n)
{
    if (n->input.loop)
        uv_close((uv_handle_t *)&n->input, NULL);
    uv_close((uv_handle_t *)&n->terminate, NULL);
    uv_close((uv_handle_t *)&n->interrupt, NULL);
}

static void node_stop(struct node *n)
{
    if (n->server == NULL)
        return;
    http_view_close(n->view);
    n->view = NULL;
    ledger_server_close(n->server, NULL, NULL);
    n->server = NULL;
    signals_close(n);
}

static void signalled(uv_signal_t *handle, int number)
{
    (void)number;
    node_stop(handle->data);
}

static void input_room(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    static char room[64];
    (void)handle;
    (void)wanted;
    *out = uv_buf_init(room, sizeof room);
}

static void input_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *bytes)
{
    (void)bytes;
    if (got < 0)
        node_stop(stream->data);
}

/* Whoever holds the other end of the pipe is gone when it ends, whatever ended it. */
static int input_open(struct node *n, struct error *e)
{
    uv_pipe_init(&n->loop, &n->input, 0);
    n->input.data = n;
    if (uv_guess_handle(0) != UV_NAMED_PIPE || uv_pipe_open(&n->input, 0) != 0 ||
        uv_read_start((uv_stream_t *)&n->input, input_room, input_read) != 0)
        return error_set(e, ATOLL_EINVAL, "--until-eof wants a pipe as standard input");
    return 0;
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
}

/* Not before the log is read, which may take minutes: until then a signal ends the process at once,
 * which harms nothing, as nothing has been signed. */
static void signals_start(struct node *n)
{
    uv_signal_start(&n->terminate, signalled, SIGTERM);
    uv_signal_start(&n->interrupt, signalled, SIGINT);
}

/* Every connection takes one. */
static void descriptors_raise(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

/*
 * After every checkpoint the store copies the pages that change, and gives the old ones back when
 * the checkpoint is written. Given to the kernel, they would be zeroed and faulted in again for the
 * next one, while requests wait.
 */
static void memory_keep(void)
{
    mallopt(M_TRIM_THRESHOLD, KEPT_BYTES);
}

static int node_serve(const struct request *r, const char *directory, struct error *e)
{
    static struct node n;
    char *passphrase;
    int rc = ledger_passphrase_read(r->passphrase_file, &passphrase, e);
    if (rc != 0)
        return rc;
    uv_loop_init(&n.loop);
    descriptors_raise();
    memory_keep();
    signals_open(&n);
    struct ledger_server_config config = {.directory = directory,
                                          .passphrase = passphrase,
                                          .listen = r->listen,
                                          .mode = (enum ledger_log_mode)r->mode,
                                          .verify_threads = (unsigned)r->threads,
                                          .tell = line_tell,
                                          .stopped = server_stopped,
                                          .context = &n};
    if (r->until_eof)
        rc = input_open(&n, e);
    if (rc == 0)
        rc = ledger_server_open(&n.loop, &config, &n.server, e);
    if (passphrase)
        explicit_bzero(passphrase, strlen(passphrase));
    free(passphrase);
    if (rc == 0 && r->http)
        rc = http_view_open(&n.loop, n.server, r->http, &n.view, e);
    if (rc != 0) {
        if (n.server)
            ledger_server_close(n.server, NULL, NULL);
        signals_close(&n);
    } else {
        struct ledger_status status;
        signals_start(&n);
        ledger_status(ledger_server_replica(n.server), &status);
        printf("replica %u of %u: view %" PRIu64 ", %" PRIu64 " transactions\n",
               ledger_server_number(n.server),
               ledger_server_genesis(n.server)->configuration.replica_count, status.view,
               status.next_index - 1);
        if (n.view)
            printf("HTTP at port %u\n", http_view_port(n.view));
        fflush(stdout);
        uv_run(&n.loop, UV_RUN_DEFAULT);
        if (n.failed) {
            rc = error_set(e, ATOLL_EIO, "the replica stopped");
            node_stop(&n);
        }
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
        {"http", 0, OPTION_TEXT, "HOST:PORT", "serve the HTTP view there (default: nowhere)",
         &r.http, NULL},
        {"mode", 0, OPTION_CHOICE, NULL,
         "strict (default): nothing signed leaves before it is on the disk;\n"
         "async: before it is handed to the kernel, which a machine that\n"
         "stops may lose",
         &r.mode, modes},
        {"threads", 0, OPTION_COUNT, "N", "that check signatures (default 1)", &r.threads, NULL},
        {"passphrase-file", 0, OPTION_TEXT, "FILE", "of the replica's key", &r.passphrase_file,
         NULL},
        {"until-eof", 0, OPTION_FLAG, NULL,
         "stop, too, when standard input, a pipe, ends: whoever started it\n"
         "is gone then",
         &r.until_eof, NULL},
    };
    struct text_list operands = {0};
    struct error e;
    int code;
    if (!ledger_options(&command_ledger_node, options, 6, argc, argv, 1, 1, &operands, &code))
        return code;
    int rc = node_serve(&r, operands.items[0], &e);
    if (rc != 0)
        ledger_report(&e);
    free(operands.items);
    return rc == 0                   ? EXIT_OK
           : rc == -ATOLL_ESIGNATURE ? EXIT_REFUSED
                                     : EXIT_ATOLL; /* also a full disk, which is no refusal */
}

const struct command command_ledger_node = {
    .name = "ledger node",
    .usage = "[OPTIONS] DIR",
    .summary = "run one replica",
    .description =
        "Runs the replica whose genesis and replica.key lie in DIR, and whose log and\n"
        "checkpoints are kept there, until SIGTERM or SIGINT. (Before it says that it runs, a\n"
        "signal ends it at once, which does no harm.)\n\n"
        "Exit code: 0 after it was told to stop, or\n"
        "  2    the command line is wrong\n"
        "  125  it cannot start: files are missing or damaged, the key is of no replica, an\n"
        "       address or the directory is in use, the disk is full; or its disk failed\n"
        "  126  the passphrase does not open the key",
    .run = node_run,
};
