/* Artefacts: what is baked into them, and that they come back from their bytes unchanged
 * (src/engine/artefact*.c, initial_image.c, skeleton.c). */
#define _GNU_SOURCE
#include "artefact_sample.h"
#include "base/file.h"
#include "engine/cpu.h"
#include "module_bytes.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- reading the initial image ---- */

static void image_read(const struct artefact *a, int64_t from_vm, void *out, size_t len)
{
    off_t at = (off_t)((int64_t)a->layout.low_size + from_vm);
    assert_int_equal(pread(a->data_fd, out, len, at), (ssize_t)len);
}

static uint64_t image_u64(const struct artefact *a, int64_t from_vm)
{
    uint64_t value;
    image_read(a, from_vm, &value, sizeof value);
    return value;
}

static int64_t global_place(const struct artefact *a, uint32_t g)
{
    return 16 * (int64_t)g - a->layout.globals;
}

static struct function_record record_read(const struct artefact *a, uint32_t f)
{
    struct function_record r;
    image_read(a, abi_record_from_vm(&a->module, &a->layout, f), &r, sizeof r);
    return r;
}

static struct table_descriptor table_read(const struct artefact *a, uint32_t t)
{
    struct table_descriptor d;
    image_read(a, (int64_t)(t * sizeof d) - a->layout.tables, &d, sizeof d);
    return d;
}

static struct function_record entry_read(const struct artefact *a, uint32_t t, uint32_t index)
{
    struct function_record r;
    image_read(a, a->layout.table_places[t].from_vm + (int64_t)(index * sizeof r), &r, sizeof r);
    return r;
}

static uint8_t dropped_read(const struct artefact *a, uint32_t index)
{
    uint8_t flag;
    image_read(a, (int64_t)index - a->layout.dropped, &flag, 1);
    return flag;
}

static void assert_record(const struct artefact *a, struct function_record r, uint32_t f)
{
    const struct wasm_module *m = &a->module;
    uint32_t offset = f < m->imported_functions ? a->import_offsets[f]
                                                : a->function_offsets[f - m->imported_functions];
    int64_t base = a->options.link == LINK_PRIMARY ? IMAGE_FROM_B : 0;
    assert_int_equal(r.code, base + offset);
    assert_int_equal(r.vm, 0);
    assert_int_equal(r.signature, m->types[m->functions[f].type].canonical + 1);
    assert_int_equal(r.record, abi_record_from_vm(m, &a->layout, f));
}

/* ---- tests ---- */

static void everything_about_the_code_comes_back(void **state)
{
    (void)state;
    struct compile_options options = {.tier = TIER_QUICK,
                                      .mode = MODE_EXACT,
                                      .cpu = CPU_V3,
                                      .link = LINK_SHARED,
                                      .fuel = true,
                                      .deterministic = true};
    struct buffer wasm = sample_module("baking");
    struct artefact *a = sample_artefact("baking", &options);
    uint8_t hash[HASH_LEN];
    hash_sha256(wasm.data, wasm.len, hash);
    assert_memory_equal(a->wasm_sha256, hash, HASH_LEN);
    assert_int_equal(a->options.tier, TIER_QUICK);
    assert_int_equal(a->options.mode, MODE_EXACT);
    assert_int_equal(a->options.cpu, CPU_V3);
    assert_int_equal(a->options.link, LINK_SHARED);
    assert_true(a->options.fuel && a->options.deterministic && !a->options.tail_calls);
    assert_int_equal(a->cpu_features, cpu_level_features(CPU_V3));
    assert_int_equal(a->code_size, 4096);
    assert_int_equal(a->text_size, 16 * (4 + 2 + 1));
    assert_memory_equal(a->code + a->text_size, "constants", 10);
    for (uint32_t f = 0; f < 4; f++) {
        assert_int_equal(a->function_offsets[f], 16 * f);
        assert_int_equal(a->function_sizes[f], 1 + f);
        assert_in_range(a->body_offsets[f], 1, wasm.len);
    }
    assert_int_equal(a->entry_offsets[1], 16 * 5);
    assert_int_equal(a->import_offsets[0], 16 * 6);
    assert_int_equal(a->module.export_count, 3);
    assert_int_equal(a->module.function_count, 5);
    artefact_release(a);
    buffer_free(&wasm);
}

static void the_bytes_can_be_recovered_and_name_the_artefact(void **state)
{
    (void)state;
    struct buffer bytes = sample_bytes("baking", &sample_options), again = {0};
    struct artefact *a = sample_open(&bytes);
    struct error e;
    uint8_t id[HASH_LEN];
    assert_int_equal(artefact_bytes(a, &again, &e), 0);
    assert_int_equal(again.len, bytes.len);
    assert_memory_equal(again.data, bytes.data, bytes.len);
    artefact_identify(bytes.data, bytes.len, id);
    assert_memory_equal(a->id, id, HASH_LEN);
    artefact_release(a);
    buffer_free(&bytes);
    buffer_free(&again);
}

static void building_twice_gives_the_same_bytes(void **state)
{
    (void)state;
    struct buffer first = sample_bytes("baking", &sample_options);
    struct buffer second = sample_bytes("baking", &sample_options);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    buffer_free(&first);
    buffer_free(&second);
}

static void code_addresses_lead_to_functions_and_operators(void **state)
{
    (void)state;
    struct artefact *a = sample_artefact("baking", &sample_options);
    assert_int_equal(artefact_wasm_offset(a, 0), 100000);
    assert_int_equal(artefact_wasm_offset(a, 19), 100000);
    assert_int_equal(artefact_wasm_offset(a, 20), 7);
    assert_int_equal(artefact_wasm_offset(a, 24), 0);
    assert_int_equal(artefact_wasm_offset(a, UINT32_MAX), 0);
    assert_int_equal(artefact_function_at(a, 0), 1);
    assert_int_equal(artefact_function_at(a, 1), UINT32_MAX); /* the function has one byte */
    assert_int_equal(artefact_function_at(a, 17), 2);
    assert_int_equal(artefact_function_at(a, 16 * 4), UINT32_MAX); /* a thunk */
    assert_int_equal(artefact_function_at(a, UINT32_MAX), UINT32_MAX);
    artefact_release(a);
}

static void functions_swap(struct code_image *image)
{
    image->function_offsets[0] = 32;
    image->function_offsets[2] = 0;
}

static void functions_need_not_lie_in_order(void **state)
{
    (void)state;
    struct buffer wasm = sample_module("baking"), bytes = {0};
    struct error e;
    assert_int_equal(sample_build(&wasm, &sample_options, functions_swap, &bytes, &e), 0);
    struct artefact *a = sample_open(&bytes);
    assert_int_equal(artefact_function_at(a, 0), 3);
    assert_int_equal(artefact_function_at(a, 16), 2);
    assert_int_equal(artefact_function_at(a, 32), 1);
    assert_int_equal(artefact_function_at(a, 48), 4);
    artefact_release(a);
    buffer_free(&wasm);
    buffer_free(&bytes);
}

static void a_primary_image_holds_final_records_tables_and_globals(void **state)
{
    (void)state;
    struct artefact *a = sample_artefact("baking", &sample_options);
    assert_int_equal(a->data_size, a->layout.low_size + 3 * WASM_PAGE);
    assert_int_equal(image_u64(a, FIELD_MEMORY_SIZE), 3 * WASM_PAGE);
    assert_int_equal(image_u64(a, FIELD_MEMORY_LIMIT), 0);
    assert_int_equal(image_u64(a, FIELD_CONTEXT), 0);
    for (uint32_t f = 0; f < 4; f++)
        assert_record(a, record_read(a, f), f);

    struct table_descriptor t = table_read(a, 0), x = table_read(a, 1);
    assert_int_equal(t.base, a->layout.table_places[0].from_vm);
    assert_int_equal(t.size, 10);
    assert_int_equal(t.limit, 20);
    assert_int_equal(x.size, 2);
    assert_int_equal(x.limit, 2);

    assert_true(a->globals_baked);
    assert_int_equal(image_u64(a, global_place(a, 0)), (uint32_t)-7);
    assert_int_equal(image_u64(a, global_place(a, 1)), 0x1122334455667788);
    assert_int_equal((int64_t)image_u64(a, global_place(a, 2)),
                     abi_record_from_vm(&a->module, &a->layout, 1));
    assert_int_equal(image_u64(a, global_place(a, 3)), 0);
    assert_int_equal(image_u64(a, global_place(a, 4)), 1 | 2ull << 32);
    assert_int_equal(image_u64(a, global_place(a, 4) + 8), 3 | 4ull << 32);
    artefact_release(a);
}

static void element_segments_are_applied_in_order(void **state)
{
    (void)state;
    struct artefact *a = sample_artefact("baking", &sample_options);
    assert_int_equal(a->baked_elements, 5);
    for (uint32_t i = 0; i < 10; i++) {
        struct function_record r = entry_read(a, 0, i);
        if (i == 2)
            assert_record(a, r, 1);
        else if (i == 4) /* first $g, then overwritten by $h */
            assert_record(a, r, 3);
        else /* 3 first was the import, then overwritten by null */
            assert_int_equal(r.signature | (uint64_t)r.code | (uint64_t)r.record, 0);
    }
    /* Active and declarative segments are spent, the passive one is not. */
    static const uint8_t expected[5] = {1, 0, 1, 1, 1};
    for (uint32_t s = 0; s < 5; s++)
        assert_int_equal(dropped_read(a, a->module.data_count + s), expected[s]);
    artefact_release(a);
}

static void data_segments_are_applied_in_order_and_emptied_in_the_module(void **state)
{
    (void)state;
    struct artefact *a = sample_artefact("baking", &sample_options);
    char text[8] = "";
    assert_int_equal(a->baked_datas, 5);
    image_read(a, 1000, text, 5);
    assert_string_equal(text, "Jello");
    image_read(a, 131070, text, 6);
    assert_memory_equal(text, "across", 6);
    assert_int_equal(a->data_populated, a->layout.low_size + 131076);
    static const uint8_t expected[5] = {1, 0, 1, 1, 1};
    for (uint32_t s = 0; s < 5; s++) {
        assert_int_equal(dropped_read(a, s), expected[s]);
        assert_int_equal(a->module.datas[s].bytes.len, s == 1 ? 7 : 0);
    }
    assert_memory_equal(a->module.bytes + a->module.datas[1].bytes.offset, "passive", 7);
    artefact_release(a);
}

static void a_linked_image_is_relative_and_has_no_memory(void **state)
{
    (void)state;
    struct compile_options options = sample_options;
    for (options.link = LINK_SHARED; options.link <= LINK_OTHER; options.link++) {
        struct artefact *a = sample_artefact("baking", &options);
        assert_int_equal(a->data_size, a->layout.low_size);
        assert_int_equal(a->baked_datas, 0);
        assert_int_equal(a->baked_elements, 5);
        assert_int_equal(a->module.datas[0].bytes.len, 5);
        assert_int_equal(image_u64(a, FIELD_MEMORY_SIZE), 0);
        for (uint32_t f = 0; f < 4; f++)
            assert_record(a, record_read(a, f), f);
        assert_record(a, entry_read(a, 0, 2), 1);
        assert_int_equal(table_read(a, 0).base, a->layout.table_places[0].from_vm);
        assert_int_equal(image_u64(a, -(int64_t)a->layout.signatures), 0);
        artefact_release(a);
    }
}

static void baking_stops_at_what_depends_on_an_import(void **state)
{
    (void)state;
    struct artefact *a = sample_artefact("baking_imports", &sample_options);
    assert_int_equal(a->baked_elements, 1);
    assert_int_equal(a->baked_datas, 0); /* data comes after all elements */
    assert_int_equal(a->module.datas[0].bytes.len, 4);
    assert_false(a->globals_baked);
    assert_int_equal(image_u64(a, global_place(a, 1)), 5);
    assert_record(a, entry_read(a, 0, 1), 0);
    assert_int_equal(entry_read(a, 0, 3).signature, 0);
    assert_int_equal(dropped_read(a, a->module.data_count + 2), 0);
    artefact_release(a);
}

static void baking_stops_at_a_segment_that_would_trap(void **state)
{
    (void)state;
    struct artefact *a = sample_artefact("baking_bounds", &sample_options);
    char text[8] = "";
    assert_int_equal(a->baked_datas, 1);
    image_read(a, 65530, text, 6);
    assert_memory_equal(text, "inside", 6);
    image_read(a, 0, text, 5);
    assert_memory_equal(text, "\0\0\0\0\0", 5);
    assert_int_equal(a->module.datas[2].bytes.len, 5);
    artefact_release(a);
}

static void a_gigabyte_of_zeros_takes_no_room(void **state)
{
    (void)state;
    struct buffer bytes = sample_bytes("baking_large", &sample_options);
    assert_true(bytes.len < 64 << 10);
    struct artefact *a = sample_open(&bytes);
    struct stat status;
    char text[8] = "";
    assert_int_equal(fstat(a->data_fd, &status), 0);
    assert_int_equal(status.st_size, a->layout.low_size + (1ll << 30));
    assert_true(status.st_blocks * 512 < 256 << 10);
    image_read(a, 1073741820, text, 4);
    assert_string_equal(text, "high");
    image_read(a, 64, text, 4);
    assert_memory_equal(text, "low", 4);
    artefact_release(a);
    buffer_free(&bytes);
}

static void nobody_can_change_the_memory_files(void **state)
{
    (void)state;
    struct artefact *a = sample_artefact("baking", &sample_options);
    int fds[] = {a->code_fd, a->data_fd};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pwrite(fds[i], "x", 1, 0), -1);
        assert_int_equal(ftruncate(fds[i], 0), -1);
        assert_int_equal(ftruncate(fds[i], 1 << 30), -1);
        assert_int_equal(fcntl(fds[i], F_ADD_SEALS, F_SEAL_FUTURE_WRITE), -1);
    }
    artefact_release(a);
}

/* A memory file of an artefact's bytes. */
static int file_make(const struct buffer *bytes, bool sealed, bool executable)
{
    struct error e;
    int fd = memory_file("test", bytes->data, bytes->len, bytes->len, sealed, executable, &e);
    assert_true(fd >= 0);
    return fd;
}

static ino_t inode(int fd)
{
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    return status.st_ino;
}

static void code_of_a_file_that_cannot_change_stays_there_and_other_code_is_copied(void **state)
{
    (void)state;
    struct error e;
    struct buffer bytes = sample_bytes("baking", &sample_options);
    struct artefact *plain = sample_open(&bytes);
    for (int kind = 0; kind < 4; kind++) {
        int fd = file_make(&bytes, kind & 1, kind & 2);
        struct artefact *a;
        assert_int_equal(artefact_open_file(fd, kind ? plain->id : NULL, &a, &e), 0);
        assert_memory_equal(a->id, plain->id, HASH_LEN);
        assert_int_equal(inode(a->code_fd) == inode(fd), kind == 3);
        if (kind != 3) /* whoever has the file may change it: the artefact does not see that */
            (void)pwrite(fd, "changed", 7, (off_t)(bytes.len / 2));
        close(fd);
        assert_int_equal(a->code_at % 4096, 0);
        assert_memory_equal(a->code, plain->code, plain->code_size);
        uint8_t *mapped = mmap(NULL, a->code_size, PROT_READ | PROT_EXEC, MAP_PRIVATE, a->code_fd,
                               (off_t)a->code_at);
        assert_true(mapped != MAP_FAILED);
        assert_memory_equal(mapped, plain->code, plain->code_size);
        munmap(mapped, a->code_size);
        artefact_release(a);
    }
    int empty = memory_file("test", NULL, 0, 0, false, false, &e);
    struct artefact *none;
    assert_int_equal(artefact_open_file(empty, NULL, &none, &e), -ATOLL_ECORRUPT);
    assert_null(none);
    close(empty);
    artefact_release(plain);
    buffer_free(&bytes);
}

static void the_module_keeps_names_and_loses_code_and_other_custom_sections(void **state)
{
    (void)state;
    struct buffer wasm = module_start(), bytes = {0};
    struct error e;
    SECTION(&wasm, 1, 1, 0x60, 0, 0);
    SECTION(&wasm, 3, 1, 0);
    append_code(&wasm, "\x00\x0b", 2);
    static const uint8_t producers[] = "\x09producers-of-it-all";
    static const uint8_t name[] = {4, 'n', 'a', 'm', 'e', 1, 6, 1, 0, 3, 'f', 'o', 'o'};
    append_section(&wasm, 0, producers, sizeof producers - 1);
    append_section(&wasm, 0, name, sizeof name);
    assert_int_equal(sample_build(&wasm, &sample_options, NULL, &bytes, &e), 0);
    struct artefact *a = sample_open(&bytes);
    struct wasm_span span = wasm_function_name(&a->module, 0);
    assert_int_equal(span.len, 3);
    assert_memory_equal(a->module.bytes + span.offset, "foo", 3);
    assert_null(memmem(a->module.bytes, a->module.len, "producers", 9));
    assert_int_equal(a->module.code.len, 0);
    artefact_release(a);
    buffer_free(&wasm);
    buffer_free(&bytes);
}

static void system_call_insert(struct code_image *image)
{
    memcpy(image->bytes.data + 16, "\x0f\x05", 2);
}

static void code_with_a_system_call_is_not_admitted(void **state)
{
    (void)state;
    struct buffer wasm = sample_module("baking"), bytes = {0};
    struct error e;
    assert_int_equal(sample_build(&wasm, &sample_options, system_call_insert, &bytes, &e),
                     -ATOLL_ECOMPILE);
    assert_non_null(strstr(e.text, "syscall"));
    assert_null(bytes.data);
    buffer_free(&wasm);
}

static void image_degrade(struct code_image *image)
{
    image->degraded = true;
}

static void a_degraded_artefact_says_so(void **state)
{
    (void)state;
    struct buffer wasm = sample_module("baking"), bytes = {0};
    struct error e;
    assert_int_equal(sample_build(&wasm, &sample_options, image_degrade, &bytes, &e), 0);
    struct artefact *degraded = sample_open(&bytes);
    struct artefact *plain = sample_artefact("baking", &sample_options);
    assert_true(degraded->degraded);
    assert_false(plain->degraded);
    assert_memory_not_equal(degraded->id, plain->id, HASH_LEN);
    artefact_release(degraded);
    artefact_release(plain);
    buffer_free(&wasm);
    buffer_free(&bytes);
}

static void another_format_is_stale_and_other_bytes_are_no_artefact(void **state)
{
    (void)state;
    struct buffer bytes = sample_bytes("baking", &sample_options);
    struct artefact *a;
    struct error e;
    bytes.data[8]++;
    assert_int_equal(artefact_open(bytes.data, bytes.len, &a, &e), -ATOLL_ESTALE);
    bytes.data[0] = 'X';
    assert_int_equal(artefact_open(bytes.data, bytes.len, &a, &e), -ATOLL_ECORRUPT);
    assert_null(a);
    buffer_free(&bytes);
}

static void bytes_cut_off_or_too_many_are_refused(void **state)
{
    (void)state;
    struct buffer bytes = sample_bytes("baking", &sample_options);
    struct artefact *a;
    struct error e;
    for (size_t len = 0; len < bytes.len; len += len < 3000 ? 1 : 97) {
        uint8_t *copy = malloc(len + 1); /* so that a sanitizer sees a read beyond */
        assert_non_null(copy);
        memcpy(copy, bytes.data, len);
        assert_int_equal(artefact_open(copy, len, &a, &e), -ATOLL_ECORRUPT);
        free(copy);
    }
    append_byte(&bytes, 0);
    assert_int_equal(artefact_open(bytes.data, bytes.len, &a, &e), -ATOLL_ECORRUPT);
    buffer_free(&bytes);
}

/* An artefact's bytes are protected by a MAC; still no byte of it may lead the reader astray. */
static void no_changed_byte_makes_opening_misbehave(void **state)
{
    (void)state;
    struct buffer bytes = sample_bytes("baking", &sample_options);
    static const uint8_t flips[] = {0x01, 0x80, 0xff};
    unsigned refused = 0;
    for (size_t at = 0; at < bytes.len; at += at < 1600 ? 1 : 61) {
        for (size_t f = 0; f < sizeof flips; f++) {
            struct artefact *a;
            struct error e;
            bytes.data[at] ^= flips[f];
            if (artefact_open(bytes.data, bytes.len, &a, &e) == 0) {
                for (uint32_t code = 0; code <= a->text_size; code++)
                    (void)(artefact_function_at(a, code) + artefact_wasm_offset(a, code));
                artefact_release(a);
            } else {
                refused++;
            }
            bytes.data[at] ^= flips[f];
        }
    }
    assert_true(refused > 500);
    buffer_free(&bytes);
}

static void it_lives_until_the_last_holder_releases_it(void **state)
{
    (void)state;
    struct artefact *a = sample_artefact("baking", &sample_options);
    int fd = a->code_fd;
    assert_ptr_equal(artefact_retain(a), a);
    artefact_release(a);
    assert_int_not_equal(fcntl(fd, F_GETFD), -1);
    artefact_release(a);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    artefact_release(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_about_the_code_comes_back),
        cmocka_unit_test(the_bytes_can_be_recovered_and_name_the_artefact),
        cmocka_unit_test(building_twice_gives_the_same_bytes),
        cmocka_unit_test(code_addresses_lead_to_functions_and_operators),
        cmocka_unit_test(functions_need_not_lie_in_order),
        cmocka_unit_test(a_primary_image_holds_final_records_tables_and_globals),
        cmocka_unit_test(element_segments_are_applied_in_order),
        cmocka_unit_test(data_segments_are_applied_in_order_and_emptied_in_the_module),
        cmocka_unit_test(a_linked_image_is_relative_and_has_no_memory),
        cmocka_unit_test(baking_stops_at_what_depends_on_an_import),
        cmocka_unit_test(baking_stops_at_a_segment_that_would_trap),
        cmocka_unit_test(a_gigabyte_of_zeros_takes_no_room),
        cmocka_unit_test(nobody_can_change_the_memory_files),
        cmocka_unit_test(code_of_a_file_that_cannot_change_stays_there_and_other_code_is_copied),
        cmocka_unit_test(the_module_keeps_names_and_loses_code_and_other_custom_sections),
        cmocka_unit_test(code_with_a_system_call_is_not_admitted),
        cmocka_unit_test(a_degraded_artefact_says_so),
        cmocka_unit_test(another_format_is_stale_and_other_bytes_are_no_artefact),
        cmocka_unit_test(bytes_cut_off_or_too_many_are_refused),
        cmocka_unit_test(no_changed_byte_makes_opening_misbehave),
        cmocka_unit_test(it_lives_until_the_last_holder_releases_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
