/*
 * Random sequences of WASI calls with random arguments, over a small memory, and either a temporary
 * directory or a tree in memory with shared files. Beyond crashes (sanitizers) it looks for
 * escapes: what lies beside the guest's directory must not change, and its bytes must never appear
 * in guest memory. A tree must stay within its limits.
 *
 * The input is a program. Byte 0: bit 0 chooses the way paths are resolved, bit 1 a read-only
 * directory, bit 2 a socket, bit 3 a tree (and streams) instead of directory and pipes, bit 4 that
 * its shared files make calls wait. Then operations: a byte, modulo 50: a function of preview 1
 * whose arguments follow, or 46: bytes into guest memory (u16 address, u8 length, bytes), 47: the
 * last call again as if resumed, 48: save the world and restore it, 49: take an image of a world
 * with a tree and go on in an instance of it, or reset that. An argument: a byte, modulo 10,
 * chooses its form; see argument().
 */
#define _GNU_SOURCE
#define MEMORY_BYTES (128u << 10)
#include "../unit/vfs_shared.h"
#include "../unit/wasi_guest.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATHS      0x1000u /* one text every 64 bytes */
#define RESULTS    0x8000u
#define VECTORS    0x9000u
#define POLLS      0xa000u
#define MAX_STEPS  64
#define TREE_BYTES (1u << 20)

static union host_slot last_slots[16];
static struct owner owner;
static struct vfs_base *base;
static struct wasi_image *image; /* that the world is an instance of, or NULL */
static host_function last_function;
static char outside[64], inside[72], secret[80];
static int loop[2], pair[2]; /* what the guest prints comes back as its input */
static uint8_t marker[16];   /* the secret */

static const char *const paths[] = {
    "file",
    "dir",
    "dir/file",
    "..",
    "../secret",
    "dir/../file",
    ".",
    "/",
    "link",
    "link/file",
    "up",
    "up/secret",
    "new",
    "new/x",
    "dir/new",
    "../top/file",
    "dir/",
    "file/",
    "loop",
    "absolute",
    "./././",
    "up/",
    "link/../../secret",
    "dir/nested",
    "dir/nested/../../..",
    "a\xff\xfe",
    "dangling",
    "shared/file",
    "shared/new",
    "shared/dir/file",
    "shared",
    "tmp/file",
    "shared/../dir/file",
};
#define PATH_COUNT (sizeof paths / sizeof paths[0])

/* ---- the directory ---- */

static void put(const char *directory, const char *name, const void *content, size_t len)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *f = fopen(path, "w");
    if (f == NULL || fwrite(content, 1, len, f) != len || fclose(f) != 0) {
        abort();
    }
}

static void link_to(const char *target, const char *name)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", inside, name);
    if (symlink(target, path) != 0) {
        abort();
    }
}

static void tree_make(void)
{
    char path[96];
    mkdir(inside, 0755);
    snprintf(path, sizeof path, "%s/dir", inside);
    mkdir(path, 0755);
    snprintf(path, sizeof path, "%s/dir/nested", inside);
    mkdir(path, 0755);
    put(inside, "file", "some content", 12);
    put(inside, "dir/file", "more content", 12);
    link_to("dir", "link");
    link_to("..", "up");
    link_to("loop", "loop");
    link_to(secret, "absolute");
    link_to("../fresh", "dangling");
}

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *f)
{
    (void)status, (void)type, (void)f;
    return remove(path);
}

static void tree_remove(void)
{
    nftw(inside, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void all_remove(void)
{
    nftw(outside, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- what must not change ---- */

struct witness {
    struct stat directory, secret;
};

static void witness_take(struct witness *w)
{
    if (stat(outside, &w->directory) != 0 || stat(secret, &w->secret) != 0) {
        abort();
    }
}

static bool same(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && a->st_nlink == b->st_nlink && a->st_mode == b->st_mode &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec &&
           a->st_ctim.tv_sec == b->st_ctim.tv_sec && a->st_ctim.tv_nsec == b->st_ctim.tv_nsec;
}

/* Searches guest memory for what the secret file holds. Hidden from the fuzzer, which would learn
 * the text from the comparison and write it there itself. */
__attribute__((no_sanitize("coverage"))) static bool secret_seen(void)
{
    size_t matched = 0;
    for (size_t i = 0; i < MEMORY_BYTES; i++) {
        matched = arena.memory[i] == marker[matched] ? matched + 1 : 0;
        if (matched == sizeof marker) {
            return true;
        }
    }
    return false;
}

static void witness_check(const struct witness *before)
{
    struct witness now;
    witness_take(&now);
    if (!same(&before->directory, &now.directory) || !same(&before->secret, &now.secret) ||
        secret_seen()) {
        abort();
    }
}

/* ---- the program ---- */

struct input {
    const uint8_t *at;
    size_t left;
};

static uint64_t next(struct input *in, size_t len)
{
    uint64_t value = 0;
    len = len < in->left ? len : in->left;
    memcpy(&value, in->at, len);
    in->at += len;
    in->left -= len;
    return value;
}

/* The length of a path comes with form 6, after the path's address with form 5. */
static uint64_t argument(struct input *in, uint64_t *path_len)
{
    switch (next(in, 1) % 10) {
    case 0: return next(in, 1);
    case 1: return next(in, 2);
    case 2: return next(in, 4);
    case 3: return next(in, 8);
    case 4: return UINT64_MAX;
    case 5: {
        uint64_t i = next(in, 1) % PATH_COUNT;
        *path_len = strlen(paths[i]);
        return PATHS + 64 * i;
    }
    case 6: return *path_len;
    case 7: return RESULTS;
    case 8: return VECTORS;
    default: return POLLS;
    }
}

static void call(bool resumed)
{
    uint64_t args[16];
    for (int i = 0; i < 16; i++) {
        args[i] = last_slots[i].u64;
    }
    enum host_status status = guest_call(last_function, args, 16, resumed);
    if ((status == HOST_PARK && park.fd_count > HOST_PARK_FDS) ||
        wasi_tree_bytes(wasi) > TREE_BYTES + TREE_BYTES) {
        abort();
    }
}

static void call_new(struct input *in, unsigned function)
{
    static const struct {
        host_function function;
        size_t count;
    } functions[] = {
#define X(name, params, results) {preview1_##name, sizeof(params) - 1},
        PREVIEW1_FUNCTIONS(X)
#undef X
    };
    uint64_t path_len = 0;
    for (size_t i = 0; i < functions[function].count; i++) {
        last_slots[i].u64 = argument(in, &path_len);
    }
    last_function = functions[function].function;
    call(false);
}

static void memory_change(struct input *in)
{
    uint32_t address = (uint32_t)next(in, 2);
    for (uint64_t len = next(in, 1); len > 0 && in->left > 0; len--) {
        arena.memory[address++ % MEMORY_BYTES] = (uint8_t)next(in, 1);
    }
}

/* ---- worlds ---- */

static ssize_t take_output(void *context, const void *bytes, size_t len)
{
    (void)context, (void)bytes;
    return len > 100 ? -EFBIG : (ssize_t)len;
}

static void take_line(void *context, const char *line, size_t len)
{
    (void)context, (void)line;
    owner_demand(len <= WASI_MAX_LINE);
}

static const struct wasi_streams streams = {
    .input = "input", .input_len = 5, .output = take_output, .log = take_line};

static struct vfs_config tree_config(void)
{
    return (struct vfs_config){.base = base,
                               .shared = &owner_ops,
                               .context = &owner,
                               .byte_limit = TREE_BYTES,
                               .node_limit = 40};
}

static void save_and_restore(void)
{
    struct error e;
    struct buffer saved = {0};
    struct wasi *restored;
    struct vfs_config tree = tree_config();
    const struct wasi_config config = {.stdin_fd = loop[0],
                                       .stdout_fd = loop[1],
                                       .stderr_fd = -1,
                                       .tree = base != NULL ? &tree : NULL,
                                       .streams = base != NULL ? &streams : NULL};
    if (wasi_save(wasi, &saved, &e) == 0 &&
        wasi_restore(saved.data, saved.len, &config, &restored, &e) == 0) {
        wasi_destroy(wasi);
        wasi = restored;
        wasi_image_release(image);
        image = NULL;
    }
    buffer_free(&saved);
}

static void image_and_reset(void)
{
    struct error e;
    struct wasi *instance;
    struct vfs_config tree = tree_config();
    const struct wasi_call next_call = {.streams = streams};
    if (base == NULL) {
        return;
    }
    if (image == NULL && wasi_image_take(wasi, &image, &e) == 0) {
        owner_demand(wasi_instantiate(image, &tree, &instance, &e) == 0);
        wasi_destroy(wasi);
        wasi = instance;
    }
    if (image != NULL) {
        owner_demand(wasi_reset(wasi, &next_call, &e) == 0 && wasi_tree_bytes(wasi) == 0);
    }
}

static void memory_fill(void)
{
    memset(&arena, 0, sizeof arena);
    for (size_t i = 0; i < PATH_COUNT; i++) {
        strcpy((char *)arena.memory + PATHS + 64 * i, paths[i]);
    }
    for (uint32_t i = 0; i < 4; i++) {
        store_u32(arena.memory + VECTORS + 8 * i, 0xc000 + 0x100 * i);
        store_u32(arena.memory + VECTORS + 8 * i + 4, 16 * i);
        arena.memory[POLLS + 48 * i + 8] = (uint8_t)(i % 3);
        store_u32(arena.memory + POLLS + 48 * i + 16, i);
    }
}

static void tree_world(unsigned flags, struct wasi_config *config)
{
    static const struct vfs_entry entries[] = {
        {.path = "file", .type = VFS_FILE, .bytes = "some content", .len = 12},
        {.path = "dir/file", .type = VFS_FILE, .bytes = "more content", .len = 12},
        {.path = "dir/nested", .type = VFS_DIRECTORY},
        {.path = "link", .type = VFS_LINK, .bytes = "dir", .len = 3},
        {.path = "up", .type = VFS_LINK, .bytes = "..", .len = 2},
        {.path = "loop", .type = VFS_LINK, .bytes = "loop", .len = 4},
        {.path = "absolute", .type = VFS_LINK, .bytes = "/file", .len = 5},
        {.path = "dangling", .type = VFS_LINK, .bytes = "../fresh", .len = 8},
    };
    static struct vfs_config tree;
    struct error e;
    owner_text(&owner, "file", "shared content");
    owner_text(&owner, "dir/file", "more shared content");
    owner.waits = flags & 16 ? 20 : 0;
    owner_demand(vfs_base_create(entries, sizeof entries / sizeof entries[0], &base, &e) == 0);
    tree = tree_config();
    config->tree = &tree;
    config->streams = &streams;
    config->preopen_count = 0;
}

static void world_make(unsigned flags)
{
    struct error e;
    if (pipe(loop) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        abort();
    }
    struct wasi_preopen preopen = {
        .host_path = inside, .guest_name = "/", .read_only = (flags & 2) != 0};
    struct wasi_socket socket = {.fd = pair[0], .guest_fd = WASI_ANY_FD};
    struct wasi_config config = {
        .stdin_fd = loop[0],
        .stdout_fd = loop[1],
        .stderr_fd = -1,
        .preopens = &preopen,
        .preopen_count = 1,
        .sockets = &socket,
        .socket_count = flags & 4 ? 1 : 0,
        .resolution = flags & 1 ? WASI_RESOLVE_WALK : WASI_RESOLVE_BEST,
    };
    if (flags & 8) {
        tree_world(flags, &config);
    }
    if (wasi_create(&config, &wasi, &e) != 0) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
}

static void world_close(void)
{
    wasi_destroy(wasi);
    wasi_image_release(image);
    vfs_base_release(base);
    owner_end(&owner);
    image = NULL;
    base = NULL;
    owner = (struct owner){0};
    close(loop[0]);
    close(loop[1]);
    close(pair[0]);
    close(pair[1]);
}

/* libFuzzer respects a handler of ours, where it would replace SIG_IGN by its own. */
static void size_exceeded(int number)
{
    (void)number;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc, (void)argv;
    /* Files stay small, whatever sizes the guest asks for. */
    const struct rlimit size = {1 << 20, 1 << 20};
    signal(SIGXFSZ, size_exceeded);
    setrlimit(RLIMIT_FSIZE, &size);
    /* Where syncing costs nothing, if there is such a place. */
    const char *where = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
    snprintf(outside, sizeof outside, "%s/atoll-fuzz-XXXXXX", where);
    if (mkdtemp(outside) == NULL) {
        abort();
    }
    snprintf(inside, sizeof inside, "%s/top", outside);
    snprintf(secret, sizeof secret, "%s/secret", outside);
    for (size_t done = 0; done < sizeof marker;) {
        ssize_t got = getrandom(marker + done, sizeof marker - done, 0);
        done += got > 0 ? (size_t)got : 0;
    }
    put(outside, "secret", marker, sizeof marker);
    atexit(all_remove);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct witness witness;
    unsigned flags = (unsigned)next(&in, 1);
    if ((flags & 8) == 0) {
        tree_make();
    }
    memory_fill();
    world_make(flags);
    witness_take(&witness);
    last_function = preview1_sched_yield;
    for (int step = 0; step < MAX_STEPS && in.left > 0; step++) {
        unsigned operation = (unsigned)next(&in, 1) % 50;
        if (operation < 46) {
            call_new(&in, operation);
        } else if (operation == 46) {
            memory_change(&in);
        } else if (operation == 47) {
            call(true);
        } else if (operation == 48) {
            save_and_restore();
        } else {
            image_and_reset();
        }
    }
    witness_check(&witness);
    world_close();
    if ((flags & 8) == 0) {
        tree_remove();
    }
    return 0;
}
