/* A worker's table of values and the handles of its calls. */
#define _GNU_SOURCE
#include "state_world.h"

#include "state/attach.h"

#include <fcntl.h>
#include <pthread.h>

static struct attach_table *table;
static struct attachments *call_one, *call_two;

static void begin(void)
{
    struct error e;
    world_begin(1, 1ull << 30);
    call_one = call_two = NULL;
    assert_int_equal(ask(1, 10, (struct state_request){.op = STATE_OP_SEGMENT}, &last), 0);
    assert_int_equal(attach_table_create(last.fd, &table, &e), 0);
    close(last.fd);
}

static void end(void)
{
    attach_end(table, call_one);
    attach_end(table, call_two);
    attach_table_destroy(table);
    world_end();
}

/* What the host function does, for call 10 or 11 of worker 1. sent: whether a descriptor came. */
static int open_value(struct attachments **as, uint64_t call, const char *key, uint32_t flags,
                      bool *sent)
{
    struct error e;
    struct state_request r = {.op = STATE_OP_OPEN,
                              .key = (const uint8_t *)key,
                              .key_len = (uint32_t)strlen(key),
                              .flags = flags,
                              .len = 3 * CHUNK};
    attach_held(table, key, r.key_len, (flags & STATE_OPEN_WRITE) != 0, &r.slot, &r.gen);
    assert_int_equal(ask(1, call, r, &last), 0);
    *sent = last.fd >= 0;
    bool writable = *sent && (fcntl(last.fd, F_GETFL) & O_ACCMODE) == O_RDWR;
    return attach_value(table, as, key, r.key_len, last.reply.slot, last.reply.gen, last.fd,
                        writable, flags, &e);
}

static void a_value_is_sent_once_and_shared_by_all_calls(void **state)
{
    (void)state;
    bool sent;
    begin();
    int one = open_value(&call_one, 10, "k", NEW, &sent);
    assert_true(one >= 0 && sent);
    int two = open_value(&call_two, 11, "k", RW, &sent);
    assert_true(two >= 0 && !sent);
    struct attached *a = attach_handle(call_one, one)->attached;
    struct attached *b = attach_handle(call_two, two)->attached;
    assert_ptr_equal(a, b);
    uint8_t *bytes = attached_bytes(table, a, CHUNK, 10);
    bytes[3] = 9;
    assert_int_equal(attached_bytes(table, b, CHUNK + 3, 1)[0], 9);
    struct state_slot_view view;
    assert_true(attached_look(a, &view));
    assert_int_equal(view.size, 3 * CHUNK);
    assert_int_equal(view.flags, STATE_SLOT_COMPLETE);
    end();
}

static void a_closed_value_is_kept_for_the_next_call_unless_it_is_gone(void **state)
{
    (void)state;
    bool sent;
    enum attach_rest rest;
    uint32_t slot, gen;
    begin();
    int h = open_value(&call_one, 10, "k", NEW, &sent);
    attach_close(table, call_one, h, &rest, &slot, &gen);
    assert_int_equal(rest, ATTACH_GONE);
    assert_null(attach_handle(call_one, h));
    h = open_value(&call_one, 10, "k", RW, &sent);
    assert_true(h >= 0 && !sent);
    struct attached *a = attach_handle(call_one, h)->attached;
    struct state_slot_view view;
    assert_true(attached_look(a, &view));
    assert_int_equal(key_ask(1, 10, STATE_OP_DELETE, "k"), 0);
    state_call_ended(tier, 1, 10);
    world_settle();
    assert_false(attached_look(a, &view));
    assert_false(attach_held(table, "k", 1, false, &slot, &gen));
    end();
}

static void handles_are_the_calls_own_and_numbers_are_used_again(void **state)
{
    (void)state;
    bool sent;
    enum attach_rest rest;
    uint32_t slot, gen;
    struct error e;
    begin();
    int one = open_value(&call_one, 10, "k", NEW, &sent);
    int object = attach_object(&call_one, 3, "o", 1, &e);
    assert_true(object > one);
    assert_null(attach_handle(call_two, one));
    assert_null(attach_handle(call_one, -1));
    assert_null(attach_handle(call_one, INT32_MAX));
    assert_int_equal(attach_handle(call_one, object)->kind, HANDLE_OBJECT);
    attach_close(table, call_one, object, &rest, &slot, &gen);
    assert_int_equal(rest, ATTACH_OPEN);
    assert_int_equal(attach_object(&call_one, 1, "p", 1, &e), object);
    for (uint32_t i = 2; i < ATTACH_HANDLES_MAX; i++)
        assert_true(attach_object(&call_one, 1, "p", 1, &e) >= 0);
    assert_int_equal(attach_object(&call_one, 1, "p", 1, &e), -ATOLL_ELIMIT);
    end();
}

static void the_supervisor_is_told_when_the_last_handle_and_the_last_region_go(void **state)
{
    (void)state;
    bool sent;
    enum attach_rest rest;
    uint32_t slot, gen;
    struct error e;
    begin();
    int a = open_value(&call_one, 10, "k", NEW, &sent);
    int b = open_value(&call_one, 10, "k", RW, &sent);
    assert_int_equal(attach_region(table, call_one, attach_handle(call_one, a), 0xa0000000, &e), 0);
    assert_int_equal(attach_region(table, call_one, attach_handle(call_one, a), 0xa0000000, &e), 0);
    assert_int_equal(attach_region(table, call_one, attach_handle(call_one, b), 0xb0000000, &e), 0);
    attach_close(table, call_one, a, &rest, &slot, &gen);
    assert_int_equal(rest, ATTACH_OPEN);
    attach_close(table, call_one, b, &rest, &slot, &gen);
    assert_int_equal(rest, ATTACH_MAPPED);
    assert_false(attach_region_end(table, call_one, 0xa0000001, &rest, &slot, &gen));
    assert_true(attach_region_end(table, call_one, 0xa0000000, &rest, &slot, &gen));
    assert_int_equal(rest, ATTACH_OPEN);
    assert_true(attach_region_end(table, call_one, 0xa0000000, &rest, &slot, &gen));
    assert_int_equal(rest, ATTACH_OPEN);
    assert_true(attach_region_end(table, call_one, 0xb0000000, &rest, &slot, &gen));
    assert_int_equal(rest, ATTACH_GONE);
    assert_false(attach_region_end(table, call_one, 0xb0000000, &rest, &slot, &gen));
    end();
}

static void a_grown_value_is_mapped_further_and_old_addresses_stay_good(void **state)
{
    (void)state;
    bool sent;
    begin();
    int h = open_value(&call_one, 10, "k", NEW, &sent);
    struct attached *a = attach_handle(call_one, h)->attached;
    uint8_t *before = attached_bytes(table, a, 5, 1);
    *before = 7;
    assert_int_equal(
        ask(1, 10,
            (struct state_request){
                .op = STATE_OP_RESIZE, .slot = a->slot, .gen = a->gen, .len = 100 * CHUNK},
            &last),
        0);
    uint8_t *after = attached_bytes(table, a, 99 * CHUNK, CHUNK);
    after[0] = 8;
    assert_int_equal(*attached_bytes(table, a, 5, 1), 7);
    *before = 9;
    assert_int_equal(*attached_bytes(table, a, 5, 1), 9);
    end();
}

static void an_answer_without_a_descriptor_for_an_unknown_value_is_refused(void **state)
{
    (void)state;
    struct error e;
    begin();
    assert_int_equal(attach_value(table, &call_one, "x", 1, 5, 5, -1, false, RW, &e),
                     -ATOLL_ECORRUPT);
    int fd = memfd_create("x", 0);
    assert_int_equal(attach_value(table, &call_one, "x", 1, STATE_SLOTS_MAX, 5, fd, true, RW, &e),
                     -ATOLL_ECORRUPT);
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* the table took it, also to refuse it */
    end();
}

/* ---- threads ---- */

static void *opener(void *context)
{
    struct attachments *mine = NULL;
    struct error e;
    const struct asked *opened = context;
    for (int i = 0; i < 2000; i++) {
        enum attach_rest rest;
        uint32_t slot, gen;
        int h = attach_value(table, &mine, "k", 1, opened->reply.slot, opened->reply.gen,
                             dup(opened->fd), true, RW, &e);
        if (h < 0)
            return "refused";
        struct attached *a = attach_handle(mine, h)->attached;
        uint64_t len = (1 + (uint64_t)i % 3) * CHUNK;
        atomic_fetch_add((_Atomic uint64_t *)(void *)attached_bytes(table, a, 0, len), 1);
        attach_close(table, mine, h, &rest, &slot, &gen);
    }
    attach_end(table, mine);
    return NULL;
}

static void threads_open_copy_and_close_at_once(void **state)
{
    (void)state;
    bool sent;
    begin();
    int h = open_value(&call_one, 10, "k", NEW, &sent);
    static struct asked opened;
    opened = last;
    opened.fd = dup(attach_handle(call_one, h)->attached->file.fd);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, opener, &opened), 0);
    for (int i = 0; i < 4; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    struct attached *a = attach_handle(call_one, h)->attached;
    assert_int_equal(load_u64(attached_bytes(table, a, 0, 8)), 8000);
    close(opened.fd);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_sent_once_and_shared_by_all_calls),
        cmocka_unit_test(a_closed_value_is_kept_for_the_next_call_unless_it_is_gone),
        cmocka_unit_test(handles_are_the_calls_own_and_numbers_are_used_again),
        cmocka_unit_test(the_supervisor_is_told_when_the_last_handle_and_the_last_region_go),
        cmocka_unit_test(a_grown_value_is_mapped_further_and_old_addresses_stay_good),
        cmocka_unit_test(an_answer_without_a_descriptor_for_an_unknown_value_is_refused),
        cmocka_unit_test(threads_open_copy_and_close_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
