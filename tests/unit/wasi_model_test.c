/*
 * The tree in memory against the file system of the host: the same random operations on both give
 * the same results, errors, contents and names.
 *
 * MODEL_SEED repeats a run, MODEL_STEPS says how long each is. What file systems are free to choose
 * (sizes and link counts of directories, inode numbers, times) is not compared.
 */
#define _GNU_SOURCE
#include "wasi_world.h"

#include "base/random.h"

#define LOG_LINES 30

static struct wasi *worlds[2]; /* the host's, the tree's */
static uint64_t seed, state_of_random;
static char log_text[LOG_LINES][200];
static unsigned log_next;

static uint32_t random_below(uint32_t bound)
{
    state_of_random ^= state_of_random << 13;
    state_of_random ^= state_of_random >> 7;
    state_of_random ^= state_of_random << 17;
    return (uint32_t)((state_of_random >> 20) % bound);
}

/* ---- both worlds at once ---- */

/* What a call did that can be compared. */
struct outcome {
    uint16_t error;
    uint8_t memory[600];
    uint32_t len;
};

static struct outcome outcomes[2];

static void note(const char *format, ...) __attribute__((format(printf, 1, 2)));
static void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(log_text[log_next++ % LOG_LINES], sizeof log_text[0], format, args);
    va_end(args);
}

static void disagree(void)
{
    for (unsigned i = log_next > LOG_LINES ? log_next - LOG_LINES : 0; i < log_next; i++) {
        print_message("# %s\n", log_text[i % LOG_LINES]);
    }
    fail_msg("with MODEL_SEED=%llu: host %u and %u bytes, tree %u and %u bytes",
             (unsigned long long)seed, outcomes[0].error, outcomes[0].len, outcomes[1].error,
             outcomes[1].len);
}

/* Makes a call in both, and keeps len bytes at `at` of what each leaves in memory. */
static uint16_t both(host_function function, const uint64_t *args, size_t count, uint32_t at,
                     uint32_t len)
{
    for (int i = 0; i < 2; i++) {
        wasi = worlds[i];
        memset(arena.memory + SCRATCH, 0, 0x100);
        memset(arena.memory + DATA, 0xaa, 600);
        outcomes[i] = (struct outcome){.error = call_again(function, args, count, false)};
        assert_int_equal(status, HOST_DONE);
        outcomes[i].len = outcomes[i].error == WASI_SUCCESS ? len : 0;
        memcpy(outcomes[i].memory, arena.memory + at, outcomes[i].len);
    }
    note("  = %u", outcomes[0].error);
    if (memcmp(&outcomes[0], &outcomes[1], sizeof outcomes[0]) != 0) {
        disagree();
    }
    return outcomes[0].error;
}
#define BOTH(name, at, len, ...) both(preview1_##name, ARGS(__VA_ARGS__), at, len)

/* ---- names and descriptors ---- */

static const char *random_path(char path[128])
{
    static const char *const names[] = {"a", "b", "c", "d", "e", "link", "up", ".", "..", "file"};
    uint32_t parts = 1 + random_below(random_below(4) + 1);
    path[0] = '\0';
    for (uint32_t i = 0; i < parts; i++) {
        strcat(path, i > 0 ? "/" : "");
        strcat(path, names[random_below(sizeof names / sizeof names[0])]);
    }
    if (random_below(8) == 0) {
        strcat(path, random_below(2) ? "/" : "//");
    }
    return path;
}

/* Mostly a descriptor that is open: those are the low numbers. */
static uint32_t random_file(void)
{
    uint32_t fd = 0;
    for (int attempt = 0; attempt < 4; attempt++) {
        fd = random_below(12);
        wasi = worlds[0];
        if (CALL(fd_fdstat_get, fd, SCRATCH) == WASI_SUCCESS) {
            break;
        }
    }
    return fd;
}

static uint32_t random_directory(void)
{
    return random_below(3) > 0 ? 3 : random_file();
}

#define PATH(p) guest_text(p), strlen(p)

/* ---- operations ---- */

static void op_open(void)
{
    char path[128];
    uint32_t d = random_directory(), lookup = random_below(2), oflags = random_below(16);
    uint64_t rights = random_below(2) ? WASI_RIGHTS_ALL : READ_RIGHTS;
    uint32_t fdflags = random_below(4) == 0 ? WASI_FDFLAG_APPEND : 0;
    if (random_below(3) > 0) {
        oflags &= WASI_OFLAG_CREAT;
    }
    random_path(path);
    note("open %u %s lookup %u oflags %u %s", d, path, lookup, oflags,
         rights == WASI_RIGHTS_ALL ? "rw" : "r");
    BOTH(path_open, SCRATCH, 4, d, lookup, PATH(path), oflags, rights, WASI_RIGHTS_ALL, fdflags,
         SCRATCH);
}

static void op_close(void)
{
    uint32_t fd = random_file();
    if (fd != 3) {
        note("close %u", fd);
        BOTH(fd_close, 0, 0, fd);
    }
}

static void op_read(void)
{
    uint32_t fd = random_file(), len = random_below(500);
    note("read %u %u", fd, len);
    if (BOTH(fd_read, SCRATCH, 4, fd, vector(DATA, len), 1, SCRATCH) == WASI_SUCCESS) {
        uint32_t offset = random_below(6000);
        note("pread %u %u at %u", fd, len, offset);
        BOTH(fd_pread, DATA, 500, fd, vector(DATA, len), 1, offset, SCRATCH);
    }
}

static void op_write(void)
{
    uint32_t fd = random_file(), len = random_below(random_below(3) > 0 ? 300 : 9000);
    for (uint32_t i = 0; i < len; i++) {
        arena.memory[0x20000 + i] = (uint8_t)random_below(256);
    }
    note("write %u %u", fd, len);
    BOTH(fd_write, SCRATCH, 4, fd, vector(0x20000, len), 1, SCRATCH);
}

static void op_write_at(void)
{
    uint32_t fd = random_file(), len = random_below(300), offset = random_below(20000);
    note("pwrite %u %u at %u", fd, len, offset);
    BOTH(fd_pwrite, SCRATCH, 4, fd, vector(0x20000, len), 1, offset, SCRATCH);
}

static void op_seek(void)
{
    uint32_t fd = random_file(), whence = random_below(3);
    int64_t offset = (int64_t)random_below(10000) - 2000;
    note("seek %u %lld from %u", fd, (long long)offset, whence);
    BOTH(fd_seek, SCRATCH, 8, fd, (uint64_t)offset, whence, SCRATCH);
}

static void op_size(void)
{
    uint32_t fd = random_file(), size = random_below(random_below(2) ? 100 : 20000);
    note("size %u %u", fd, size);
    if (random_below(4) > 0) {
        BOTH(fd_filestat_set_size, 0, 0, fd, size);
    } else {
        BOTH(fd_allocate, 0, 0, fd, size, random_below(5000));
    }
}

/* Compares type, and of what is no directory the count of links and the size. */
static void filestat_compare(host_function function, const uint64_t *args, size_t count)
{
    for (int i = 0; i < 2; i++) {
        wasi = worlds[i];
        memset(arena.memory + SCRATCH, 0, 64);
        uint16_t error = call_again(function, args, count, false);
        const uint8_t *stat = arena.memory + SCRATCH;
        outcomes[i] = (struct outcome){.error = error, .len = 32};
        if (error == WASI_SUCCESS) {
            memcpy(outcomes[i].memory, stat + 16, 1);
            memcpy(outcomes[i].memory + 8, stat + 24, stat[16] == WASI_FILETYPE_DIRECTORY ? 0 : 16);
        }
    }
    note("  = %u", outcomes[0].error);
    if (memcmp(&outcomes[0], &outcomes[1], sizeof outcomes[0]) != 0) {
        disagree();
    }
}

static void op_stat(void)
{
    char path[128];
    if (random_below(2)) {
        uint32_t fd = random_file();
        note("stat %u", fd);
        filestat_compare(preview1_fd_filestat_get, ARGS(fd, SCRATCH));
        return;
    }
    uint32_t d = random_directory(), lookup = random_below(2);
    random_path(path);
    note("stat %u %s lookup %u", d, path, lookup);
    filestat_compare(preview1_path_filestat_get, ARGS(d, lookup, PATH(path), SCRATCH));
}

static void op_make_directory(void)
{
    char path[128];
    uint32_t d = random_directory();
    note("mkdir %u %s", d, random_path(path));
    BOTH(path_create_directory, 0, 0, d, PATH(path));
}

static void op_remove(void)
{
    char path[128];
    uint32_t d = random_directory();
    bool directory = random_below(2);
    note("%s %u %s", directory ? "rmdir" : "unlink", d, random_path(path));
    if (directory) {
        BOTH(path_remove_directory, 0, 0, d, PATH(path));
    } else {
        BOTH(path_unlink_file, 0, 0, d, PATH(path));
    }
}

static void op_rename(void)
{
    char from[128], to[128];
    uint32_t d = random_directory(), t = random_directory();
    random_path(from);
    random_path(to);
    note("rename %u %s %u %s", d, from, t, to);
    BOTH(path_rename, 0, 0, d, PATH(from), t, PATH(to));
}

static void op_link(void)
{
    char from[128], to[128];
    uint32_t d = random_directory(), t = random_directory(), lookup = random_below(2);
    random_path(from);
    random_path(to);
    note("link %u %s %u %s lookup %u", d, from, t, to, lookup);
    BOTH(path_link, 0, 0, d, lookup, PATH(from), t, PATH(to));
}

static void op_symlink(void)
{
    char target[128], path[128];
    uint32_t d = random_directory();
    random_path(target);
    random_path(path);
    note("symlink %s %u %s", target, d, path);
    BOTH(path_symlink, 0, 0, PATH(target), d, PATH(path));
}

static void op_read_link(void)
{
    char path[128];
    uint32_t d = random_directory();
    note("readlink %u %s", d, random_path(path));
    BOTH(path_readlink, DATA, 128, d, PATH(path), DATA, 128, SCRATCH);
}

static void op_renumber(void)
{
    uint32_t from = random_file(), to = random_file();
    if (from != 3 && to != 3) {
        note("renumber %u %u", from, to);
        BOTH(fd_renumber, 0, 0, from, to);
    }
}

static void op_flags(void)
{
    uint32_t fd = random_file(), flags = random_below(2);
    note("flags %u %u", fd, flags);
    BOTH(fd_fdstat_set_flags, 0, 0, fd, flags);
}

static void op_times(void)
{
    char path[128];
    uint32_t d = random_directory(), lookup = random_below(2);
    note("times %u %s lookup %u", d, random_path(path), lookup);
    if (BOTH(path_filestat_set_times, 0, 0, d, lookup, PATH(path), 1000, 2000, 5) == 0) {
        BOTH(path_filestat_get, SCRATCH + 48, 8, d, lookup, PATH(path), SCRATCH);
    }
}

struct seen {
    char name[32];
    uint8_t type;
};

static int seen_compare(const void *a, const void *b)
{
    return strcmp(((const struct seen *)a)->name, ((const struct seen *)b)->name);
}

/* Names and types of a whole directory in their order. */
static uint32_t entries_sort(struct seen *all)
{
    uint32_t count = 0;
    for (uint32_t at = 0, used = result_u32(0); at < used;) {
        const uint8_t *entry = arena.memory + 0x30000 + at;
        uint32_t len = load_u32(entry + 16);
        assert_in_range(len, 1, 31);
        assert_in_range(count, 0, 99);
        all[count] = (struct seen){.type = entry[20]};
        memcpy(all[count++].name, entry + 24, len);
        at += 24 + len;
    }
    qsort(all, count, sizeof *all, seen_compare);
    return count;
}

static void op_list(void)
{
    struct seen all[2][100];
    uint32_t counts[2] = {0}, fd = random_below(2) ? 3 : random_file();
    note("list %u", fd);
    for (int i = 0; i < 2; i++) {
        wasi = worlds[i];
        memset(all[i], 0, sizeof all[i]);
        outcomes[i] = (struct outcome){.error = CALL(fd_readdir, fd, 0x30000, 8192, 0, SCRATCH)};
        counts[i] = outcomes[i].error == 0 ? entries_sort(all[i]) : 0;
        outcomes[i].len = counts[i];
    }
    if (memcmp(&outcomes[0], &outcomes[1], sizeof outcomes[0]) != 0 ||
        memcmp(all[0], all[1], counts[0] * sizeof all[0][0]) != 0) {
        for (int i = 0; i < 2; i++) {
            for (uint32_t k = 0; k < counts[i]; k++) {
                note("%s: %s %u", i == 0 ? "host" : "tree", all[i][k].name, all[i][k].type);
            }
        }
        disagree();
    }
}

/* ---- everything in a tree ---- */

struct dump {
    char text[1 << 16];
    size_t len;
};

static void dump_add(struct dump *d, const void *bytes, size_t len)
{
    assert_in_range(d->len + len, 0, sizeof d->text - 1);
    memcpy(d->text + d->len, bytes, len);
    d->len += len;
    d->text[d->len] = '\0';
}

/* Appends every name beneath a directory, with type, size, links, time, and content. */
static void dump_directory(struct dump *d, uint32_t fd)
{
    uint8_t *entries = malloc(8192);
    assert_non_null(entries);
    assert_int_equal(CALL(fd_readdir, fd, 0x30000, 8192, 0, SCRATCH), WASI_SUCCESS);
    uint32_t used = result_u32(0);
    memcpy(entries, arena.memory + 0x30000, used);
    for (uint32_t at = 0; at < used;) {
        char name[64] = "";
        uint32_t len = load_u32(entries + at + 16);
        assert_in_range(len, 1, 63);
        memcpy(name, entries + at + 24, len);
        at += 24 + len;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) {
            continue;
        }
        dump_add(d, name, len);
        assert_int_equal(CALL(path_filestat_get, fd, 0, PATH(name), SCRATCH), WASI_SUCCESS);
        dump_add(d, arena.memory + SCRATCH, 64);
        int child = open_from(fd, name, 0, 0, READ_RIGHTS);
        if (arena.memory[SCRATCH + 16] == WASI_FILETYPE_SYMBOLIC_LINK) {
            assert_int_equal(CALL(path_readlink, fd, PATH(name), DATA, 128, SCRATCH), 0);
            dump_add(d, arena.memory + DATA, result_u32(0));
            continue;
        }
        assert_true(child >= 0);
        int got = guest_fd_read(child, 4000);
        if (got >= 0) {
            dump_add(d, arena.memory + DATA, (size_t)got);
        } else {
            dump_add(d, "(", 1);
            dump_directory(d, (uint32_t)child);
            dump_add(d, ")", 1);
        }
        assert_int_equal(CALL(fd_close, (uint64_t)child), WASI_SUCCESS);
    }
    free(entries);
}

/* ---- runs ---- */

static void model_begin(void)
{
    static const struct vfs_entry entries[] = {
        TEXT_FILE("file", "some content"),
        TEXT_FILE("d/file", "other content"),
        TEXT_FILE("d/e/a", "deep"),
        TEXT_LINK("link", "d/file"),
        TEXT_LINK("d/up", "../d/e"),
        {.path = "c", .type = VFS_DIRECTORY},
        {.path = "d/b", .type = VFS_DIRECTORY},
    };
    struct vfs_config tree = {0};
    struct error e;
    assert_int_equal(mkdir(host_path("tmp"), 0755), 0);
    assert_int_equal(mkdir(host_path("shared"), 0755), 0);
    for (size_t i = 0; i < sizeof entries / sizeof entries[0]; i++) {
        const struct vfs_entry *entry = &entries[i];
        const char *parents[] = {"d", "d/e"};
        for (size_t k = 0; k < 2; k++) {
            (void)mkdir(host_path(parents[k]), 0755);
        }
        if (entry->type == VFS_FILE) {
            host_file(entry->path, entry->bytes);
        } else if (entry->type == VFS_LINK) {
            assert_int_equal(symlink(entry->bytes, host_path(entry->path)), 0);
        } else {
            assert_int_equal(mkdir(host_path(entry->path), 0755), 0);
        }
    }
    assert_true(world_begin(WASI_RESOLVE_BEST, false));
    worlds[0] = wasi;
    wasi = NULL;
    tree_begin(entries, sizeof entries / sizeof entries[0], &tree);
    struct wasi_image *image;
    assert_int_equal(wasi_image_take(wasi, &image, &e), 0);
    assert_int_equal(wasi_instantiate(image, &tree, &worlds[1], &e), 0);
    wasi_image_release(image);
    wasi_destroy(wasi);
    wasi = NULL;
}

static void model_end(void)
{
    wasi_destroy(worlds[0]);
    wasi_destroy(worlds[1]);
    wasi = NULL;
}

static void run(uint64_t with_seed, int steps)
{
    static void (*const operations[])(void) = {
        op_open,      op_open,     op_open,           op_open,           op_close,
        op_read,      op_write,    op_write,          op_write_at,       op_seek,
        op_size,      op_stat,     op_make_directory, op_make_directory, op_remove,
        op_remove,    op_rename,   op_rename,         op_link,           op_symlink,
        op_read_link, op_renumber, op_flags,          op_times,          op_list,
    };
    static struct dump before, after;
    static const struct wasi_call nothing;
    struct error e;
    seed = state_of_random = with_seed;
    log_next = 0;
    before.len = after.len = 0;
    model_begin();
    wasi = worlds[1];
    dump_directory(&before, 3);
    for (int i = 0; i < steps; i++) {
        operations[random_below(sizeof operations / sizeof operations[0])]();
    }
    wasi = worlds[1];
    assert_int_equal(wasi_reset(wasi, &nothing, &e), 0);
    assert_int_equal(wasi_tree_bytes(wasi), 0);
    dump_directory(&after, 3);
    assert_int_equal(after.len, before.len);
    assert_memory_equal(after.text, before.text, before.len);
    model_end();
}

static void the_tree_behaves_as_a_file_system_does(void **state)
{
    const char *given = getenv("MODEL_SEED"), *steps = getenv("MODEL_STEPS");
    for (int i = 0; i < (given != NULL ? 1 : 40); i++) {
        uint64_t random;
        assert_int_equal(random_bytes(&random, sizeof random), 0);
        assert_int_equal(directory_begin(state), 0);
        run(given != NULL ? strtoull(given, NULL, 10) : random | 1,
            steps != NULL ? atoi(steps) : 1500);
        assert_int_equal(directory_end(state), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_tree_behaves_as_a_file_system_does)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
