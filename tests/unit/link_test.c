/* Links between supervisor and worker (src/node/link.c). */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/link.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct error failure;

struct pair {
    struct link *supervisor, *worker;
};

static struct pair pair_open(void)
{
    struct pair p = {malloc(sizeof(struct link)), malloc(sizeof(struct link))};
    int fds[LINK_DESCRIPTORS];
    assert_int_equal(link_pair(p.supervisor, fds, &failure), 0);
    assert_int_equal(link_adopt(fds, p.worker, &failure), 0);
    return p;
}

static void pair_close(struct pair *p)
{
    link_close(p->supervisor);
    link_close(p->worker);
    free(p->supervisor);
    free(p->worker);
}

static int file_of(char letter)
{
    int fd = memfd_create("letter", MFD_CLOEXEC);
    assert_int_equal(write(fd, &letter, 1), 1);
    return fd;
}

static char letter_of(int fd)
{
    char letter = 0;
    assert_int_equal(pread(fd, &letter, 1, 0), 1);
    return letter;
}

/* A LOAD with a file per letter. */
static int load_send(struct link *l, const char *letters)
{
    uint32_t count = (uint32_t)strlen(letters);
    uint8_t paths[MESSAGE_FDS_MAX * 4] = {0};
    int fds[MESSAGE_FDS_MAX];
    struct message m = {.header.kind = MESSAGE_LOAD, .load.file_count = count - 1};
    m.parts[1] = paths;
    m.part_len[1] = 4 * (count - 1);
    for (uint32_t k = 0; k < count; k++)
        fds[k] = file_of(letters[k]);
    int rc = link_send(l, &m, fds, count, &failure);
    for (uint32_t k = 0; k < count; k++)
        close(fds[k]);
    return rc;
}

static void descriptors_arrive_with_their_message_and_in_order(void **state)
{
    (void)state;
    struct pair p = pair_open();
    struct message m = {.header = {.kind = MESSAGE_CANCEL, .id = 9}};
    assert_int_equal(load_send(p.supervisor, "abc"), 0);
    assert_int_equal(link_send(p.supervisor, &m, NULL, 0, &failure), 0);
    assert_int_equal(load_send(p.supervisor, "wxyz"), 0);
    int fds[MESSAGE_FDS_MAX];
    static const char *const expected[] = {"abc", "", "wxyz"};
    for (int k = 0; k < 3; k++) {
        assert_int_equal(link_receive(p.worker, &m, fds, &failure), 1);
        assert_int_equal(m.header.fds, strlen(expected[k]));
        for (uint32_t f = 0; f < m.header.fds; f++) {
            assert_int_equal(letter_of(fds[f]), expected[k][f]);
            assert_true(fcntl(fds[f], F_GETFD) & FD_CLOEXEC);
            close(fds[f]);
        }
    }
    assert_int_equal(link_receive(p.worker, &m, fds, &failure), 0);
    pair_close(&p);
}

static void a_full_ring_is_told_from_a_dead_peer(void **state)
{
    (void)state;
    struct pair p = pair_open();
    static const uint8_t line[MESSAGE_TEXT_MAX];
    struct message m = {.header.kind = MESSAGE_LOG};
    m.parts[0] = line;
    m.part_len[0] = sizeof line;
    int rc, sent = 0;
    while ((rc = link_send(p.worker, &m, NULL, 0, &failure)) == 0)
        sent++;
    assert_int_equal(rc, -ATOLL_EAGAIN);
    assert_true(sent > (int)(MESSAGE_RING / (sizeof line + 128)));
    int fds[MESSAGE_FDS_MAX];
    struct message got;
    for (int k = 0; k < sent; k++)
        assert_int_equal(link_receive(p.supervisor, &got, fds, &failure), 1);
    while (link_send(p.worker, &m, NULL, 0, &failure) == 0)
        ;
    close(p.supervisor->socket);
    p.supervisor->socket = -1;
    assert_int_equal(link_send(p.worker, &m, NULL, 0, &failure), -ATOLL_EUNAVAIL);
    assert_int_equal(link_send_wait(p.worker, &m, NULL, 0, &failure), -ATOLL_EUNAVAIL);
    int fd = file_of('x');
    struct message loaded = {.header.kind = MESSAGE_LOADED, .loaded.has_image = 1};
    for (int k = 0; k < 4; k++)
        assert_int_equal(link_receive(p.supervisor, &got, fds, &failure), 1);
    assert_int_equal(link_send(p.worker, &loaded, &fd, 1, &failure), -ATOLL_EUNAVAIL);
    close(fd);
    pair_close(&p);
}

static void a_quiet_message_wakes_nobody_until_that_is_asked_for(void **state)
{
    (void)state;
    struct pair p = pair_open();
    struct message m = {.header.kind = MESSAGE_LOG}, got;
    int fds[MESSAGE_FDS_MAX];
    uint32_t before = ring_signal(&p.supervisor->in);
    assert_int_equal(link_untaken(p.worker), 0);
    link_wake(p.worker); /* nothing was sent */
    assert_int_equal(link_send_quietly(p.worker, &m, NULL, 0, &failure), 0);
    assert_int_equal(ring_signal(&p.supervisor->in), before);
    assert_true(link_untaken(p.worker) > 0);
    link_wake(p.worker);
    assert_int_not_equal(ring_signal(&p.supervisor->in), before);
    before = ring_signal(&p.supervisor->in);
    assert_int_equal(link_receive(p.supervisor, &got, fds, &failure), 1);
    assert_int_equal(link_untaken(p.worker), 0);
    link_wake(p.worker); /* all was taken */
    assert_int_equal(ring_signal(&p.supervisor->in), before);
    pair_close(&p);
}

static void *drain(void *context)
{
    struct link *l = context;
    struct message m;
    struct error e;
    int fds[MESSAGE_FDS_MAX];
    intptr_t got = 0;
    usleep(5000);
    while (got < 20000)
        got += link_receive(l, &m, fds, &e) == 1;
    return NULL;
}

static void a_waiting_sender_goes_on_when_there_is_room(void **state)
{
    (void)state;
    struct pair p = pair_open();
    static const uint8_t line[MESSAGE_TEXT_MAX];
    pthread_t thread;
    pthread_create(&thread, NULL, drain, p.supervisor);
    for (int k = 0; k < 20000; k++) { /* more than twice what the ring holds */
        struct message m = {.header.kind = MESSAGE_LOG};
        m.parts[0] = line;
        m.part_len[0] = sizeof line;
        assert_int_equal(link_send_wait(p.worker, &m, NULL, 0, &failure), 0);
    }
    pthread_join(thread, NULL);
    pair_close(&p);
}

static void a_packet_that_belongs_to_another_message_breaks_the_link(void **state)
{
    (void)state;
    struct pair p = pair_open();
    int fds[MESSAGE_FDS_MAX];
    struct message m;
    /* A packet too many: sent beside the link. */
    uint64_t sequence = 1;
    assert_int_equal(send(p.worker->socket, &sequence, sizeof sequence, 0), sizeof sequence);
    int fd = file_of('x');
    struct message loaded = {.header.kind = MESSAGE_LOADED, .loaded.has_image = 1};
    assert_int_equal(link_send(p.worker, &loaded, &fd, 1, &failure), 0);
    assert_int_equal(link_receive(p.supervisor, &m, fds, &failure), -ATOLL_ECORRUPT);
    pair_close(&p);

    /* A message whose packet never came. */
    p = pair_open();
    uint32_t len = message_measure(&loaded);
    void *room = ring_reserve(&p.worker->out, len);
    loaded.header.fds = 1;
    loaded.header.sequence = 1;
    message_encode(&loaded, room);
    ring_publish(&p.worker->out);
    assert_int_equal(link_receive(p.supervisor, &m, fds, &failure), -ATOLL_ECORRUPT);
    close(fd);
    pair_close(&p);
}

static void a_link_is_inherited_by_another_process(void **state)
{
    (void)state;
    struct link *supervisor = malloc(sizeof *supervisor);
    int fds[MESSAGE_FDS_MAX], ends[LINK_DESCRIPTORS];
    assert_int_equal(link_pair(supervisor, ends, &failure), 0);
    pid_t child = fork();
    if (child == 0) {
        struct link *worker = malloc(sizeof *worker);
        struct message m;
        int rc = link_adopt(ends, worker, &failure), got = 0;
        while (rc == 0 && got == 0) {
            uint32_t seen = ring_signal(&worker->in);
            got = link_receive(worker, &m, fds, &failure);
            if (got == 0)
                ring_wait(&worker->in, seen, -1);
        }
        struct message hello = {.header.kind = MESSAGE_HELLO, .hello.pid = (uint32_t)m.header.id};
        _exit(got == 1 && link_send(worker, &hello, NULL, 0, &failure) == 0 ? 0 : 1);
    }
    for (int k = 0; k < LINK_DESCRIPTORS; k++)
        close(ends[k]);
    struct message m = {.header = {.kind = MESSAGE_CANCEL, .id = 4711}};
    assert_int_equal(link_send(supervisor, &m, NULL, 0, &failure), 0);
    int status;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(link_receive(supervisor, &m, fds, &failure), 1);
    assert_int_equal(m.hello.pid, 4711);
    link_close(supervisor);
    free(supervisor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(descriptors_arrive_with_their_message_and_in_order),
        cmocka_unit_test(a_full_ring_is_told_from_a_dead_peer),
        cmocka_unit_test(a_quiet_message_wakes_nobody_until_that_is_asked_for),
        cmocka_unit_test(a_waiting_sender_goes_on_when_there_is_room),
        cmocka_unit_test(a_packet_that_belongs_to_another_message_breaks_the_link),
        cmocka_unit_test(a_link_is_inherited_by_another_process),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
