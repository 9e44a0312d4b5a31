/* Waiting parks the call and never the thread: pipes, sockets, clocks, and all of them together. */
#define _GNU_SOURCE
#include "wasi_world.h"

#include "base/clock.h"

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>

static int input[2], output[2], pair[2], listener;

/* Standard input and output are pipes, descriptor 3 an end of a socket pair, 4 a listening socket.
 */
static int begin(void **state)
{
    (void)state;
    struct error e;
    struct sockaddr_in local = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    listener = socket(AF_INET, SOCK_STREAM, 0);
    if (pipe(input) != 0 || pipe(output) != 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0 ||
        bind(listener, (struct sockaddr *)&local, sizeof local) != 0 || listen(listener, 4) != 0) {
        return -1;
    }
    struct wasi_socket sockets[] = {{pair[0], WASI_ANY_FD}, {listener, 4}};
    struct wasi_config config = {.stdin_fd = input[0],
                                 .stdout_fd = output[1],
                                 .stderr_fd = -1,
                                 .sockets = sockets,
                                 .socket_count = 2,
                                 .monotonic_offset_ns = 77000000000};
    return wasi_create(&config, &wasi, &e);
}

static int end(void **state)
{
    (void)state;
    wasi_destroy(wasi);
    wasi = NULL;
    const int all[] = {input[0], input[1], output[0], output[1], pair[0], pair[1], listener};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        close(all[i]); /* some were closed by the test */
    }
    return 0;
}

static void a_read_of_an_empty_pipe_parks_until_there_is_data(void **state)
{
    (void)state;
    guest_fd_read(0, 100);
    assert_int_equal(status, HOST_PARK);
    assert_int_equal(park.fd_count, 1);
    assert_int_equal(park.deadline_ns, HOST_NO_DEADLINE);
    assert_int_equal(poll(park.fds, park.fd_count, 0), 0);
    assert_int_equal(write(input[1], "data", 4), 4);
    assert_int_equal(poll(park.fds, park.fd_count, 0), 1);
    assert_int_equal(RESUME(fd_read, 0, vector(DATA, 100), 1, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 4);
    assert_memory_equal(arena.memory + DATA, "data", 4);
    guest_fd_read(0, 100);
    assert_int_equal(status, HOST_PARK);
    assert_int_equal(close(input[1]), 0);
    assert_int_equal(guest_fd_read(0, 100), 0);
}

static void an_empty_read_does_not_wait(void **state)
{
    (void)state;
    assert_int_equal(guest_fd_read(0, 0), 0);
    assert_int_equal(CALL(fd_write, 1, vector(DATA, 0), 1, SCRATCH), WASI_SUCCESS);
}

static void a_write_to_a_full_pipe_parks_until_there_is_room(void **state)
{
    (void)state;
    uint64_t written = 0;
    uint8_t drained[65536];
    while (CALL(fd_write, 1, vector(DATA, 60000), 1, SCRATCH) == WASI_SUCCESS) {
        written += result_u32(0);
        assert_in_range(written, 1, 10000000);
    }
    assert_int_equal(status, HOST_PARK);
    assert_int_equal(park.fds[0].events, POLLOUT);
    assert_int_equal(poll(park.fds, 1, 0), 0);
    assert_true(read(output[0], drained, sizeof drained) > 0);
    assert_int_equal(poll(park.fds, 1, 0), 1);
    assert_int_equal(RESUME(fd_write, 1, vector(DATA, 100), 1, SCRATCH), WASI_SUCCESS);
}

/* A named pipe without readers cannot be reopened for writing, so the stream is the given open
 * file, which blocks; a write must be cut to what the pipe takes at once. */
static void a_stream_that_cannot_be_reopened_is_never_waited_for_either(void **state)
{
    (void)state;
    struct error e;
    char name[] = "/tmp/atoll-wasi-XXXXXX", fifo[64];
    assert_non_null(mkdtemp(name));
    snprintf(fifo, sizeof fifo, "%s/fifo", name);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    int reader = open(fifo, O_RDONLY | O_NONBLOCK), writer = open(fifo, O_WRONLY);
    close(reader);
    struct wasi_config config = {.stdin_fd = -1, .stdout_fd = writer, .stderr_fd = -1};
    wasi_destroy(wasi);
    wasi = NULL;
    assert_int_equal(wasi_create(&config, &wasi, &e), 0);
    reader = open(fifo, O_RDONLY | O_NONBLOCK);
    assert_int_equal(CALL(fd_write, 1, vector(DATA, 60000), 1, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 4096);
    for (int i = 0; status == HOST_DONE && i < 10000; i++) {
        CALL(fd_write, 1, vector(DATA, 60000), 1, SCRATCH);
    }
    assert_int_equal(status, HOST_PARK);
    close(reader);
    assert_int_equal(guest_fd_write(1, "x"), -WASI_EPIPE);
    close(writer);
    unlink(fifo);
    rmdir(name);
}

static void nonblocking_descriptors_answer_again_instead_of_parking(void **state)
{
    (void)state;
    assert_int_equal(CALL(fd_fdstat_set_flags, 0, WASI_FDFLAG_NONBLOCK), WASI_SUCCESS);
    assert_int_equal(CALL(fd_fdstat_set_flags, 4, WASI_FDFLAG_NONBLOCK), WASI_SUCCESS);
    assert_int_equal(guest_fd_read(0, 100), -WASI_EAGAIN);
    assert_int_equal(CALL(sock_accept, 4, 0, SCRATCH), WASI_EAGAIN);
    /* Nobody else sees the flag: the open file is not ours alone. */
    assert_int_equal(fcntl(input[0], F_GETFL) & O_NONBLOCK, 0);
}

static void a_broken_pipe_is_an_error_and_no_signal(void **state)
{
    (void)state;
    sigset_t pending;
    assert_int_equal(close(output[0]), 0);
    assert_int_equal(guest_fd_write(1, "x"), -WASI_EPIPE);
    assert_int_equal(sigpending(&pending), 0);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    assert_int_equal(close(pair[1]), 0);
    assert_int_equal(guest_fd_write(3, "x"), -WASI_EPIPE);
}

static void pipes_cannot_be_positioned_and_are_no_terminals(void **state)
{
    (void)state;
    assert_int_equal(CALL(fd_seek, 0, 0, WASI_WHENCE_CUR, SCRATCH), WASI_ESPIPE);
    assert_int_equal(CALL(fd_pread, 0, vector(DATA, 1), 1, 0, SCRATCH), WASI_ESPIPE);
    assert_int_equal(CALL(fd_fdstat_get, 0, SCRATCH), WASI_SUCCESS);
    assert_int_equal(arena.memory[SCRATCH], WASI_FILETYPE_UNKNOWN);
    assert_int_equal(result_u64(8) & (WASI_RIGHT_FD_SEEK | WASI_RIGHT_FD_WRITE), 0);
    assert_int_equal(guest_fd_write(0, "x"), -WASI_ENOTCAPABLE);
    assert_int_equal(guest_fd_read(1, 1), -WASI_ENOTCAPABLE);
}

/* ---- sockets ---- */

static void accept_parks_and_then_gives_a_connection(void **state)
{
    (void)state;
    struct sockaddr_in local;
    assert_int_equal(getsockname(listener, (struct sockaddr *)&local, &(socklen_t){sizeof local}),
                     0);
    CALL(sock_accept, 4, 0, SCRATCH);
    assert_int_equal(status, HOST_PARK);
    int client = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(client, (struct sockaddr *)&local, sizeof local), 0);
    assert_int_equal(poll(park.fds, park.fd_count, 1000), 1);
    /* A bad pointer must not cost the connection. */
    assert_int_equal(CALL(sock_accept, 4, 0, MEMORY_BYTES), WASI_EFAULT);
    assert_int_equal(CALL(sock_accept, 4, 1, SCRATCH), WASI_EINVAL);
    assert_int_equal(RESUME(sock_accept, 4, 0, SCRATCH), WASI_SUCCESS);
    int connection = (int)result_u32(0);
    assert_int_equal(guest_fd_write(connection, "hello"), 5);
    char bytes[8];
    assert_int_equal(read(client, bytes, sizeof bytes), 5);
    assert_int_equal(CALL(sock_shutdown, (uint64_t)connection, WASI_SDFLAG_WR), WASI_SUCCESS);
    assert_int_equal(read(client, bytes, sizeof bytes), 0);
    assert_int_equal(CALL(sock_shutdown, (uint64_t)connection, 0), WASI_EINVAL);
    assert_int_equal(CALL(sock_shutdown, (uint64_t)connection, 4), WASI_EINVAL);
    assert_int_equal(CALL(fd_filestat_get, (uint64_t)connection, SCRATCH), WASI_SUCCESS);
    assert_int_equal(arena.memory[SCRATCH + 16], WASI_FILETYPE_SOCKET_STREAM);
    assert_int_equal(CALL(sock_accept, (uint64_t)connection, 0, SCRATCH), WASI_ENOTCAPABLE);
    close(client);
}

static uint16_t receive(uint32_t len, uint32_t flags)
{
    return CALL(sock_recv, 3, vector(DATA, len), 1, flags, SCRATCH, SCRATCH + 4);
}

static void receiving_peeks_parks_and_ends(void **state)
{
    (void)state;
    receive(100, 0);
    assert_int_equal(status, HOST_PARK);
    assert_int_equal(write(pair[1], "abc", 3), 3);
    assert_int_equal(receive(100, WASI_RIFLAG_PEEK), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 3);
    assert_int_equal(receive(2, 0), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 2);
    assert_int_equal(receive(100, 0), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 1);
    assert_int_equal(arena.memory[DATA], 'c');
    assert_int_equal(shutdown(pair[1], SHUT_WR), 0);
    assert_int_equal(receive(100, 0), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 0);
    assert_int_equal(receive(100, 4), WASI_EINVAL);
    assert_int_equal(CALL(sock_recv, 0, VECTOR, 1, 0, SCRATCH, SCRATCH + 4), WASI_ENOTSOCK);
}

static void receiving_everything_waits_for_the_rest_or_the_end(void **state)
{
    (void)state;
    assert_int_equal(write(pair[1], "abc", 3), 3);
    receive(5, WASI_RIFLAG_WAITALL);
    assert_int_equal(status, HOST_PARK);
    assert_true(park.deadline_ns != HOST_NO_DEADLINE);
    assert_int_equal(write(pair[1], "de", 2), 2);
    assert_int_equal(receive(5, WASI_RIFLAG_WAITALL), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 5);
    assert_int_equal(write(pair[1], "fg", 2), 2);
    assert_int_equal(shutdown(pair[1], SHUT_WR), 0);
    assert_int_equal(receive(5, WASI_RIFLAG_WAITALL), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 2);
}

static void sending_goes_out_and_takes_no_flags(void **state)
{
    (void)state;
    char bytes[8];
    uint32_t text = guest_text("hey");
    assert_int_equal(CALL(sock_send, 3, vector(text, 3), 1, 0, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 3);
    assert_int_equal(read(pair[1], bytes, sizeof bytes), 3);
    assert_int_equal(CALL(sock_send, 3, vector(text, 3), 1, 1, SCRATCH), WASI_EINVAL);
    assert_int_equal(CALL(sock_send, 1, vector(text, 3), 1, 0, SCRATCH), WASI_ENOTSOCK);
}

/* Three vectors: "ab", nothing, and len bytes of DATA. */
static uint32_t three_vectors(uint32_t len)
{
    const uint32_t list[] = {guest_text("ab"), 2, 0, 0, DATA, len};
    for (uint32_t k = 0; k < 6; k++)
        store_u32(arena.memory + VECTOR + 4 * k, list[k]);
    return VECTOR;
}

static void bytes_that_are_gone_with_their_region_are_refused_and_end_no_process(void **state)
{
    (void)state;
    char bytes[8];
    uint32_t vectors = three_vectors(1000);
    arena.lost = DATA;
    arena.lost_end = DATA + 4096;
    uint16_t error = CALL(sock_send, 3, vectors, 3, 0, SCRATCH);
    arena.lost_end = 0;
    assert_int_equal(error, WASI_EFAULT);
    assert_int_equal(recv(pair[1], bytes, sizeof bytes, MSG_DONTWAIT), -1);
}

static void several_vectors_are_sent_as_one_datagram(void **state)
{
    (void)state;
    static char bytes[4096];
    struct error e;
    int ends[2];
    uint32_t number;
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
    assert_int_equal(wasi_add_socket(wasi, ends[0], &number, &e), 0);
    memset(arena.memory + DATA, 'x', 1000);
    assert_int_equal(CALL(fd_write, number, three_vectors(1000), 3, SCRATCH), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 1002);
    assert_int_equal(recv(ends[1], bytes, sizeof bytes, MSG_DONTWAIT), 1002);
    assert_memory_equal(bytes, "abx", 3);
    assert_int_equal(recv(ends[1], bytes, sizeof bytes, MSG_DONTWAIT), -1);
    assert_int_equal(CALL(sock_send, number, VECTOR, 0, 0, SCRATCH), WASI_SUCCESS);
    assert_int_equal(recv(ends[1], bytes, sizeof bytes, MSG_DONTWAIT), 0);
    close(ends[0]);
    close(ends[1]);
}

static void several_vectors_go_into_a_stream_as_far_as_it_takes_them(void **state)
{
    (void)state;
    static char bytes[1 << 20];
    uint32_t len = 200000;
    memset(arena.memory + DATA, 'y', len);
    assert_int_equal(CALL(fd_write, 3, three_vectors(len), 3, SCRATCH), WASI_SUCCESS);
    uint32_t sent = result_u32(0);
    assert_in_range(sent, 3, len + 2);
    assert_int_equal(recv(pair[1], bytes, sizeof bytes, MSG_DONTWAIT), sent);
    assert_memory_equal(bytes, "aby", 3);
    assert_int_equal(bytes[sent - 1], 'y');
    shutdown(pair[1], SHUT_RD);
    assert_int_equal(CALL(fd_write, 3, three_vectors(9), 3, SCRATCH), WASI_EPIPE); /* no signal */
}

/* ---- poll_oneoff ---- */

#define IN  0x10000u
#define OUT 0x20000u

static void subscribe_clock(uint32_t index, uint32_t clock, uint64_t timeout, uint16_t flags)
{
    uint8_t *s = arena.memory + IN + 48 * index;
    memset(s, 0, 48);
    store_u64(s, 1000 + index);
    store_u32(s + 16, clock);
    store_u64(s + 24, timeout);
    memcpy(s + 40, &flags, 2);
}

static void subscribe_fd(uint32_t index, uint8_t kind, uint32_t fd)
{
    uint8_t *s = arena.memory + IN + 48 * index;
    memset(s, 0, 48);
    store_u64(s, 1000 + index);
    s[8] = kind;
    store_u32(s + 16, fd);
}

#define POLL(count)       CALL(poll_oneoff, IN, OUT, count, SCRATCH)
#define POLL_AGAIN(count) RESUME(poll_oneoff, IN, OUT, count, SCRATCH)

static void assert_event(uint32_t index, uint64_t userdata, uint16_t error, uint64_t bytes,
                         uint16_t flags)
{
    const uint8_t *event = arena.memory + OUT + 32 * index;
    assert_int_equal(load_u64(event), userdata);
    assert_int_equal(load_u16(event + 8), error);
    assert_int_equal(load_u64(event + 16), bytes);
    assert_int_equal(load_u16(event + 24), flags);
}

static void a_relative_timeout_counts_from_the_first_call(void **state)
{
    (void)state;
    subscribe_clock(0, WASI_CLOCK_MONOTONIC, 20000000, 0);
    subscribe_clock(1, WASI_CLOCK_REALTIME, 3600000000000, 0);
    int64_t before = clock_monotonic_ns();
    POLL(2);
    assert_int_equal(status, HOST_PARK);
    int64_t deadline = park.deadline_ns;
    assert_true(deadline >= before + 20000000);
    assert_true(deadline <= clock_monotonic_ns() + 20000000);
    /* Made again too early, it parks for the same time. */
    POLL_AGAIN(2);
    assert_int_equal(status, HOST_PARK);
    assert_int_equal(park.deadline_ns, deadline);
    while (clock_monotonic_ns() < deadline) {
        poll(NULL, 0, 1);
    }
    assert_int_equal(POLL_AGAIN(2), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 1);
    assert_event(0, 1000, 0, 0, 0);
}

static void absolute_times_are_the_guests(void **state)
{
    (void)state;
    assert_int_equal(CALL(clock_time_get, WASI_CLOCK_MONOTONIC, 0, SCRATCH), WASI_SUCCESS);
    uint64_t now = result_u64(0);
    subscribe_clock(0, WASI_CLOCK_MONOTONIC, now + 3600000000000, WASI_SUBCLOCK_ABSTIME);
    POLL(1);
    assert_int_equal(status, HOST_PARK);
    assert_true(park.deadline_ns <= clock_monotonic_ns() + 3600000000000);
    assert_true(park.deadline_ns > clock_monotonic_ns() + 3500000000000);
    subscribe_clock(0, WASI_CLOCK_MONOTONIC, now, WASI_SUBCLOCK_ABSTIME);
    assert_int_equal(POLL(1), WASI_SUCCESS);
    subscribe_clock(0, WASI_CLOCK_REALTIME, 1, WASI_SUBCLOCK_ABSTIME);
    subscribe_clock(1, WASI_CLOCK_REALTIME, UINT64_MAX, WASI_SUBCLOCK_ABSTIME);
    assert_int_equal(POLL(2), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 1);
    assert_event(0, 1000, 0, 0, 0);
    subscribe_clock(0, WASI_CLOCK_REALTIME, UINT64_MAX, WASI_SUBCLOCK_ABSTIME);
    subscribe_clock(1, WASI_CLOCK_MONOTONIC, UINT64_MAX, 0);
    POLL(2);
    assert_int_equal(status, HOST_PARK);
    assert_int_equal(park.deadline_ns, HOST_NO_DEADLINE);
    POLL_AGAIN(2);
    assert_int_equal(status, HOST_PARK);
    assert_int_equal(park.deadline_ns, HOST_NO_DEADLINE);
}

static void descriptors_and_clocks_are_waited_for_together(void **state)
{
    (void)state;
    subscribe_fd(0, WASI_EVENT_FD_READ, 0);
    subscribe_clock(1, WASI_CLOCK_MONOTONIC, 3600000000000, 0);
    subscribe_fd(2, WASI_EVENT_FD_READ, 3);
    POLL(3);
    assert_int_equal(status, HOST_PARK);
    assert_int_equal(park.fd_count, 2);
    int64_t deadline = park.deadline_ns;
    assert_int_equal(write(pair[1], "abc", 3), 3);
    assert_int_equal(poll(park.fds, park.fd_count, 0), 1);
    assert_int_equal(POLL_AGAIN(3), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 1);
    assert_event(0, 1002, 0, 3, 0);
    assert_true(deadline != HOST_NO_DEADLINE);
}

static void readiness_says_how_much_and_who_has_gone(void **state)
{
    (void)state;
    subscribe_fd(0, WASI_EVENT_FD_READ, 0);
    subscribe_fd(1, WASI_EVENT_FD_WRITE, 1);
    subscribe_fd(2, WASI_EVENT_FD_WRITE, 3);
    assert_int_equal(write(input[1], "12345", 5), 5);
    assert_int_equal(POLL(3), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 3);
    assert_event(0, 1000, 0, 5, 0);
    assert_true(load_u64(arena.memory + OUT + 32 + 16) >= 4096);
    assert_true(load_u64(arena.memory + OUT + 64 + 16) >= 1);
    close(input[1]);
    close(output[0]);
    close(pair[1]);
    assert_int_equal(POLL(3), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 3);
    assert_event(0, 1000, 0, 5, WASI_EVENT_HANGUP);
    assert_event(1, 1001, WASI_EPIPE, 0, WASI_EVENT_HANGUP);
    assert_int_equal(load_u16(arena.memory + OUT + 64 + 24), WASI_EVENT_HANGUP);
}

static void what_cannot_be_waited_for_is_an_event_with_an_error(void **state)
{
    (void)state;
    subscribe_fd(0, WASI_EVENT_FD_READ, 99);
    subscribe_fd(1, WASI_EVENT_FD_READ, 1);
    subscribe_fd(2, WASI_EVENT_FD_READ, 0);
    subscribe_clock(3, WASI_CLOCK_PROCESS, 1, 0);
    subscribe_clock(4, 17, 1, 0);
    assert_int_equal(POLL(5), WASI_SUCCESS);
    assert_int_equal(result_u32(0), 4);
    assert_event(0, 1000, WASI_EBADF, 0, 0);
    assert_event(1, 1001, WASI_ENOTCAPABLE, 0, 0);
    assert_event(2, 1003, WASI_ENOTSUP, 0, 0);
    assert_event(3, 1004, WASI_EINVAL, 0, 0);
}

static void polling_refuses_bad_arguments(void **state)
{
    (void)state;
    subscribe_fd(0, 3, 0);
    assert_int_equal(POLL(1), WASI_EINVAL);
    assert_int_equal(POLL(0), WASI_EINVAL);
    assert_int_equal(POLL(1025), WASI_EINVAL);
    assert_int_equal(POLL(UINT32_MAX), WASI_EINVAL);
    subscribe_clock(0, 0, 0, 0);
    assert_int_equal(CALL(poll_oneoff, MEMORY_BYTES - 47, OUT, 1, SCRATCH), WASI_EFAULT);
    assert_int_equal(CALL(poll_oneoff, IN, MEMORY_BYTES - 31, 1, SCRATCH), WASI_EFAULT);
    assert_int_equal(CALL(poll_oneoff, IN, OUT, 1, MEMORY_BYTES - 3), WASI_EFAULT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_read_of_an_empty_pipe_parks_until_there_is_data),
        TEST(an_empty_read_does_not_wait),
        TEST(a_write_to_a_full_pipe_parks_until_there_is_room),
        TEST(a_stream_that_cannot_be_reopened_is_never_waited_for_either),
        TEST(nonblocking_descriptors_answer_again_instead_of_parking),
        TEST(a_broken_pipe_is_an_error_and_no_signal),
        TEST(pipes_cannot_be_positioned_and_are_no_terminals),
        TEST(accept_parks_and_then_gives_a_connection),
        TEST(receiving_peeks_parks_and_ends),
        TEST(receiving_everything_waits_for_the_rest_or_the_end),
        TEST(sending_goes_out_and_takes_no_flags),
        TEST(bytes_that_are_gone_with_their_region_are_refused_and_end_no_process),
        TEST(several_vectors_are_sent_as_one_datagram),
        TEST(several_vectors_go_into_a_stream_as_far_as_it_takes_them),
        TEST(a_relative_timeout_counts_from_the_first_call),
        TEST(absolute_times_are_the_guests),
        TEST(descriptors_and_clocks_are_waited_for_together),
        TEST(readiness_says_how_much_and_who_has_gone),
        TEST(what_cannot_be_waited_for_is_an_event_with_an_error),
        TEST(polling_refuses_bad_arguments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
