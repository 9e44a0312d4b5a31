/* `atoll init`: a new function's directory, from a template of the SDK. */
#define _GNU_SOURCE
#include "cli/options.h"
#include "cli/sdk.h"

#include "base/file.h"
#include "node/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TEMPLATE_BYTES_MAX (1u << 20)
#define PLACEHOLDER        "@NAME@"

/* The names of the templates there are, for messages. */
static void templates_list(const char *folder, char *out, size_t size)
{
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort);
    out[0] = 0;
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.' && strlen(out) + strlen(entries[i]->d_name) + 3 < size)
            strcat(strcat(out, out[0] ? ", " : ""), entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
}

/* Copies text with every placeholder replaced. */
static bool text_fill(const struct buffer *from, const char *name, struct buffer *to)
{
    const size_t mark = sizeof PLACEHOLDER - 1;
    const uint8_t *at = from->data, *end = at + from->len;
    while (at < end) {
        const uint8_t *found = memmem(at, (size_t)(end - at), PLACEHOLDER, mark);
        size_t plain = (size_t)((found ? found : end) - at);
        if (plain && !buffer_append(to, at, plain))
            return false;
        at += plain;
        if (found) {
            if (!buffer_append(to, name, strlen(name)))
                return false;
            at += mark;
        }
    }
    return true;
}

static int file_make(const char *from, const char *to, const char *name, struct error *e)
{
    struct buffer text = {0}, filled = {0};
    int rc = file_read(from, TEMPLATE_BYTES_MAX, &text, e);
    if (rc == 0 && !text_fill(&text, name, &filled))
        rc = error_set(e, ATOLL_ENOMEM, "no memory for %s", to);
    if (rc == 0)
        rc = file_replace(to, filled.data, filled.len, 0644, e);
    buffer_free(&text);
    buffer_free(&filled);
    return rc;
}

static int template_copy(const char *template, const char *directory, const char *name)
{
    struct error e;
    int rc = 0;
    DIR *d = opendir(template);
    for (struct dirent *entry; d && rc == 0 && (entry = readdir(d)) != NULL;) {
        char from[PATH_MAX], to[PATH_MAX];
        if (entry->d_name[0] == '.')
            continue;
        snprintf(from, sizeof from, "%s/%s", template, entry->d_name);
        snprintf(to, sizeof to, "%s/%s", directory, entry->d_name);
        rc = file_make(from, to, name, &e);
    }
    if (d)
        closedir(d);
    if (rc != 0)
        report_error(&e);
    return rc == 0 ? EXIT_OK : EXIT_ATOLL;
}

/* A directory that is not there yet, or empty: nothing is ever overwritten. */
static bool directory_ready(const char *path)
{
    if (mkdir(path, 0777) == 0)
        return true;
    if (errno != EEXIST) {
        fprintf(stderr, "atoll: cannot make %s: %s\n", path, strerror(errno));
        return false;
    }
    if (rmdir(path) == 0 && mkdir(path, 0777) == 0)
        return true;
    fprintf(stderr, "atoll: %s is there already and not empty; choose another name\n", path);
    return false;
}

static int directory_init(const char *directory, const char *kind, const char *name)
{
    char sdk[PATH_MAX], template[PATH_MAX], known[256], base[PATH_MAX];
    struct stat st;
    if (!sdk_find(sdk)) {
        fprintf(stderr,
                "atoll: the SDK is not beside this program; set ATOLL_SDK to where it is\n");
        return EXIT_ATOLL;
    }
    snprintf(base, sizeof base, "%s", directory);
    while (strlen(base) > 1 && base[strlen(base) - 1] == '/')
        base[strlen(base) - 1] = 0;
    const char *last = strrchr(base, '/');
    name = name ? name : last ? last + 1 : base;
    if (!name_is_valid(name, strlen(name)))
        return usage_error(&command_init,
                           "\"%s\" cannot be a function's name (a-z, 0-9 and -); give one with "
                           "--name",
                           name);
    if ((size_t)snprintf(template, sizeof template, "%s/templates/%s", sdk, kind) >=
            sizeof template ||
        strchr(kind, '/') || stat(template, &st) != 0) {
        snprintf(template, sizeof template, "%s/templates", sdk);
        templates_list(template, known, sizeof known);
        return usage_error(&command_init, "there is no template %s; there are %s", kind, known);
    }
    if (!directory_ready(directory))
        return EXIT_ATOLL;
    int exit_code = template_copy(template, directory, name);
    if (exit_code == EXIT_OK)
        printf("%s: function %s, from template %s\nnext: atoll deploy %s && atoll invoke %s\n",
               directory, name, kind, directory, name);
    return exit_code;
}

static int init_run(int argc, char **argv)
{
    const char *kind = "function", *name = NULL;
    const struct option_spec options[] = {
        {"template", 0, OPTION_TEXT, "NAME", "function (default), http, chain, state, or wasi",
         &kind, NULL},
        {"name", 0, OPTION_TEXT, "FUNCTION", "the function's name (default: the directory's)",
         &name, NULL},
    };
    struct text_list operands = {0};
    enum options_outcome outcome =
        options_parse(&command_init, options, 2, argc, argv, 1, 1, &operands);
    int status = outcome == OPTIONS_GO     ? directory_init(operands.items[0], kind, name)
                 : outcome == OPTIONS_HELP ? (int)EXIT_OK
                                           : (int)EXIT_USAGE;
    free(operands.items);
    return status;
}

const struct command command_init = {
    .name = "init",
    .usage = "[--template NAME] DIR",
    .summary = "start a function: source, manifest, test",
    .description =
        "Makes a directory with a small function in C, its manifest, a test that runs it\n"
        "in a plain process, and a Makefile. Templates:\n"
        "  function  input to output\n"
        "  http      answers HTTP requests\n"
        "  chain     starts many calls and waits for them\n"
        "  state     shares memory between calls\n"
        "  wasi      an ordinary program: standard input to standard output\n"
        "\n"
        "Exit code: 0, or\n"
        "  2    the command line is wrong\n"
        "  125  DIR is there and not empty, cannot be written, or the SDK is missing",
    .run = init_run,
};
