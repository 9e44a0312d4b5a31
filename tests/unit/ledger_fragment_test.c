/* Fragments of a ledger in files: whole, or refused (src/ledger/check/fragment.h). */
#include "ledger_story.h"

#include "ledger/check/fragment.h"

#include <unistd.h>

static char directory[] = "/tmp/ledger-checker-XXXXXX";

static const char *fragment_path(void)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/some.lfrag", directory);
    return path;
}

static int entry_visit(void *context, uint64_t position, uint8_t type, struct slice payload,
                       struct error *e)
{
    size_t *seen = context;
    (void)e;
    if (position < made.count &&
        (made.entries[position].type != type ||
         !slice_equal(slice_of_buffer(&made.entries[position].bytes), payload)))
        return -ATOLL_ESTALE; /* changed: to be refused in the end */
    ++*seen;
    return 0;
}

static void fragment_make(size_t from, size_t to)
{
    struct merkle_frontier before = {0};
    struct fragment_writer *w;
    struct error e;
    for (size_t i = 0; i < from; i++) {
        struct merkle_hash leaf =
            ledger_entry_leaf(made.entries[i].type, slice_of_buffer(&made.entries[i].bytes));
        assert_int_equal(merkle_frontier_append(&before, &leaf, &e), 0);
    }
    assert_int_equal(fragment_create(fragment_path(), made.cluster->genesis.hash, &before, &w, &e),
                     0);
    for (size_t i = from; i < to; i++)
        assert_int_equal(
            fragment_append(w, made.entries[i].type, slice_of_buffer(&made.entries[i].bytes), &e),
            0);
    assert_int_equal(fragment_close(w, true, &e), 0);
}

static void a_fragment_comes_back_as_it_was(void **state)
{
    (void)state;
    const size_t from[] = {0, 3, 7};
    for (int i = 0; i < 3; i++) {
        struct fragment_head head;
        struct error e;
        size_t seen = 0;
        fragment_make(from[i], made.count);
        assert_int_equal(fragment_read(fragment_path(), &head, entry_visit, &seen, &e), 0);
        assert_int_equal(seen, made.count - from[i]);
        assert_int_equal(head.first, from[i]);
        assert_memory_equal(head.genesis, made.cluster->genesis.hash, HASH_LEN);
    }
    unlink(fragment_path());
}

static void a_fragment_that_is_cut_or_changed_anywhere_is_refused(void **state)
{
    (void)state;
    struct fragment_head head;
    struct error e;
    size_t seen = 0;
    fragment_make(3, 8);
    FILE *f = fopen(fragment_path(), "r+b");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    for (long at = 0; at < size; at++) {
        int was = (fseek(f, at, SEEK_SET), fgetc(f));
        fseek(f, at, SEEK_SET);
        fputc(was ^ 1 << at % 8, f);
        fflush(f);
        int rc = fragment_read(fragment_path(), &head, entry_visit, &seen, &e);
        if (rc == 0)
            fail_msg("byte %ld of %ld may be changed", at, size);
        fseek(f, at, SEEK_SET);
        fputc(was, f);
        fflush(f);
    }
    assert_int_equal(fragment_read(fragment_path(), &head, entry_visit, &seen, &e), 0);
    for (long len = size - 1; len >= 0; len--) {
        assert_int_equal(ftruncate(fileno(f), len), 0);
        assert_int_equal(fragment_read(fragment_path(), &head, entry_visit, &seen, &e),
                         -ATOLL_ECORRUPT);
    }
    fclose(f);
    unlink(fragment_path());
}

static void a_fragment_that_is_thrown_away_leaves_what_was_there(void **state)
{
    (void)state;
    struct merkle_frontier none = {0};
    struct fragment_writer *w;
    struct fragment_head head;
    struct error e;
    size_t seen = 0;
    fragment_make(0, 4);
    assert_int_equal(fragment_create(fragment_path(), made.cluster->genesis.hash, &none, &w, &e),
                     0);
    assert_int_equal(fragment_close(w, false, &e), 0);
    assert_int_equal(fragment_read(fragment_path(), &head, entry_visit, &seen, &e), 0);
    assert_int_equal(seen, 4);
    unlink(fragment_path());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fragment_comes_back_as_it_was),
        cmocka_unit_test(a_fragment_that_is_cut_or_changed_anywhere_is_refused),
        cmocka_unit_test(a_fragment_that_is_thrown_away_leaves_what_was_there),
    };
    if (sodium_init() < 0 || mkdtemp(directory) == NULL)
        return 1;
    int failed = cmocka_run_group_tests(tests, story_make, story_drop);
    rmdir(directory);
    return failed;
}
