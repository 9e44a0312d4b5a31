/*
 * `atoll deploy`: puts a function onto a node, from a module, a C source, or a directory with a
 * manifest.
 *
 * A directory's module is the newest of what is there: when a C source (other than test.c) is newer
 * than FUNCTION.wasm, or that is missing, it is built first, by this same program.
 */
#define _GNU_SOURCE
#include "cli/client.h"
#include "cli/scratch.h"

#include "base/file.h"
#include "node/manifest.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOURCES_MAX 64
#define MODULE_MAX  (1ull << 30)

struct request {
    struct client_settings client;
    const char *name, *manifest, *alias;
};

/* What is to be sent. */
struct parcel {
    char name[2 * NAME_MAX_LEN + 2]; /* tenant/function */
    char module_path[PATH_MAX];
    struct buffer manifest, module;
};

/* ---- building ---- */

/* Runs `atoll build SOURCES -o OUT`. */
static int sources_build(const char *const *sources, size_t count, const char *out)
{
    const char *arguments[SOURCES_MAX + 5] = {"atoll", "build"};
    size_t n = 2;
    for (size_t i = 0; i < count; i++)
        arguments[n++] = sources[i];
    arguments[n++] = "-o";
    arguments[n++] = out;
    arguments[n] = NULL;
    int status;
    pid_t child = child_fork(SIGTERM);
    if (child == 0) {
        execv("/proc/self/exe", (char *const *)arguments);
        _exit(EXIT_ATOLL);
    }
    if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return EXIT_ATOLL;
    return WEXITSTATUS(status);
}

static bool has_suffix(const char *text, const char *suffix)
{
    size_t a = strlen(text), b = strlen(suffix);
    return a > b && strcmp(text + a - b, suffix) == 0;
}

static int64_t modified(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec : -1;
}

/* The C sources of a directory but test.c, and when the newest source or header was written. */
static size_t sources_find(const char *directory, char *paths[SOURCES_MAX], int64_t *newest)
{
    size_t count = 0;
    DIR *d = opendir(directory);
    *newest = -1;
    for (struct dirent *entry; d && (entry = readdir(d)) != NULL;) {
        const char *name = entry->d_name;
        char path[PATH_MAX];
        bool source = has_suffix(name, ".c") && strcmp(name, "test.c") != 0;
        if (!source && !has_suffix(name, ".h"))
            continue;
        snprintf(path, sizeof path, "%s/%s", directory, name);
        int64_t when = modified(path);
        *newest = when > *newest ? when : *newest;
        if (source && count < SOURCES_MAX && (paths[count] = strdup(path)) != NULL)
            count++;
    }
    if (d)
        closedir(d);
    return count;
}

/* The directory's module, built when it is missing or older than its sources. */
static int directory_module(const char *directory, const char *function, char out[PATH_MAX])
{
    char *sources[SOURCES_MAX];
    int64_t newest;
    int exit_code = EXIT_OK;
    snprintf(out, PATH_MAX, "%s/%s.wasm", directory, function);
    int64_t built = modified(out);
    size_t count = sources_find(directory, sources, &newest);
    if (count > 0 && built < newest) {
        fprintf(stderr, "building %s\n", out);
        exit_code = sources_build((const char *const *)sources, count, out);
    } else if (built < 0) {
        fprintf(stderr, "atoll: there is neither %s nor a C source in %s\n", out, directory);
        exit_code = EXIT_NO_FILE;
    }
    for (size_t i = 0; i < count; i++)
        free(sources[i]);
    return exit_code;
}

/* ---- what to send ---- */

/* tenant/function from --name, the manifest, or the file's name. */
static int name_choose(const struct request *r, const char *path, const struct manifest *m,
                       struct parcel *p)
{
    char base[PATH_MAX], tenant[NAME_MAX_LEN + 1], function[NAME_MAX_LEN + 1];
    struct error e;
    if (r->name == NULL && m && m->function[0]) {
        snprintf(p->name, sizeof p->name, "%s/%s", m->tenant, m->function);
        return EXIT_OK;
    }
    const char *slash = strrchr(path, '/');
    snprintf(base, sizeof base, "%s", slash ? slash + 1 : path);
    char *dot = strrchr(base, '.');
    if (dot)
        *dot = 0;
    for (char *c = base; *c; c++)
        *c = *c == '_' || *c == '.' ? '-' : *c;
    const char *name = r->name ? r->name : base;
    if (name_split(name, strlen(name), tenant, function, &e) != 0) {
        report_error(&e);
        if (r->name == NULL)
            fprintf(stderr, "atoll: give the function a name with --name\n");
        return EXIT_USAGE;
    }
    snprintf(p->name, sizeof p->name, "%s/%s", tenant, function);
    return EXIT_OK;
}

/* Reads and checks a manifest here, so that a mistake is told before anything is built. */
static int manifest_read(const char *path, const char *name, struct parcel *p, struct manifest *m)
{
    struct error e;
    int rc = file_read(path, MANIFEST_BYTES_MAX, &p->manifest, &e);
    if (rc == 0)
        rc = manifest_parse(p->manifest.data, p->manifest.len, name, m, &e);
    if (rc == 0)
        return EXIT_OK;
    fprintf(stderr, "atoll: %s: %s\n", path, e.text);
    return rc == -ATOLL_EINVAL ? EXIT_REFUSED : EXIT_NO_FILE;
}

static int directory_pack(const struct request *r, const char *directory, struct parcel *p)
{
    char path[PATH_MAX];
    struct manifest m = {0};
    snprintf(path, sizeof path, "%s/atoll.yaml", directory);
    int exit_code = manifest_read(r->manifest ? r->manifest : path, r->name, p, &m);
    if (exit_code == EXIT_OK)
        exit_code = name_choose(r, directory, &m, p);
    if (exit_code == EXIT_OK)
        exit_code = directory_module(directory, m.function, p->module_path);
    manifest_free(&m);
    return exit_code;
}

static int file_pack(const struct request *r, const char *path, struct parcel *p)
{
    struct manifest m = {0};
    int exit_code = EXIT_OK;
    if (r->manifest)
        exit_code = manifest_read(r->manifest, r->name, p, &m);
    if (exit_code == EXIT_OK)
        exit_code = name_choose(r, path, r->manifest ? &m : NULL, p);
    manifest_free(&m);
    if (exit_code != EXIT_OK)
        return exit_code;
    if (!has_suffix(path, ".c")) {
        snprintf(p->module_path, sizeof p->module_path, "%s", path);
        return EXIT_OK;
    }
    /* The linker writes the module's file name into it: equal sources shall give equal modules. */
    struct error e;
    const char *folder = scratch_directory(&e);
    if (folder == NULL) {
        report_error(&e);
        return EXIT_ATOLL;
    }
    snprintf(p->module_path, sizeof p->module_path, "%s/%s.wasm", folder, strchr(p->name, '/') + 1);
    return sources_build(&path, 1, p->module_path);
}

static int parcel_pack(const struct request *r, const char *path, struct parcel *p)
{
    struct stat st;
    struct error e;
    if (stat(path, &st) != 0) {
        fprintf(stderr, "atoll: cannot read %s: %s\n", path, strerror(errno));
        return EXIT_NO_FILE;
    }
    int exit_code = S_ISDIR(st.st_mode) ? directory_pack(r, path, p) : file_pack(r, path, p);
    if (exit_code == EXIT_OK && file_read(p->module_path, MODULE_MAX, &p->module, &e) != 0) {
        report_error(&e);
        exit_code = EXIT_NO_FILE;
    }
    return exit_code;
}

/* ---- sending ---- */

static bool form_part(struct buffer *body, const char *boundary, const char *name,
                      const struct buffer *bytes)
{
    char head[256];
    int len =
        snprintf(head, sizeof head, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n",
                 boundary, name);
    return buffer_append(body, head, (size_t)len) &&
           (bytes->len == 0 || buffer_append(body, bytes->data, bytes->len)) &&
           buffer_append(body, "\r\n", 2);
}

/* A boundary of random digits: it stands in no module but by chance of 1 in 2^128. */
static bool form_write(const struct parcel *p, char boundary[40], struct buffer *body)
{
    uint8_t random[16];
    char end[64];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    for (int i = 0; i < 16; i++)
        snprintf(boundary + 2 * i, 3, "%02x", random[i]);
    int len = snprintf(end, sizeof end, "--%s--\r\n", boundary);
    return form_part(body, boundary, "module", &p->module) &&
           (p->manifest.len == 0 || form_part(body, boundary, "manifest", &p->manifest)) &&
           buffer_append(body, end, (size_t)len);
}

static int answer_print(const struct request *r, const struct parcel *p,
                        const struct http_client_response *reply)
{
    if (r->client.json) {
        fwrite(reply->body.data, 1, reply->body.len, stdout);
        putchar('\n');
        return EXIT_OK;
    }
    cJSON *o = cJSON_ParseWithLength((const char *)reply->body.data, reply->body.len);
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(o, "version");
    printf("%s %s (%s)\n", p->name, cJSON_IsString(version) ? version->valuestring : "?",
           reply->status == 201 ? "new version" : "nothing new");
    cJSON_Delete(o);
    return EXIT_OK;
}

static int parcel_send(const struct request *r, const struct parcel *p)
{
    char path[512] = "", boundary[40], type[96];
    struct buffer body = {0};
    int exit_code;
    if (!client_function_path("/v1/functions", p->name, path, sizeof path))
        return EXIT_USAGE;
    if (r->alias) {
        strcat(path, "?alias=");
        if (!client_path_append(path, sizeof path, r->alias, strlen(r->alias), false))
            return EXIT_USAGE;
    }
    struct client *c = client_open(&r->client, &exit_code);
    if (c == NULL)
        return exit_code;
    if (form_write(p, boundary, &body)) {
        snprintf(type, sizeof type, "multipart/form-data; boundary=%s", boundary);
        const struct http_header header = http_header_text("content-type", type);
        const struct http_client_response *reply;
        struct client_request request = {.method = HTTP_PUT,
                                         .path = path,
                                         .headers = &header,
                                         .header_count = 1,
                                         .body = body.data,
                                         .body_len = body.len,
                                         .idle_ms = UINT32_MAX};
        exit_code = client_do(c, &request, &reply);
        if (exit_code == EXIT_OK)
            exit_code = answer_print(r, p, reply);
    } else {
        fprintf(stderr, "atoll: no memory for the upload\n");
        exit_code = EXIT_ATOLL;
    }
    buffer_free(&body);
    client_close(c);
    return exit_code;
}

static int function_deploy(const struct request *r, const char *path)
{
    struct parcel p = {0};
    int exit_code = parcel_pack(r, path, &p);
    if (exit_code == EXIT_OK)
        exit_code = parcel_send(r, &p);
    scratch_remove();
    buffer_free(&p.manifest);
    buffer_free(&p.module);
    return exit_code;
}

static int deploy_run(int argc, char **argv)
{
    struct request r = {0};
    const struct option_spec options[] = {
        {"name", 0, OPTION_TEXT, "TENANT/FUNCTION",
         "the function's name (default: the manifest's, else the\nfile's)", &r.name, NULL},
        {"manifest", 0, OPTION_TEXT, "FILE",
         "the manifest (default DIR/atoll.yaml; none for a file)", &r.manifest, NULL},
        {"alias", 0, OPTION_TEXT, "ALIAS", "the alias to move (default live)", &r.alias, NULL},
        CLIENT_OPTIONS(&r.client),
    };
    struct text_list operands = {0};
    enum options_outcome outcome = options_parse(
        &command_deploy, options, sizeof options / sizeof options[0], argc, argv, 1, 1, &operands);
    int status = outcome == OPTIONS_GO     ? function_deploy(&r, operands.items[0])
                 : outcome == OPTIONS_HELP ? EXIT_OK
                                           : EXIT_USAGE;
    free(operands.items);
    return status;
}

const struct command command_deploy = {
    .name = "deploy",
    .usage = "[OPTIONS] DIR|FILE.wasm|FILE.c",
    .summary = "put a function onto a node",
    .description =
        "Uploads a function; the node validates and compiles it, runs its constructors,\n"
        "keeps an image of it, and then moves the alias: the next call uses the new\n"
        "version. When anything fails, the old version stays and the stage that failed\n"
        "is named.\n"
        "\n"
        "DIR holds atoll.yaml and FUNCTION.wasm, or C sources from which that is built\n"
        "first. A single module or source is deployed with a manifest of defaults.\n"
        "\n"
        "126 says that the manifest is wrong; other exit codes above 100 are those of\n"
        "`atoll build`." CLIENT_EXITS("the node refused, or the sources do not compile"),
    .run = deploy_run,
};
