/* The parts the store is made of that stand by themselves: checksum, deadlines, index, and the
 * examination of damaged files. */
#define _GNU_SOURCE
#include "store/checksum.h"
#include "store/deadlines.h"
#include "store/index.h"
#include "store/links.h"
#include "store/structure.h"
#include "store_calls.h"

#include "base/file.h"

static void the_checksum_is_crc_32c(void **state)
{
    (void)state;
    uint8_t bytes[32] = {0};
    assert_int_equal(checksum_crc32c(0, "123456789", 9), 0xe3069283);
    assert_int_equal(checksum_crc32c(0, bytes, 32), 0x8a9136aa); /* RFC 3720 B.4 */
    memset(bytes, 0xff, 32);
    assert_int_equal(checksum_crc32c(0, bytes, 32), 0x62a8ab43);
    assert_int_equal(checksum_crc32c(0, "", 0), 0);
}

static void the_checksum_is_the_same_in_parts_and_without_the_instruction(void **state)
{
    (void)state;
    static uint8_t bytes[20000];
    srand(3);
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)rand();
    for (int round = 0; round < 300; round++) {
        size_t at = (size_t)rand() % 100, len = (size_t)rand() % (sizeof bytes - 100);
        size_t part = len ? (size_t)rand() % len : 0;
        uint32_t whole = checksum_crc32c(0, bytes + at, len);
        assert_int_equal(checksum_crc32c_portable(0, bytes + at, len), whole);
        assert_int_equal(
            checksum_crc32c(checksum_crc32c(0, bytes + at, part), bytes + at + part, len - part),
            whole);
    }
}

static void deadlines_pass_in_order(void **state)
{
    (void)state;
    enum { COUNT = 500 };
    static struct deadline members[COUNT];
    struct deadlines d = {0};
    uint64_t before = 0;
    srand(5);
    for (size_t i = 0; i < COUNT; i++) {
        assert_true(deadlines_reserve(&d, i));
        deadline_set(&d, &members[i], (uint64_t)(rand() % 1000));
    }
    for (size_t i = 0; i < COUNT; i += 3)
        deadline_set(&d, &members[i], (uint64_t)(rand() % 1000));
    for (size_t i = 0; i < COUNT; i += 5)
        deadline_unset(&d, &members[i]);
    size_t passed = 0;
    assert_null(deadlines_passed(&d, deadlines_next(&d) - 1));
    for (struct deadline *first; (first = deadlines_passed(&d, DEADLINE_NEVER - 1)); passed++) {
        assert_true(first->at_ns >= before);
        assert_int_equal(first->at_ns, deadlines_next(&d));
        before = first->at_ns;
        deadline_unset(&d, first);
    }
    assert_int_equal(passed, COUNT - COUNT / 5);
    assert_int_equal(deadlines_next(&d), DEADLINE_NEVER);
    deadlines_free(&d);
}

struct member {
    struct index_node node;
    uint32_t number;
};

static struct member *member_find(const struct index *x, uint32_t number)
{
    uint64_t hash = index_hash(x, &number, sizeof number);
    for (struct index_node *n = index_find(x, hash); n; n = index_next(n)) {
        struct member *m = LINKS_OWNER(n, struct member, node);
        if (m->number == number)
            return m;
    }
    return NULL;
}

static void an_index_finds_its_members_and_only_them(void **state)
{
    (void)state;
    enum { COUNT = 2000 };
    static struct member members[COUNT];
    struct index x;
    assert_true(index_init(&x));
    for (uint32_t i = 0; i < COUNT; i++) {
        members[i].number = i;
        members[i].node.hash = index_hash(&x, &i, sizeof i);
        index_add(&x, &members[i].node);
    }
    for (uint32_t i = 0; i < COUNT; i += 2)
        index_remove(&x, &members[i].node);
    for (uint32_t i = 0; i < COUNT; i++)
        assert_ptr_equal(member_find(&x, i), i % 2 ? &members[i] : NULL);
    assert_null(member_find(&x, COUNT));
    for (uint32_t i = 1; i < COUNT; i += 2)
        index_remove(&x, &members[i].node);
    index_free(&x);
}

/* ---- damage ---- */

static struct buffer sound;

static void file_put(const struct buffer *bytes)
{
    FILE *f = fopen(scratch_path("store/data.mdb"), "we");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes->data, 1, bytes->len, f), bytes->len);
    fclose(f);
}

static void sound_make(void)
{
    struct error e;
    char key[300];
    uint8_t bytes[3000] = {0};
    store_start(&(struct store_options){.map_bytes = 1 << 20});
    for (int i = 0; i < 300; i++) {
        memset(key, 'k', sizeof key);
        snprintf(key + 200, sizeof key - 200, "key %d", i);
        assert_int_equal(commit_bytes(key, 0, bytes, (size_t)(i * 37 % 3000)), 0);
        struct gt_key k = key_of(key);
        if (i % 3 == 0)
            assert_int_equal(GT(delete, &k, i % 30 ? 0 : GT_DURABLE), 0);
    }
    store_stop();
    sound.len = 0;
    assert_int_equal(file_read(scratch_path("store/data.mdb"), 64 << 20, &sound, &e), 0);
}

static void a_sound_file_is_found_sound(void **state)
{
    (void)state;
    struct error e;
    sound_make();
    if (structure_check(scratch_path("store"), &e) < 0)
        fail_msg("%s", e.text);
    scratch_remove(scratch_path("store"));
}

static void a_file_that_is_cut_off_is_refused(void **state)
{
    (void)state;
    struct error e;
    sound_make();
    struct buffer cut = sound;
    for (cut.len = sound.len - 4096; cut.len > 8192; cut.len -= 8192 + cut.len % 4096) {
        file_put(&cut);
        int rc = structure_check(scratch_path("store"), &e);
        if (rc == 0) /* only free pages are missing */
            continue;
        assert_int_equal(rc, -ATOLL_ECORRUPT);
        assert_non_null(strstr(e.text, "data.mdb"));
    }
    assert_int_equal(structure_check(scratch_path("store"), &e), -ATOLL_ECORRUPT);
    scratch_remove(scratch_path("store"));
}

/* Each bit of the newer head that counts, but one: a transaction that is less by two makes the
 * other head the newer, which looks as it would if the last transaction had never been. */
static void damage_to_the_structure_is_found(void **state)
{
    (void)state;
    static const struct {
        uint32_t at, len;
        const char *what;
    } places[] = {{16, 8, "magic and version"},
                  {40, 8, "page size, flags and depth"},
                  {48, 40, "tree of free pages"},
                  {92, 44, "main tree"},
                  {144, 8, "transaction"}};
    struct error e;
    sound_make();
    uint64_t first = load_u64(sound.data + 144), second = load_u64(sound.data + 4096 + 144);
    uint32_t head = second > first ? 4096 : 0;
    for (size_t p = 0; p < sizeof places / sizeof *places; p++) {
        for (uint32_t bit = 0; bit < 8 * places[p].len; bit++) {
            uint32_t at = head + places[p].at + bit / 8;
            if (places[p].at == 144 && bit == 1)
                continue;
            sound.data[at] ^= (uint8_t)(1u << bit % 8);
            file_put(&sound);
            if (structure_check(scratch_path("store"), &e) == 0)
                fail_msg("bit %u of the %s", bit, places[p].what);
            sound.data[at] ^= (uint8_t)(1u << bit % 8);
        }
    }
    scratch_remove(scratch_path("store"));
}

static void damaged_bytes_of_a_value_are_not_returned(void **state)
{
    (void)state;
    static uint8_t bytes[GT_CHUNK_BYTES], got[GT_CHUNK_BYTES];
    struct error e;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7);
    store_start(NULL);
    assert_int_equal(commit_bytes("k", 0, bytes, sizeof bytes), 0);
    assert_int_equal(commit_bytes("whole", 0, "whole", 5), 0);
    store_stop();
    sound.len = 0;
    assert_int_equal(file_read(scratch_path("store/data.mdb"), 64 << 20, &sound, &e), 0);
    uint8_t *at = memmem(sound.data, sound.len, bytes, sizeof bytes);
    assert_non_null(at);
    at[40000] ^= 16;
    file_put(&sound);
    store_start(NULL);
    assert_int_equal(get_bytes("k", 0, got, 10), -ATOLL_ECORRUPT);
    assert_int_equal(commit_bytes("k", 5, "x", 1), -ATOLL_ECORRUPT);
    assert_int_equal(get_bytes("whole", 0, got, 5), 0);
    assert_int_equal(commit_bytes("k", 0, bytes, sizeof bytes), 0); /* all of it anew */
    assert_int_equal(get_bytes("k", 0, got, sizeof got), 0);
    assert_memory_equal(got, bytes, sizeof got);
    store_stop();
    scratch_remove(scratch_path("store"));
}

static void a_store_of_a_newer_format_is_refused(void **state)
{
    (void)state;
    struct store *other;
    struct error e;
    store_start(NULL);
    store_stop();
    sound.len = 0;
    assert_int_equal(file_read(scratch_path("store/data.mdb"), 64 << 20, &sound, &e), 0);
    /* the record: crc | magic | version, with the crc over table 0, key and body */
    uint8_t *magic = memmem(sound.data, sound.len, "atollgt1", 8);
    for (; magic;
         magic = memmem(magic + 1, (size_t)(sound.data + sound.len - magic - 1), "atollgt1", 8)) {
        store_u32(magic + 8, 2);
        uint32_t sum = checksum_crc32c(0, "\0", 1);
        sum = checksum_crc32c(checksum_crc32c(sum, "format", 6), magic, 12);
        store_u32(magic - 4, sum);
    }
    file_put(&sound);
    struct store_options o = {.directory = scratch_path("store")};
    assert_int_equal(store_open(&o, &other, &e), -ATOLL_EUNSUPPORTED);
    assert_non_null(strstr(e.text, "newer release"));
    scratch_remove(scratch_path("store"));
}

static int part_end(void **state)
{
    buffer_free(&sound);
    answer_free(&last);
    return scratch_destroy(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_checksum_is_crc_32c),
        cmocka_unit_test(the_checksum_is_the_same_in_parts_and_without_the_instruction),
        cmocka_unit_test(deadlines_pass_in_order),
        cmocka_unit_test(an_index_finds_its_members_and_only_them),
        cmocka_unit_test(a_sound_file_is_found_sound),
        cmocka_unit_test(a_file_that_is_cut_off_is_refused),
        cmocka_unit_test(damage_to_the_structure_is_found),
        cmocka_unit_test(damaged_bytes_of_a_value_are_not_returned),
        cmocka_unit_test(a_store_of_a_newer_format_is_refused),
    };
    return cmocka_run_group_tests(tests, scratch_create, part_end);
}
