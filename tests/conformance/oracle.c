/* See oracle.h. */
#define _GNU_SOURCE /* pipe2 */
#include "oracle.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define ORACLE_OUTPUT_MAX (64u << 20)

extern char **environ;

/* Runs a program to its end and appends what it wrote to standard output; *status is its wait
 * status. An empty output pointer throws the output away. */
static int program_run(const char *const *arguments, struct buffer *output, int *status,
                       struct error *e)
{
    int ends[2];
    pid_t process;
    posix_spawn_file_actions_t actions;
    if (pipe2(ends, O_CLOEXEC) != 0)
        return error_set_errno(e, 0, "cannot make a pipe for '%s'", arguments[0]);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, ends[1], 1);
    int failed =
        posix_spawnp(&process, arguments[0], &actions, NULL, (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    if (failed != 0) {
        close(ends[0]);
        errno = failed;
        return error_set_errno(e, 0, "cannot run '%s'", arguments[0]);
    }
    int code = file_read_fd(ends[0], arguments[0], ORACLE_OUTPUT_MAX, output, e);
    close(ends[0]);
    while (waitpid(process, status, 0) < 0 && errno == EINTR)
        ;
    return code;
}

/* V8's flag makes constant expressions what core 3.0 has; later versions ignore it. */
static int v8_run(const struct oracle *o, const char *mode, const char *directory, uint32_t count,
                  struct buffer *output, struct error *e)
{
    char number[16];
    int status;
    snprintf(number, sizeof number, "%u", count);
    const char *arguments[] = {
        o->node, "--experimental-wasm-extended-const", o->script, mode, directory, number, NULL,
    };
    int code = program_run(arguments, output, &status, e);
    if (code == 0 && status != 0)
        code = error_set(e, ATOLL_EIO, "'%s' on the modules in '%s' ended with status %d", o->node,
                         directory, status);
    return code;
}

int oracle_run_v8(const struct oracle *o, const char *directory, uint32_t count,
                  struct transcript *t, struct error *e)
{
    return v8_run(o, "run", directory, count, &t->text, e);
}

int oracle_validate_v8(const struct oracle *o, const char *directory, uint32_t count, bool *valid,
                       struct error *e)
{
    struct buffer text = {0};
    char *rest = NULL;
    int code = v8_run(o, "validate", directory, count, &text, e);
    if (code == 0 && !buffer_append(&text, "", 1))
        code = error_set(e, ATOLL_ENOMEM, "no memory for the verdicts");
    for (char *line = code == 0 ? strtok_r((char *)text.data, "\n", &rest) : NULL; line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        unsigned long module = strtoul(line, &line, 10);
        if (module < count)
            valid[module] = strcmp(line, " valid") == 0;
    }
    buffer_free(&text);
    return code;
}

int oracle_validate_wabt(const struct oracle *o, const char *path, bool *valid, struct error *e)
{
    const char *arguments[] = {
        o->validator, "--enable-threads", "--enable-tail-call", "--enable-extended-const", path,
        NULL,
    };
    struct buffer output = {0};
    int status = 0, code = program_run(arguments, &output, &status, e);
    buffer_free(&output);
    *valid = status == 0;
    return code;
}

/* ---- wasm-interp ---- */

static const struct {
    const char *text, *class;
} interpreter_classes[] = {
    {"unreachable executed", "unreachable"},   {"out of bounds memory", "memory"},
    {"invalid atomic access", "unaligned"},    {"indirect call signature mismatch", "callee"},
    {"uninitialized table element", "callee"}, {"undefined table index", "table"},
    {"out of bounds table", "table"},          {"integer divide by zero", "zero"},
    {"integer overflow", "overflow"},          {"invalid conversion to integer", "conversion"},
    {"call stack exhausted", "exhausted"},     {"not implemented", "unimplemented"},
};

static const char *interpreter_class(const char *message)
{
    for (size_t i = 0; i < sizeof interpreter_classes / sizeof *interpreter_classes; i++)
        if (strstr(message, interpreter_classes[i].text) != NULL)
            return interpreter_classes[i].class;
    return message;
}

/* "name() => i32:1, i64:2" or "name() => error: text" to a line of a transcript. */
static void interpreter_line(const char *line, struct buffer *out)
{
    const char *call = strstr(line, "() =>");
    if (call == NULL)
        return;
    buffer_append(out, line, (size_t)(call - line));
    const char *results = call + 5;
    if (strncmp(results, " error:", 7) == 0) {
        const char *class = interpreter_class(results);
        buffer_append(out, " ! ", 3);
        buffer_append(out, class, strlen(class));
    }
    for (const char *value = strchr(results, ':');
         value != NULL && strstr(results, "error") == NULL; value = strchr(value, ':')) {
        value++;
        buffer_append(out, " ", 1);
        buffer_append(out, value, strcspn(value, ","));
    }
    buffer_append(out, "\n", 1);
}

int oracle_run_interpreter(const struct oracle *o, const char *directory, uint32_t count,
                           struct transcript *t, struct error *e)
{
    int code = 0;
    for (uint32_t i = 0; i < count && code == 0; i++) {
        char path[PATH_MAX], head[32];
        struct buffer output = {0};
        char *rest = NULL;
        int status;
        snprintf(path, sizeof path, "%s/%u.wasm", directory, i);
        const char *arguments[] = {
            o->interpreter, "--enable-threads", "--enable-tail-call", "--run-all-exports", path,
            NULL,
        };
        code = program_run(arguments, &output, &status, e);
        buffer_append(&t->text, head, (size_t)snprintf(head, sizeof head, "module %u\n", i));
        if (code == 0 && buffer_append(&output, "", 1))
            for (char *line = strtok_r((char *)output.data, "\n", &rest); line != NULL;
                 line = strtok_r(NULL, "\n", &rest))
                interpreter_line(line, &t->text);
        buffer_append(&t->text, "end\n", 4);
        buffer_free(&output);
    }
    return code;
}
