/* Replicas as processes have them, four on one loop, with a client beside them
 * (src/ledger/service/server, caller): what they promise to who opens, calls, and closes them. */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/file.h"
#include "ledger/kv/smallbank.h"
#include "ledger/service/caller.h"
#include "ledger/service/local.h"
#include "ledger/service/server.h"
#include "ledger_loop.h"
#include "scratch_directory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define N 4

static uv_loop_t loop;
static struct ledger_server *servers[N];
static unsigned servers_closed;
static struct buffer genesis;
static struct secret *client_key;
static struct caller *caller;
static struct ledger_receipt_store *store;

struct answer {
    unsigned count;
    int result;
    int32_t status;
    uint64_t index;
    bool kept; /* its receipt is in the store already */
};
static struct answer answer;

static void turn(void)
{
    uv_run(&loop, UV_RUN_NOWAIT);
    usleep(500);
}

#define UNTIL(condition) TURN_UNTIL(condition, turn())

/* ---- replicas ---- */

static void path_of(unsigned i, const char *file, char out[static 128])
{
    snprintf(out, 128, "%s/replica-%u%s", scratch, i, file);
}

static int server_open(unsigned i, struct error *e)
{
    char path[128];
    path_of(i, "", path);
    const struct ledger_server_config config = {.directory = path};
    return ledger_server_open(&loop, &config, &servers[i], e);
}

static void server_closed(void *context)
{
    (void)context;
    servers_closed++;
}

static void servers_close(void)
{
    unsigned open = 0;
    servers_closed = 0;
    for (unsigned i = 0; i < N; i++) {
        if (servers[i] == NULL)
            continue;
        open++;
        ledger_server_close(servers[i], server_closed, NULL);
        servers[i] = NULL;
    }
    UNTIL(servers_closed == open);
}

static void servers_open(void)
{
    struct error e;
    for (unsigned i = 0; i < N; i++)
        if (server_open(i, &e) != 0)
            fail_msg("%s", e.text);
}

static struct ledger_status status_of(unsigned i)
{
    struct ledger_status s;
    ledger_status(ledger_server_replica(servers[i]), &s);
    return s;
}

static int setup(void **state)
{
    struct ledger_local_settings s;
    struct error e;
    char path[128];
    (void)state;
    ledger_local_defaults(&s);
    s.terms.accounts = 100;
    s.terms.view_timeout_us = 1000000;
    s.first_port = ledger_local_ports(N);
    if (scratch_create(state) != 0 || ledger_local_make(scratch, &s, &e) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/genesis", scratch);
    genesis.len = 0;
    return file_read(path, 1u << 16, &genesis, &e);
}

static int teardown(void **state)
{
    (void)state;
    servers_close();
    return scratch_destroy(state);
}

static int group_setup(void **state)
{
    struct error e;
    (void)state;
    return uv_loop_init(&loop) || secret_generate(&client_key, &e);
}

static int group_teardown(void **state)
{
    (void)state;
    secret_destroy(client_key);
    buffer_free(&genesis);
    return uv_loop_close(&loop);
}

/* ---- a client ---- */

static void finished(void *context, const struct ledger_outcome *o)
{
    struct buffer found = {0};
    struct error e;
    (void)context;
    answer = (struct answer){answer.count + 1, o->result, o->status, o->index,
                             store && ledger_receipt_store_find(store, o->index, &found, &e) == 0 &&
                                 slice_equal(slice_of_buffer(&found), o->receipt)};
    buffer_free(&found);
}

static void caller_begin(void)
{
    struct error e;
    const struct caller_settings settings = {.genesis = slice_of_buffer(&genesis),
                                             .identities = 1,
                                             .keys = &client_key,
                                             .store = store,
                                             .finished = finished};
    answer = (struct answer){0};
    assert_int_equal(caller_open(&loop, &settings, &caller, &e), 0);
}

static void caller_ended(void *context)
{
    *(bool *)context = true;
}

static void caller_end(void)
{
    bool ended = false;
    caller_close(caller, caller_ended, &ended);
    UNTIL(ended);
}

static void deposit(void)
{
    struct smallbank_call what = {.proc = SMALLBANK_DEPOSIT_CHECKING, .customer = 1, .amount = 100};
    uint8_t args[SMALLBANK_ARGS_MAX];
    uint64_t reqno;
    struct error e;
    size_t len = smallbank_args_encode(&what, args);
    unsigned before = answer.count;
    assert_int_equal(ledger_client_call(caller_client(caller), 0, what.proc, slice_of(args, len),
                                        NULL, &reqno, &e),
                     0);
    UNTIL(answer.count == before + 1);
    assert_int_equal(answer.result, 0);
    assert_int_equal(answer.status, 0);
}

/* ---- the tests ---- */

static void a_call_is_answered_and_its_receipt_kept_before_anybody_hears_of_it(void **state)
{
    (void)state;
    char path[128];
    struct error e;
    servers_open();
    snprintf(path, sizeof path, "%s/receipts", scratch);
    assert_int_equal(
        ledger_receipt_store_open(path, ledger_server_genesis(servers[0])->hash, &store, &e), 0);
    caller_begin();
    for (unsigned i = 0; i < 5; i++) {
        deposit();
        assert_true(answer.kept);
    }
    uint64_t highest = answer.index;
    caller_end();
    /* A client that starts again asks to be executed after all that it has seen. */
    caller_begin();
    struct ledger_client_status status;
    ledger_client_status(caller_client(caller), &status);
    assert_int_equal(status.min_index, highest);
    deposit();
    assert_true(answer.index > highest);
    caller_end();
    ledger_receipt_store_close(store);
    store = NULL;
}

static void a_ledger_that_was_closed_goes_on_where_it_was(void **state)
{
    (void)state;
    servers_open();
    caller_begin();
    deposit();
    deposit();
    uint64_t index = answer.index;
    caller_end();
    for (unsigned i = 0; i < N; i++)
        UNTIL(status_of(i).next_index > index);
    servers_close();
    servers_open();
    for (unsigned i = 0; i < N; i++)
        assert_int_equal(status_of(i).next_index, index + 1);
    caller_begin();
    deposit();
    assert_int_equal(answer.index, index + 1);
    caller_end();
}

static void three_of_four_go_on_and_the_fourth_catches_up(void **state)
{
    (void)state;
    struct error e;
    servers_open();
    caller_begin();
    deposit();
    servers_closed = 0;
    ledger_server_close(servers[2], server_closed, NULL);
    servers[2] = NULL;
    UNTIL(servers_closed == 1);
    for (unsigned i = 0; i < 10; i++)
        deposit();
    uint64_t index = answer.index;
    assert_int_equal(server_open(2, &e), 0);
    UNTIL(status_of(2).next_index > index);
    caller_end();
}

static void a_directory_is_served_by_one_replica_at_a_time(void **state)
{
    (void)state;
    struct error e;
    char path[128];
    struct ledger_server *second;
    servers_open();
    path_of(1, "", path);
    const struct ledger_server_config config = {.directory = path, .listen = "127.0.0.1:0"};
    assert_int_equal(ledger_server_open(&loop, &config, &second, &e), -ATOLL_EBUSY);
    assert_null(second);
    caller_begin();
    deposit(); /* the first one does not mind */
    caller_end();
}

static void a_replica_without_its_files_or_with_anothers_key_does_not_start(void **state)
{
    (void)state;
    struct error e;
    struct secret *stranger;
    char path[128];
    path_of(0, "/genesis", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(server_open(0, &e), -ATOLL_ENOENT);
    assert_non_null(strstr(e.text, "genesis"));
    path_of(1, "/replica.key", path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(server_open(1, &e), -ATOLL_ENOENT);
    assert_int_equal(secret_generate(&stranger, &e), 0);
    assert_int_equal(secret_write(stranger, path, NULL, &e), 0);
    secret_destroy(stranger);
    assert_int_equal(server_open(1, &e), -ATOLL_EPERM);
    path_of(2, "/genesis", path);
    assert_int_equal(truncate(path, 50), 0);
    assert_int_not_equal(server_open(2, &e), 0);
    for (unsigned i = 0; i < N; i++)
        assert_null(servers[i]);
    uv_run(&loop, UV_RUN_DEFAULT);
}

struct heard {
    unsigned replies;
    uint64_t connection;
};

static void reply_heard(void *context, uint64_t connection, const struct slice *parts,
                        unsigned count)
{
    struct heard *h = context;
    assert_true(count > 0 && parts[0].len > 0);
    h->replies++;
    h->connection = connection;
}

static void replies_to_a_connection_of_the_owners_go_to_the_owner(void **state)
{
    (void)state;
    static const uint8_t unknown[HASH_LEN] = {1};
    struct heard heard = {0};
    struct buffer message = {0};
    uint64_t number = LEDGER_SERVER_CONNECTION | 7;
    servers_open();
    ledger_server_replies(servers[0], reply_heard, &heard);
    assert_true(ledger_fetch_receipt_write(&message, unknown));
    ledger_on_client(ledger_server_replica(servers[0]), number, message.data, message.len);
    UNTIL(heard.replies == 1);
    assert_int_equal(heard.connection, number);
    ledger_on_client_gone(ledger_server_replica(servers[0]), number);
    ledger_server_replies(servers[0], NULL, NULL);
    ledger_on_client(ledger_server_replica(servers[0]), number, message.data, message.len);
    for (unsigned i = 0; i < 20; i++)
        turn();
    assert_int_equal(heard.replies, 1); /* dropped */
    buffer_free(&message);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_answered_and_its_receipt_kept_before_anybody_hears_of_it),
        TEST(a_ledger_that_was_closed_goes_on_where_it_was),
        TEST(three_of_four_go_on_and_the_fourth_catches_up),
        TEST(a_directory_is_served_by_one_replica_at_a_time),
        TEST(a_replica_without_its_files_or_with_anothers_key_does_not_start),
        TEST(replies_to_a_connection_of_the_owners_go_to_the_owner),
    };
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
