/* State in a worker process whose supervisor is this test (src/node/worker/import_state_bytes.c):
 * what may happen to a value while a call waits for it. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../guest/supervisor.h"

#include "base/file.h"
#include "state/segment.h"
#include "state/wire.h"

#include <sys/mman.h>
#include <unistd.h>

#define CALLS         GUEST_MODULES "/calls.wasm"
#define V             7u
#define SEGMENT_BYTES ((size_t)STATE_SLOTS_MAX * sizeof(struct state_slot))
#define SLOT          3u
#define GEN           5u
#define SMALL         100u
#define LARGE         (128u << 10)

static struct supervisor *s;
static int segment, value;
static struct state_slot *slots;

static void publish(uint64_t size)
{
    state_slot_write(&slots[SLOT], &(struct state_slot_view){.gen = GEN, .size = size});
}

static void answer(uint64_t request, const struct state_reply *reply, int fd)
{
    uint8_t record[STATE_ANSWER_MAX];
    struct message m = {.header = {.kind = MESSAGE_ANSWER, .id = request},
                        .answer.fd = fd >= 0,
                        .parts = {record},
                        .part_len = {state_reply_encode(reply, record)}};
    supervisor_send(s, &m, &fd, fd >= 0);
}

/* Of the value 100 bytes are asked for; before the answer is out it has grown, by chunks that are
 * not here. */
static bool handle(struct supervisor *from, const struct message *m, int fd)
{
    struct state_request r;
    struct error e;
    (void)from;
    (void)fd;
    if (m->request.kind != REQUEST_STATE ||
        state_request_decode(m->parts[0], m->part_len[0], &r, &e) < 0)
        return m->request.kind == REQUEST_CALL_ENDED;
    switch (r.op) {
    case STATE_OP_SEGMENT: answer(m->header.id, &(struct state_reply){0}, segment); return true;
    case STATE_OP_OPEN:
        answer(m->header.id, &(struct state_reply){.slot = SLOT, .gen = GEN, .size = SMALL}, value);
        return true;
    case STATE_OP_ENSURE:
        assert_int_equal(r.len, SMALL);
        publish(LARGE);
        answer(m->header.id, &(struct state_reply){.number = r.len}, -1);
        return true;
    default: return false;
    }
}

static void a_value_that_grows_while_a_read_waits_gives_no_bytes_that_were_not_pulled(void **state)
{
    const struct worker_settings settings = {.threads = 1};
    struct error e;
    (void)state;
    segment = memory_file("slots", NULL, 0, SEGMENT_BYTES, false, false, &e);
    value = memory_file("value", NULL, 0, LARGE, false, false, &e);
    assert_true(segment >= 0 && value >= 0);
    slots = mmap(NULL, SEGMENT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, segment, 0);
    assert_true(slots != MAP_FAILED);
    publish(SMALL);
    s = supervisor_start(&settings);
    s->request = handle;
    assert_int_equal(supervisor_load(s, V, CALLS, "{\"name\":\"acme/calls\"}", -1), 0);
    const struct ended *r = supervisor_run(s, V, "y");
    assert_non_null(r);
    assert_int_equal(r->result.status, CALL_OK);
    assert_string_equal((const char *)r->output, "100");
    assert_int_equal(supervisor_stop(s, 0), 0);
    munmap(slots, SEGMENT_BYTES);
    close(segment);
    close(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_that_grows_while_a_read_waits_gives_no_bytes_that_were_not_pulled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
