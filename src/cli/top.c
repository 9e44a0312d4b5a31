/* `atoll top`: what a node does, refreshed every second. */
#define _GNU_SOURCE
#include "cli/action.h"
#include "cli/table.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define REFRESH_MS  1000
#define RECENT_ROWS 10

static void head_print(const cJSON *o, FILE *out)
{
    char state[24], uptime[24];
    const cJSON *f;
    double rate = 0;
    cJSON_ArrayForEach(f, cJSON_GetObjectItemCaseSensitive(o, "functions")) rate +=
        member_number(f, "calls_per_s");
    fprintf(out, "node %.0f, version %s, up %s%s\n", member_number(o, "node"),
            member_text(o, "version"), text_duration(member_number(o, "uptime_s") * 1e9, uptime),
            cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "draining")) ? ", draining" : "");
    const cJSON *s = cJSON_GetObjectItemCaseSensitive(o, "state");
    fprintf(out, "%.1f calls/s, %.0f under way, %d workers, %s of state\n\n", rate,
            member_number(o, "live_calls"),
            cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(o, "workers")),
            text_bytes(member_number(s, "local_bytes"), state));
}

static void functions_print(const cJSON *o, FILE *out)
{
    static const char *const heads[] = {"FUNCTION", ">CALLS/S", ">CALLS", ">FAILED", ">P50",
                                        ">P99",     ">HOT",     ">WARM",  ">COLD",   NULL};
    const cJSON *f;
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(f, cJSON_GetObjectItemCaseSensitive(o, "functions"))
    {
        char p50[24], p99[24];
        table_cell(t, "%s", member_text(f, "function"));
        table_cell(t, "%.1f", member_number(f, "calls_per_s"));
        table_cell(t, "%.0f", member_number(f, "calls"));
        table_cell(t, "%.0f", member_number(f, "failed"));
        table_cell(t, "%s", text_duration(member_number(f, "p50_ns"), p50));
        table_cell(t, "%s", text_duration(member_number(f, "p99_ns"), p99));
        table_cell(t, "%.0f", member_number(f, "hot"));
        table_cell(t, "%.0f", member_number(f, "warm"));
        table_cell(t, "%.0f", member_number(f, "cold"));
    }
    table_print(t, out);
}

static void recent_print(const cJSON *o, FILE *out)
{
    static const char *const heads[] = {"CALL",   "FUNCTION", "STATUS", "START",
                                        ">QUEUE", ">RUN",     NULL};
    const cJSON *c;
    int rows = 0;
    struct table *t = table_create(heads);
    cJSON_ArrayForEach(c, cJSON_GetObjectItemCaseSensitive(o, "recent"))
    {
        char queue[24], run[24];
        if (rows++ == RECENT_ROWS)
            break;
        table_cell(t, "%s", member_text(c, "call"));
        table_cell(t, "%s", member_text(c, "function"));
        table_cell(t, "%s", member_text(c, "status"));
        table_cell(t, "%s", member_text(c, "temperature"));
        table_cell(t, "%s", text_duration(member_number(c, "queue_ns"), queue));
        table_cell(t, "%s", text_duration(member_number(c, "run_ns"), run));
    }
    fputc('\n', out);
    table_print(t, out);
}

static void top_print(const cJSON *o)
{
    head_print(o, stdout);
    functions_print(o, stdout);
    recent_print(o, stdout);
}

/* ---- the terminal ---- */

static struct termios terminal_before;

static void terminal_restore(void)
{
    fputs("\033[?25h\033[?1049l", stdout);
    fflush(stdout);
    tcsetattr(STDIN_FILENO, TCSANOW, &terminal_before);
}

static void terminal_leave(int signal_number)
{
    terminal_restore();
    _exit(128 + signal_number);
}

static bool terminal_take(void)
{
    struct termios raw;
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO) ||
        tcgetattr(STDIN_FILENO, &terminal_before) != 0)
        return false;
    raw = terminal_before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    atexit(terminal_restore);
    signal(SIGINT, terminal_leave);
    signal(SIGTERM, terminal_leave);
    fputs("\033[?1049h\033[?25l", stdout);
    return true;
}

/* True when q was pressed within the time. */
static bool quit_pressed(int ms)
{
    struct pollfd keyboard = {STDIN_FILENO, POLLIN, 0};
    char key;
    return poll(&keyboard, 1, ms) == 1 && read(STDIN_FILENO, &key, 1) == 1 && key == 'q';
}

static int top_follow(struct client *c)
{
    int exit_code;
    do {
        cJSON *o = client_get_json(c, "/v1/top", &exit_code);
        if (o == NULL)
            return exit_code;
        fputs("\033[H\033[J", stdout);
        top_print(o);
        fputs("\nq quits\n", stdout);
        fflush(stdout);
        cJSON_Delete(o);
    } while (!quit_pressed(REFRESH_MS));
    return EXIT_OK;
}

static int top_run(int argc, char **argv)
{
    struct client_settings settings = {0};
    bool once = false;
    int exit_code;
    const struct option_spec options[] = {
        {"once", 0, OPTION_FLAG, NULL, "print once and end, as it does without a terminal", &once,
         NULL},
        CLIENT_OPTIONS(&settings),
    };
    struct text_list operands = {0};
    enum options_outcome outcome =
        options_parse(&command_top, options, 1 + CLIENT_OPTION_COUNT, argc, argv, 0, 0, &operands);
    free(operands.items);
    if (outcome != OPTIONS_GO)
        return outcome == OPTIONS_HELP ? EXIT_OK : EXIT_USAGE;
    struct client *c = client_open(&settings, &exit_code);
    if (c == NULL)
        return exit_code;
    if (once || settings.json || !terminal_take())
        exit_code = action_show(c, &settings, "/v1/top", top_print);
    else
        exit_code = top_follow(c);
    client_close(c);
    return exit_code;
}

const struct command command_top = {
    .name = "top",
    .usage = "[--once] [--json]",
    .summary = "watch what a node does",
    .description = "Functions by calls per second, their latency over the last minute, how they\n"
                   "were started, and the latest calls. The same is to be seen in a browser at\n"
                   "the node's address." CLIENT_EXITS("the node refused; its reason is printed"),
    .run = top_run,
};
