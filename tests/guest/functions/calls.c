/*
 * A function that does what its input says: a letter, and then what the letter needs. It calls
 * itself under the name "calls". Freestanding; for the tests and benchmarks of workers.
 */
#include <atoll.h>
#include <stdbool.h>

static int count;
static uint8_t scratch[65536];

/* ---- small things ---- */

static uint32_t text_len(const char *text)
{
    uint32_t len = 0;
    while (text[len])
        len++;
    return len;
}

static int32_t fail_with(int64_t code, const char *text)
{
    atoll_fail((int32_t)(code < 0 ? -code : code), text, text_len(text));
}

static uint64_t number_at(const uint8_t *at, uint32_t len)
{
    uint64_t value = 0;
    for (uint32_t k = 0; k < len && at[k] >= '0' && at[k] <= '9'; k++)
        value = value * 10 + (uint64_t)(at[k] - '0');
    return value;
}

static uint32_t number_put(uint8_t *to, uint64_t value)
{
    uint8_t digits[20];
    uint32_t len = 0;
    do
        digits[len++] = (uint8_t)('0' + value % 10);
    while (value /= 10);
    for (uint32_t k = 0; k < len; k++)
        to[k] = digits[len - 1 - k];
    return len;
}

static int32_t number_out(int64_t value)
{
    uint8_t text[24];
    uint32_t len = 0;
    if (value < 0)
        text[len++] = '-';
    len += number_put(text + len, (uint64_t)(value < 0 ? -value : value));
    return atoll_output_write(text, len) == len ? 0 : 1;
}

/* Chains itself with letter and number. */
static int32_t chain_self(char letter, uint64_t number, const struct atoll_chain_opts *opts,
                          atoll_call_t *id)
{
    uint8_t input[24] = {(uint8_t)letter};
    return atoll_chain("calls", 5, input, 1 + number_put(input + 1, number), opts, id);
}

static struct atoll_result await_one(atoll_call_t id)
{
    struct atoll_result result = {0};
    atoll_await(&id, 1, 1, ATOLL_FOREVER, &result);
    return result;
}

static uint64_t number_of(atoll_call_t id)
{
    uint8_t text[24];
    int64_t len = atoll_result_read(id, 0, text, sizeof text);
    return len > 0 ? number_at(text, (uint32_t)len) : 0;
}

/* ---- what it can do ---- */

static int32_t fib(uint64_t n)
{
    atoll_call_t ids[2];
    struct atoll_result results[2];
    if (n < 2)
        return number_out((int64_t)n);
    int32_t rc = chain_self('f', n - 1, NULL, &ids[0]);
    if (rc == 0)
        rc = chain_self('f', n - 2, NULL, &ids[1]);
    if (rc < 0 || (rc = atoll_await(ids, 2, 2, ATOLL_FOREVER, results)) != 2)
        return fail_with(rc, "fib");
    if (results[0].status != ATOLL_ST_OK || results[1].status != ATOLL_ST_OK)
        return fail_with(90, "a child of fib did not end well");
    return number_out((int64_t)(number_of(ids[0]) + number_of(ids[1])));
}

#define FAN_MAX 100000u
static atoll_call_t fan_ids[FAN_MAX];
static struct atoll_result fan_results[FAN_MAX];
static uint64_t fan_offsets[FAN_MAX + 1];
static uint8_t fan_inputs[FAN_MAX];

/* n children that do nothing; how many ended well. */
static int32_t fan_out(const char *name, uint64_t n, uint32_t flags)
{
    struct atoll_chain_opts opts = {.size = sizeof opts, .flags = flags};
    uint64_t good = 0;
    if (n > FAN_MAX)
        return 91;
    for (uint32_t k = 0; k < n; k++) {
        fan_offsets[k + 1] = k + 1;
        fan_inputs[k] = 'n';
    }
    int32_t rc = atoll_chain_batch(name, text_len(name), (uint32_t)n, fan_offsets, fan_inputs,
                                   &opts, fan_ids);
    if (rc < 0)
        return fail_with(rc, "batch");
    rc = atoll_await(fan_ids, (uint32_t)n, (uint32_t)n, ATOLL_FOREVER, fan_results);
    for (uint32_t k = 0; k < n; k++)
        good += fan_results[k].status == ATOLL_ST_OK;
    return rc == (int32_t)n ? number_out((int64_t)good) : fail_with(rc, "await");
}

/* The sum of what n calls, one after the other, have counted in their memory. */
static int32_t count_below(uint64_t n)
{
    int64_t sum = 0;
    for (uint64_t k = 0; k < n; k++) {
        atoll_call_t id;
        int32_t rc = chain_self('c', 0, NULL, &id);
        if (rc < 0 || await_one(id).status != ATOLL_ST_OK)
            return fail_with(rc, "count");
        sum += (int64_t)number_of(id);
    }
    return number_out(sum);
}

/* n times one child and its end. */
static int32_t chain_and_await(uint64_t n)
{
    for (uint64_t k = 0; k < n; k++) {
        atoll_call_t id;
        int32_t rc = atoll_chain("calls", 5, "n", 1, NULL, &id);
        if (rc < 0 || await_one(id).status != ATOLL_ST_OK || atoll_forget(id) < 0)
            return fail_with(rc, "chain");
    }
    return 0;
}

struct subscription {
    uint64_t user;
    uint8_t tag, pad[7];
    uint32_t clock, clock_pad;
    uint64_t timeout_ns, precision_ns;
    uint16_t flags, flags_pad[3];
};
__attribute__((import_module("wasi_snapshot_preview1"), import_name("poll_oneoff"))) uint32_t
wasi_poll(const struct subscription *, void *events, uint32_t count, uint32_t *ready);

static void pause_a_millisecond(void)
{
    const struct subscription wait = {.clock = 1, .timeout_ns = 1000000};
    uint8_t event[32];
    uint32_t ready;
    (void)wasi_poll(&wait, event, 1, &ready);
}

/* Chains a function n times, with a pause after so many; how many ns each took from atoll_chain to
 * the end of atoll_await, 8 bytes each. */
static int32_t direct_measured(const char *name, uint64_t n, uint64_t at_a_stretch)
{
    uint64_t *took = fan_offsets;
    for (uint64_t k = 0; k < n && k < FAN_MAX; k++) {
        atoll_call_t id;
        if (k % at_a_stretch == 0)
            pause_a_millisecond();
        int64_t before = atoll_now(ATOLL_CLOCK_MONOTONIC);
        int32_t rc = atoll_chain(name, text_len(name), NULL, 0, NULL, &id);
        if (rc < 0 || await_one(id).status != ATOLL_ST_OK)
            return fail_with(rc, "chain");
        took[k] = (uint64_t)(atoll_now(ATOLL_CLOCK_MONOTONIC) - before);
        (void)atoll_forget(id);
    }
    return atoll_output_write(took, n * 8) == (int64_t)n * 8 ? 0 : 95;
}

/* The same with the function "noop", at a stretch and with atoll_forget. */
static int32_t chain_measured(uint64_t n)
{
    uint64_t *took = fan_offsets;
    int64_t before = atoll_now(ATOLL_CLOCK_MONOTONIC);
    for (uint64_t k = 0; k < n && k < FAN_MAX; k++) {
        atoll_call_t id;
        int32_t rc = atoll_chain("noop", 4, NULL, 0, NULL, &id);
        if (rc < 0 || await_one(id).status != ATOLL_ST_OK || atoll_forget(id) < 0)
            return fail_with(rc, "chain");
        int64_t now = atoll_now(ATOLL_CLOCK_MONOTONIC);
        took[k] = (uint64_t)(now - before);
        before = now;
    }
    return atoll_output_write(took, n * 8) == (int64_t)n * 8 ? 0 : 95;
}

static int32_t deep(void)
{
    atoll_call_t id;
    int32_t rc = chain_self('d', 0, NULL, &id);
    if (rc < 0)
        return number_out(rc == -ATOLL_ELIMIT ? 0 : -1);
    struct atoll_result result = await_one(id);
    return result.status == ATOLL_ST_OK ? number_out((int64_t)number_of(id) + 1) : 92;
}

static int32_t endless(void)
{
    for (volatile uint64_t k = 0;; k++)
        ;
}

static int32_t output_until_refused(void)
{
    int64_t rc;
    uint64_t total = 0;
    while ((rc = atoll_output_write(scratch, sizeof scratch)) > 0)
        total += (uint64_t)rc;
    atoll_output_set("", 0);
    return rc == -ATOLL_ELIMIT ? number_out((int64_t)total) : 93;
}

static int32_t log_until_refused(uint32_t len)
{
    uint32_t lines = 0;
    while (atoll_log(ATOLL_LOG_INFO, scratch, len) == 0)
        lines++;
    return number_out(lines);
}

/* Starts a child that never ends, waits a little, cancels it. */
static int32_t cancel_child(void)
{
    atoll_call_t id;
    struct atoll_result result;
    if (chain_self('l', 0, NULL, &id) < 0)
        return 94;
    if (atoll_await(&id, 1, 1, 5000000, &result) != -ATOLL_ETIMEDOUT)
        return 95;
    if (atoll_forget(id) != -ATOLL_EBUSY || atoll_result_read(id, 0, scratch, 1) != -ATOLL_EAGAIN)
        return 96;
    if (atoll_cancel(id) != 0)
        return 97;
    return number_out(await_one(id).status);
}

/* Three children, of which one never ends: two are enough. */
static int32_t await_some(void)
{
    atoll_call_t ids[3];
    struct atoll_result results[3];
    for (int k = 0; k < 3; k++)
        if (chain_self(k == 1 ? 'l' : 'n', 0, NULL, &ids[k]) < 0)
            return 94;
    int32_t rc = atoll_await(ids, 3, 2, ATOLL_FOREVER, results);
    if (rc != 2 || results[1].status > ATOLL_ST_RUNNING || results[0].status != ATOLL_ST_OK)
        return fail_with(rc, "await");
    atoll_call_t twice[4] = {ids[0], ids[0], ids[2], ids[0]};
    struct atoll_result four[4];
    if (atoll_await(twice, 4, 4, 0, four) != 4)
        return 95;
    atoll_call_t wrong = ids[0] + 1000000;
    if (atoll_await(&wrong, 1, 1, 0, results) != -ATOLL_ENOENT ||
        atoll_await(ids, 2, 3, 0, results) != -ATOLL_EINVAL)
        return 96;
    return number_out(rc);
}

/* The status of a child that does what the letter says. */
static int32_t status_of(char letter, uint64_t timeout_ns, uint32_t retries)
{
    struct atoll_chain_opts opts = {
        .size = sizeof opts, .timeout_ns = timeout_ns, .retries = retries};
    atoll_call_t id;
    int32_t rc = chain_self(letter, 0, &opts, &id);
    if (rc < 0)
        return fail_with(rc, "chain");
    struct atoll_result result = await_one(id);
    number_out(result.status);
    atoll_output_write(" ", 1);
    return number_out(result.code);
}

/* Children that never end and are left behind. */
static int32_t leave_children(uint32_t flags)
{
    struct atoll_chain_opts opts = {.size = sizeof opts, .flags = flags};
    atoll_call_t id;
    for (int k = 0; k < 4; k++)
        if (chain_self(flags ? 'g' : 'l', 1, &opts, &id) < 0)
            return 94;
    return number_out(4);
}

/* Input and output in place: every byte one higher. */
static int32_t map_and_add(void)
{
    atoll_addr in, out;
    int64_t len = atoll_input_size();
    if (atoll_input_map(&in) != 0 || atoll_output_map((uint64_t)len, &out) != 0)
        return 94;
    const uint8_t *from = atoll_pointer(in);
    uint8_t *to = atoll_pointer(out);
    for (int64_t k = 0; k < len; k++)
        to[k] = (uint8_t)(from[k] + 1);
    return 0;
}

/* A child's large result, mapped. */
static int32_t map_result(uint64_t len)
{
    atoll_call_t id;
    atoll_addr at, again;
    uint64_t sum = 0;
    if (chain_self('z', len, NULL, &id) < 0 || await_one(id).out_len != len)
        return 94;
    if (atoll_result_map(id, &at) != 0 || atoll_result_map(id, &again) != 0 || at != again)
        return 95;
    const uint8_t *bytes = atoll_pointer(at);
    for (uint64_t k = 0; k < len; k++)
        sum += bytes[k];
    return number_out((int64_t)sum);
}

static int32_t ones(uint64_t len)
{
    for (uint32_t k = 0; k < sizeof scratch; k++)
        scratch[k] = 1;
    while (len) {
        uint64_t part = len < sizeof scratch ? len : sizeof scratch;
        if (atoll_output_write(scratch, part) != (int64_t)part)
            return 94;
        len -= part;
    }
    return 0;
}

static int32_t seven(void)
{
    return number_out(7);
}

static int32_t chain_function(void)
{
    atoll_call_t id;
    int32_t rc = atoll_chain_fn(ATOLL_TABLE_INDEX(seven), NULL, 0, NULL, &id);
    if (rc < 0)
        return fail_with(rc, "chain_fn");
    if (await_one(id).status != ATOLL_ST_OK)
        return 95;
    if (atoll_chain_fn(1u << 30, NULL, 0, NULL, &id) != -ATOLL_EINVAL)
        return 96;
    return number_out((int64_t)number_of(id));
}

static int32_t chain_named(const uint8_t *name, uint32_t len)
{
    atoll_call_t id;
    int32_t rc = atoll_chain(name, len, "n", 1, NULL, &id);
    if (rc < 0)
        return number_out(rc);
    struct atoll_result result = await_one(id);
    return number_out(result.status * 1000 + result.code);
}

static int32_t info(void)
{
    static struct atoll_call_info i = {.size = sizeof i};
    if (atoll_call_info(&i) != 0)
        return 94;
    return atoll_output_write(&i, sizeof i) == sizeof i ? 0 : 95;
}

/* Burns processor time for so many milliseconds. */
static int32_t busy(uint64_t ms)
{
    int64_t until = atoll_now(ATOLL_CLOCK_CPU) + (int64_t)ms * 1000000;
    while (atoll_now(ATOLL_CLOCK_CPU) < until)
        for (volatile int k = 0; k < 100; k++)
            ;
    return number_out((int64_t)ms);
}

static int32_t attempts(void)
{
    static struct atoll_call_info i = {.size = sizeof i};
    atoll_call_info(&i);
    if (i.attempt < 2)
        __builtin_trap();
    return number_out(i.attempt);
}

static int32_t http(void)
{
    int64_t len = atoll_http_head(scratch, sizeof scratch);
    if (len < 0)
        return number_out(len);
    static const char headers[] = "content-type: text/plain\nx-one: 1\n";
    if (atoll_http_reply(201, headers, sizeof headers - 1) != 0 ||
        atoll_http_reply(99, headers, sizeof headers - 1) != -ATOLL_EINVAL ||
        atoll_http_reply(200, "no colon\n", 9) != -ATOLL_EINVAL)
        return 94;
    return atoll_output_write(scratch, (uint64_t)len) == len ? 0 : 95;
}

/* ---- the network ---- */

struct vector {
    const void *bytes;
    uint32_t len;
};
#define WASI_IMPORT(name) \
    __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
WASI_IMPORT(fd_write) uint32_t wasi_fd_write(int32_t, const struct vector *, uint32_t, uint32_t *);
WASI_IMPORT(fd_read) uint32_t wasi_fd_read(int32_t, const struct vector *, uint32_t, uint32_t *);

WASI_IMPORT(fd_renumber) uint32_t wasi_fd_renumber(int32_t, int32_t);
WASI_IMPORT(fd_close) uint32_t wasi_fd_close(int32_t);
WASI_IMPORT(sock_shutdown) uint32_t wasi_sock_shutdown(int32_t, uint32_t);
#define NOT_CONNECTED 53u /* WASI's */

/* Moves len bytes of the scratch memory one way. */
static int32_t move_all(int32_t fd, uint32_t len, bool out)
{
    for (uint32_t done = 0, moved; done < len; done += moved) {
        const struct vector v = {scratch + done, len - done};
        uint32_t error = out ? wasi_fd_write(fd, &v, 1, &moved) : wasi_fd_read(fd, &v, 1, &moved);
        if (error || moved == 0)
            return -1;
    }
    return 0;
}

/* Connects to "a.b.c.d port bytes", sends so many bytes in pieces and takes each back, by a
 * descriptor of another number if so wished. */
static int32_t talk(const uint8_t *text, uint32_t len, bool renumber)
{
    uint64_t numbers[6] = {0};
    uint8_t address[4];
    int32_t fd, other;
    for (uint32_t k = 0, at = 0; k < 6; k++, at++)
        for (; at < len && text[at] >= '0' && text[at] <= '9'; at++)
            numbers[k] = numbers[k] * 10 + (uint64_t)(text[at] - '0');
    for (int k = 0; k < 4; k++)
        address[k] = (uint8_t)numbers[k];
    int32_t rc = atoll_sock_open(ATOLL_SOCK_V4, ATOLL_SOCK_STREAM, &fd);
    if (rc == 0)
        rc = atoll_sock_connect(fd, address, 4, (uint32_t)numbers[4], ATOLL_FOREVER);
    if (rc < 0)
        return number_out(rc);
    if (renumber && (atoll_sock_open(ATOLL_SOCK_V4, ATOLL_SOCK_STREAM, &other) != 0 ||
                     wasi_fd_renumber(fd, other) != 0))
        return 95;
    fd = renumber ? other : fd;
    for (uint64_t left = numbers[5], piece; left; left -= piece) {
        piece = left < 16384 ? left : 16384;
        if (move_all(fd, (uint32_t)piece, true) < 0 || move_all(fd, (uint32_t)piece, false) < 0)
            return 94;
    }
    return number_out((int64_t)numbers[5]);
}

/* What a socket that is not connected can do; how many were tried. */
static int32_t unconnected(void)
{
    const struct vector v = {scratch, 16};
    uint32_t moved, tried = 0;
    for (uint32_t family = ATOLL_SOCK_V4; family <= ATOLL_SOCK_V6; family += 2) {
        for (uint32_t type = ATOLL_SOCK_STREAM; type <= ATOLL_SOCK_DATAGRAM; type++, tried++) {
            int32_t fd, other;
            if (atoll_sock_open(family, type, &fd) != 0 ||
                atoll_sock_open(family, type, &other) != 0 ||
                wasi_fd_write(fd, &v, 1, &moved) != NOT_CONNECTED ||
                wasi_fd_read(fd, &v, 1, &moved) != NOT_CONNECTED ||
                wasi_sock_shutdown(fd, 3) != NOT_CONNECTED ||
                atoll_sock_opt(fd, ATOLL_SOCK_KEEPALIVE, 1) != 0 ||
                wasi_fd_renumber(fd, other) != 0 ||
                wasi_fd_write(other, &v, 1, &moved) != NOT_CONNECTED || wasi_fd_close(other) != 0)
                return 94;
        }
    }
    return number_out(tried);
}

/* Writes all over its memory, and asks for more of it. */
static int32_t dirty(void)
{
    count += 1000;
    for (uint32_t k = 0; k < sizeof scratch; k++)
        scratch[k] = 0xaa;
    for (uint32_t k = 0; k < FAN_MAX; k += 64)
        fan_ids[k] = ~0ull;
    int32_t grown = (int32_t)__builtin_wasm_memory_grow(0, 4);
    return grown < 0 ? 94 : 0;
}

static int32_t clean(void)
{
    uint64_t found = (uint64_t)count;
    for (uint32_t k = 0; k < sizeof scratch; k++)
        found += scratch[k];
    for (uint32_t k = 0; k < FAN_MAX; k++)
        found += fan_ids[k] != 0;
    return number_out((int64_t)found);
}

/* Reads as much of a value as there is room for; how much that was. */
static int32_t read_state(void)
{
    atoll_h value = atoll_state_open("k", 1, 0, ATOLL_S_READ);
    return value < 0 ? fail_with(value, "state_open")
                     : number_out(atoll_state_read(value, 0, scratch, sizeof scratch));
}

ATOLL_FUNCTION(calls)
{
    uint8_t input[256];
    int64_t len = atoll_input_read(0, input, sizeof input);
    uint64_t number = len > 1 ? number_at(input + 1, (uint32_t)len - 1) : 0;
    if (len < 1)
        return 100;
    switch (input[0]) {
    case 'n': return 0;
    case 'e': return atoll_output_write(input, (uint64_t)len) == len ? 0 : 1;
    case 'r': return (int32_t)number;
    case 'f': return fib(number);
    case 'F': return fan_out("calls", number, 0);
    case 'G': return fan_out("calls", number, ATOLL_CHAIN_GANG);
    case 'c': return number_out(++count);
    case 'D': return dirty();
    case 'C': return clean();
    case 'd': return deep();
    case 'l': return endless();
    case 't': __builtin_trap();
    case 'x': atoll_fail(42, "it was not to be", 16);
    case 'o': return output_until_refused();
    case 'g': return number ? atoll_log(ATOLL_LOG_INFO, "detached", 8) : log_until_refused(10);
    case 'q': return log_until_refused(60000);
    case 'k': return cancel_child();
    case 'a': return await_some();
    case 'T': return status_of('t', 0, 0);
    case 'X': return status_of('x', 0, 0);
    case 'L': return status_of('l', 20000000, 0);
    case 'R': return status_of('v', 0, 5);
    case 'v': return attempts();
    case 'p': return leave_children(0);
    case 'P': return leave_children(ATOLL_CHAIN_DETACH);
    case 'M': return map_and_add();
    case 'm': return map_result(number);
    case 'z': return ones(number);
    case 's': return chain_function();
    case 'N': return chain_named(input + 1, (uint32_t)len - 1);
    case 'i': return info();
    case 'b': return busy(number);
    case 'w': return chain_and_await(number);
    case 'W': return chain_measured(number);
    case 'Y': return direct_measured("ready", number, 8); /* it has twice as many instances */
    case 'Z': return direct_measured("kept", number, number);
    case 'O': return fan_out("noop", number, 0);
    case 'h': return http();
    case 'K': return count_below(number);
    case 'S': return talk(input + 1, (uint32_t)len - 1, false);
    case 'V': return talk(input + 1, (uint32_t)len - 1, true);
    case 'u': return unconnected();
    case 'y': return read_state();
    default: return 101;
    }
}
