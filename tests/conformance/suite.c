/* See suite.h. */
#include "suite.h"

#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define SUITE_FILE_MAX_BYTES (16u << 20)

extern char **environ;

static const char *const patterns[] = {
    "*.wast",
    "proposals/tail-call/*.wast",
    "proposals/extended-const/*.wast",
    "proposals/threads/*.wast",
};

/* Abbreviations of the text format that wabt 1.0.32 cannot read, and what they stand for: the index
 * of table 0 left out, and instructions between `if` and `then`. */
static const struct {
    const char *from, *to;
} expansions[] = {
    {"(table.get (", "(table.get 0 ("},
    {"(table.set (", "(table.set 0 ("},
    {"(table.grow (", "(table.grow 0 ("},
    {"(table.fill (", "(table.fill 0 ("},
    {"table.size)", "table.size 0)"},
    {"(if (i32.const 1) (i32.eqz) (then)", "(i32.const 1) (i32.eqz) (if (then)"},
};

static int suite_add(struct suite *s, const char *directory, const char *path, struct error *e)
{
    struct suite_file *files = realloc(s->files, (s->count + 1) * sizeof *files);
    if (files == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the list of the suite's files");
    s->files = files;
    const char *name = path + strlen(directory) + 1;
    files[s->count] = (struct suite_file){
        .path = strdup(path),
        .name = strdup(name),
        .threads = strstr(name, "threads/") != NULL,
    };
    if (files[s->count].path == NULL || files[s->count].name == NULL)
        return error_set(e, ATOLL_ENOMEM, "no memory for the list of the suite's files");
    s->count++;
    return 0;
}

int suite_find(const char *directory, struct suite *out, struct error *e)
{
    int code = 0;
    *out = (struct suite){0};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns && code == 0; i++) {
        char pattern[PATH_MAX];
        glob_t found;
        snprintf(pattern, sizeof pattern, "%s/%s", directory, patterns[i]);
        if (glob(pattern, 0, NULL, &found) != 0)
            continue;
        for (size_t k = 0; k < found.gl_pathc && code == 0; k++)
            code = suite_add(out, directory, found.gl_pathv[k], e);
        globfree(&found);
    }
    if (code == 0 && out->count == 0)
        code = error_set(e, ATOLL_ENOENT, "no .wast file in '%s'; name the suite's directory",
                         directory);
    if (code != 0)
        suite_free(out);
    return code;
}

void suite_free(struct suite *s)
{
    for (uint32_t i = 0; i < s->count; i++) {
        free(s->files[i].path);
        free(s->files[i].name);
    }
    free(s->files);
    *s = (struct suite){0};
}

/* Runs wast2json with its messages going to DIRECTORY/log. */
static int converter_run(const char *wast2json, const char *input, bool threads,
                         const char *directory, struct error *e)
{
    char output[PATH_MAX], log[PATH_MAX];
    posix_spawn_file_actions_t actions;
    pid_t process;
    int status, failed;
    snprintf(output, sizeof output, "%s/out.json", directory);
    snprintf(log, sizeof log, "%s/log", directory);
    const char *arguments[] = {
        wast2json, "--enable-tail-call", "--enable-extended-const", input, "-o", output, NULL,
        NULL};
    if (threads)
        arguments[6] = "--enable-threads";
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    failed = posix_spawnp(&process, wast2json, &actions, NULL, (char *const *)arguments, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) {
        errno = failed;
        return error_set_errno(e, 0, "cannot run '%s'; install wabt", wast2json);
    }
    while (waitpid(process, &status, 0) < 0 && errno == EINTR)
        ;
    struct stat made;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && stat(output, &made) == 0 &&
        made.st_size > 0)
        return 0;
    char said[300] = "";
    FILE *file = fopen(log, "r");
    if (file != NULL) {
        said[fread(said, 1, sizeof said - 1, file)] = '\0';
        fclose(file);
    }
    said[strcspn(said, "\n")] = '\0';
    return error_set(e, ATOLL_EINVAL, "wast2json cannot convert it (status %d): %s", status, said);
}

/* Copies the text with every abbreviation expanded. False: out of memory. */
static bool text_expand(const struct buffer *text, struct buffer *out)
{
    const size_t count = sizeof expansions / sizeof *expansions;
    for (size_t at = 0; at < text->len;) {
        size_t i = 0;
        while (i < count &&
               (text->len - at < strlen(expansions[i].from) ||
                memcmp(text->data + at, expansions[i].from, strlen(expansions[i].from)) != 0))
            i++;
        const void *piece = i < count ? (const void *)expansions[i].to : text->data + at;
        if (!buffer_append(out, piece, i < count ? strlen(expansions[i].to) : 1))
            return false;
        at += i < count ? strlen(expansions[i].from) : 1;
    }
    return true;
}

/* Converts a copy in which the abbreviations are expanded. */
static int converter_run_expanded(const struct suite_file *file, const char *wast2json,
                                  const char *directory, struct error *e)
{
    char path[PATH_MAX];
    struct buffer text = {0}, expanded = {0};
    struct error first = *e;
    int code = file_read(file->path, SUITE_FILE_MAX_BYTES, &text, e);
    if (code == 0 && !text_expand(&text, &expanded))
        code = error_set(e, ATOLL_ENOMEM, "no memory to expand '%s'", file->name);
    if (code == 0 && expanded.len == text.len && memcmp(expanded.data, text.data, text.len) == 0) {
        *e = first; /* nothing to expand: the first complaint stands */
        code = first.code;
    }
    if (code == 0) {
        snprintf(path, sizeof path, "%s/expanded.wast", directory);
        code = file_replace(path, expanded.data, expanded.len, 0644, e);
    }
    if (code == 0)
        code = converter_run(wast2json, path, file->threads, directory, e);
    buffer_free(&text);
    buffer_free(&expanded);
    return code;
}

int suite_convert(const struct suite_file *file, const char *wast2json, const char *directory,
                  struct error *e)
{
    int code = directory_make(directory, 0755, e);
    if (code != 0)
        return code;
    if (converter_run(wast2json, file->path, file->threads, directory, e) == 0)
        return 0;
    return converter_run_expanded(file, wast2json, directory, e);
}
