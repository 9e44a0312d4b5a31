/* A node of its own for a benchmark, and calls to it. */
#define _GNU_SOURCE
#include "cli/bench/bench.h"

#include "cli/scratch.h"
#include "cli/sdk.h"
#include "net/http_client.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SETTINGS_MAX 16

/* ---- directories ---- */

/* One for each node, within the command's own. */
static void directory_make(char *out, size_t size)
{
    static uint32_t count;
    struct error e;
    const char *scratch = scratch_directory(&e);
    if (scratch == NULL)
        bench_fail(1, "%s", e.text);
    int len = snprintf(out, size, "%s/%u", scratch, count++);
    if (len < 0 || (size_t)len >= size)
        bench_fail(1, "the path in TMPDIR is too long for a benchmark");
    if (mkdir(out, 0700) < 0)
        bench_fail(1, "cannot make a directory %s: %s", out, strerror(errno));
}

/* The end of the node's log, before its directory goes. */
static void log_show(const struct bench_node *n)
{
    char path[PATH_MAX], text[4096];
    snprintf(path, sizeof path, "%s/log", n->directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    off_t len = fd < 0 ? 0 : lseek(fd, 0, SEEK_END);
    ssize_t got = fd < 0 ? 0
                         : pread(fd, text, sizeof text,
                                 len > (off_t)sizeof text ? len - (off_t)sizeof text : 0);
    if (got > 0)
        fwrite(text, 1, (size_t)got, stderr);
    if (fd >= 0)
        close(fd);
}

/* ---- processes ---- */

static void node_exec(const struct bench_node *n, const char *const *settings, int output)
{
    char log[PATH_MAX];
    const char *arguments[8 + 2 * SETTINGS_MAX] = {"atoll",       "up",     "--listen",
                                                   "127.0.0.1:0", "--data", n->directory};
    size_t count = 6;
    for (size_t i = 0; settings && settings[i] && i < SETTINGS_MAX; i++) {
        arguments[count++] = "--set";
        arguments[count++] = settings[i];
    }
    snprintf(log, sizeof log, "%s/log", n->directory);
    int errors = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    dup2(output, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    execv("/proc/self/exe", (char **)arguments);
    _exit(127);
}

/* The line with its address, which the node prints once it listens. */
static bool url_read(struct bench_node *n, int fd)
{
    size_t len = 0;
    ssize_t got;
    while (len + 1 < sizeof n->url && (got = read(fd, n->url + len, sizeof n->url - 1 - len)) > 0) {
        len += (size_t)got;
        n->url[len] = 0;
        char *end = strchr(n->url, '\n');
        const char *colon = strrchr(n->url, ':');
        if (end && colon) {
            *end = 0;
            n->port = (uint16_t)strtoul(colon + 1, NULL, 10);
            return true;
        }
    }
    return false;
}

static void client_open(struct bench_node *n)
{
    struct error e;
    const struct http_client_options options = {.idle_ms = UINT32_MAX};
    if (http_client_create(&options, &n->client, &e) < 0)
        bench_fail(1, "%s", e.text);
}

void bench_node_start(struct bench_node *n, const char *const *settings)
{
    int output[2];
    *n = (struct bench_node){0};
    directory_make(n->directory, sizeof n->directory);
    if (pipe2(output, O_CLOEXEC) < 0)
        bench_fail(1, "pipe: %s", strerror(errno));
    n->pid = bench_child();
    if (n->pid == 0)
        node_exec(n, settings, output[1]);
    close(output[1]);
    if (!url_read(n, output[0])) {
        log_show(n);
        bench_fail(1, "the node does not start; its log says why");
    }
    close(output[0]);
    client_open(n);
}

void bench_node_join(struct bench_node *out, const struct bench_node *n)
{
    *out = *n;
    client_open(out);
}

void bench_node_leave(struct bench_node *n)
{
    http_client_destroy(n->client);
}

void bench_node_stop(struct bench_node *n)
{
    http_client_destroy(n->client);
    kill(n->pid, SIGKILL);
    waitpid(n->pid, NULL, 0);
    n->pid = 0;
}

void bench_command(const char *const *arguments, const char *output)
{
    int status;
    pid_t pid = bench_child();
    if (pid == 0) {
        int to =
            output ? open(output, O_WRONLY | O_CREAT | O_TRUNC, 0600) : open("/dev/null", O_WRONLY);
        dup2(to, STDOUT_FILENO);
        if (strcmp(arguments[0], "atoll") == 0)
            execv("/proc/self/exe", (char **)arguments);
        execvp(arguments[0], (char **)arguments);
        _exit(127);
    }
    if (waitpid(pid, &status, 0) != pid || status != 0)
        bench_fail(1, "%s %s failed", arguments[0], arguments[1] ? arguments[1] : "");
}

void bench_deploy_module(const struct bench_node *n, const char *path, const char *name,
                         const char *manifest)
{
    char description[256];
    snprintf(description, sizeof description, "%s/manifest.yaml", n->directory);
    FILE *f = fopen(description, "we");
    if (f == NULL)
        bench_fail(1, "cannot write %s", description);
    fprintf(f, "name: %s\n%s", name, manifest);
    fclose(f);
    bench_command((const char *const[]){"atoll", "deploy", path, "--name", name, "--manifest",
                                        description, "--node", n->url, NULL},
                  NULL);
}

void bench_deploy(const struct bench_node *n, const char *source, const char *name,
                  const char *manifest)
{
    char sdk[PATH_MAX], path[PATH_MAX + 64];
    if (!sdk_find(sdk))
        bench_fail(1, "the sources of the benchmarks (share/atoll/sdk/bench) are not installed");
    snprintf(path, sizeof path, "%s/bench/%s.c", sdk, source);
    bench_deploy_module(n, path, name, manifest);
}

/* ---- calls ---- */

static void request_do(struct bench_node *n, enum http_method method, const char *path,
                       const struct http_header *headers, size_t header_count, const void *body,
                       size_t body_len, struct http_client_response *response)
{
    char text[256];
    struct url url;
    struct error e;
    snprintf(text, sizeof text, "%s%s", n->url, path);
    struct http_client_request request = {.method = method,
                                          .url = &url,
                                          .headers = headers,
                                          .header_count = header_count,
                                          .body = body,
                                          .body_len = body_len};
    *response = (struct http_client_response){0};
    if (url_parse(text, &url, &e) < 0 || http_client_request(n->client, &request, response, &e) < 0)
        bench_fail(1, "%s: %s", path, e.text);
}

/* "spin" is the default tenant's, "other/spin" another's. */
static void function_path(char out[static 128], const char *kind, const char *function)
{
    snprintf(out, 128, "/v1/%s/%s%s", kind, strchr(function, '/') ? "" : "default/", function);
}

void bench_call_bytes(struct bench_node *n, const char *function, const void *input, size_t len,
                      const char *start, struct bench_reply *reply)
{
    char path[128];
    struct http_client_response response;
    const struct http_header header = http_header_text("atoll-start", start ? start : "");
    function_path(path, "fn", function);
    int64_t begun = clock_monotonic_ns();
    request_do(n, HTTP_POST, path, &header, start != NULL, input, len, &response);
    *reply = (struct bench_reply){.status = response.status,
                                  .output = response.body,
                                  .wall_us = (double)(clock_monotonic_ns() - begun) / 1e3};
    const char *temperature = http_head_value(response.head, "atoll-temperature");
    snprintf(reply->temperature, sizeof reply->temperature, "%s", temperature ? temperature : "");
    const char *timing = http_head_value(response.head, "server-timing");
    const char *restore = timing ? strstr(timing, "restore;dur=") : NULL;
    reply->restore_us = restore ? strtod(restore + 12, NULL) * 1e3 : NAN;
}

void bench_call(struct bench_node *n, const char *function, const char *input, const char *start,
                struct bench_reply *reply)
{
    bench_call_bytes(n, function, input, strlen(input), start, reply);
}

void bench_call_good(struct bench_node *n, const char *function, const char *input,
                     const char *start, struct bench_reply *reply)
{
    bench_call(n, function, input, start, reply);
    if (reply->status != 200)
        bench_fail(1, "%s (%s): status %u, %.*s", function, input, reply->status,
                   (int)reply->output.len, reply->output.data ? (char *)reply->output.data : "");
}

static void act_text(char out[64], const char *act, uint32_t n)
{
    snprintf(out, 64, "%s %u", act, n);
}

void bench_times(struct bench_node *n, const char *act, uint32_t count, struct samples *us)
{
    char text[64];
    struct bench_reply reply;
    act_text(text, act, count);
    bench_call_good(n, "probe", text, NULL, &reply);
    for (size_t at = 0; at + 4 <= reply.output.len; at += 4)
        samples_add(us, load_u32(reply.output.data + at) / 1e3);
    buffer_free(&reply.output);
}

double bench_act_ms(struct bench_node *n, const char *act, uint32_t count, const char *wanted)
{
    char text[64];
    struct bench_reply reply;
    act_text(text, act, count);
    bench_call_good(n, "probe", text, NULL, &reply);
    if (wanted &&
        (reply.output.len != strlen(wanted) || memcmp(reply.output.data, wanted, reply.output.len)))
        bench_fail(1, "%s put out %.*s, not %s", text, (int)reply.output.len,
                   (char *)reply.output.data, wanted);
    buffer_free(&reply.output);
    return reply.wall_us / 1e3;
}

#define BATCH_MOST 10000u

void bench_batch(struct bench_node *n, const char *function, const char *input, uint32_t count)
{
    char path[128], line[64];
    const struct http_header header = http_header_text("content-type", "application/x-ndjson");
    function_path(path, "batch", function);
    snprintf(line, sizeof line, "\"%s\"\n", input);
    while (count > 0) {
        struct buffer body = {0};
        struct http_client_response response;
        uint32_t part = count < BATCH_MOST ? count : BATCH_MOST;
        for (uint32_t i = 0; i < part; i++)
            if (!buffer_append(&body, line, strlen(line)))
                bench_fail(1, "out of memory");
        request_do(n, HTTP_POST, path, &header, 1, body.data, body.len, &response);
        if (response.status >= 300)
            bench_fail(1, "a batch of %u calls: status %u", part, response.status);
        http_client_response_free(&response);
        buffer_free(&body);
        count -= part;
    }
}

double bench_state_u64(struct bench_node *n, const char *key)
{
    char path[128];
    struct http_client_response response;
    snprintf(path, sizeof path, "/v1/state/default/%s", key);
    request_do(n, HTTP_GET, path, NULL, 0, NULL, 0, &response);
    if (response.status != 200 || response.body.len != 8)
        bench_fail(1, "state %s: status %u", key, response.status);
    double value = (double)load_u64(response.body.data);
    http_client_response_free(&response);
    return value;
}

double bench_top(struct bench_node *n, const char *name)
{
    struct http_client_response response;
    request_do(n, HTTP_GET, "/v1/top", NULL, 0, NULL, 0, &response);
    cJSON *o = cJSON_ParseWithLength((const char *)response.body.data, response.body.len);
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(o, name);
    double number = cJSON_IsNumber(value) ? value->valuedouble : NAN;
    cJSON_Delete(o);
    http_client_response_free(&response);
    return number;
}

/* ---- memory ---- */

/* A field of a file in /proc, in KiB. */
static double field_kib(pid_t pid, const char *file, const char *field)
{
    char path[64], line[256];
    double kib = 0;
    snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
    FILE *f = fopen(path, "re");
    size_t len = strlen(field);
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, field, len) == 0)
            kib = strtod(line + len, NULL);
    if (f)
        fclose(f);
    return kib;
}

void bench_memory(const struct bench_node *n, struct bench_memory *out)
{
    char path[96];
    int pid;
    *out = (struct bench_memory){0};
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", n->pid, n->pid);
    FILE *f = fopen(path, "re");
    while (f && fscanf(f, "%d", &pid) == 1) {
        char name[32] = "";
        snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
        FILE *command = fopen(path, "re");
        size_t len = command ? fread(name, 1, sizeof name - 1, command) : 0;
        if (command)
            fclose(command);
        if (len < 13 || memcmp(name, "atoll\0worker", 13) != 0)
            continue;
        out->pss_kib += field_kib(pid, "smaps_rollup", "Pss:");
        out->tables_kib += field_kib(pid, "status", "VmPTE:");
        out->workers++;
    }
    if (f)
        fclose(f);
}
