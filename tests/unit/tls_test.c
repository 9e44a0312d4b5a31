/* TLS sessions over memory (src/crypto/tls.c): two of them, with the bytes carried by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "crypto/tls.h"
#include "tls_fixture.h"

static struct tls_fixture files;

static int fixture_begin(void **state)
{
    (void)state;
    tls_fixture_make(&files);
    return 0;
}

static int fixture_end(void **state)
{
    (void)state;
    tls_fixture_remove(&files);
    return 0;
}

/* Carries what waits in one session to the other, `step` bytes at a time; false when nothing did.
 */
static bool carry(struct tls_session *from, struct tls_session *to, size_t step)
{
    uint8_t piece[4096];
    struct error e;
    bool moved = false;
    size_t len;
    while ((len = tls_outgoing_take(from, piece, step)) > 0) {
        assert_int_equal(tls_receive(to, piece, len, &e), 0);
        moved = true;
    }
    assert_int_equal(tls_outgoing(from), 0);
    return moved;
}

struct pair {
    struct tls_context *server_context, *client_context;
    struct tls_session *server, *client;
};

static void pair_open(struct pair *p, const char *client_ca, const char *trusted,
                      const char *certificate, const char *key, const char *name)
{
    struct error e;
    assert_int_equal(tls_context_server(files.path[TLS_SERVER], files.path[TLS_SERVER_KEY],
                                        client_ca, &p->server_context, &e),
                     0);
    assert_int_equal(tls_context_client(trusted, certificate, key, &p->client_context, &e), 0);
    assert_int_equal(tls_session_create(p->server_context, NULL, &p->server, &e), 0);
    assert_int_equal(tls_session_create(p->client_context, name, &p->client, &e), 0);
    /* Sessions keep what they need. */
    tls_context_destroy(p->server_context);
    tls_context_destroy(p->client_context);
}

static void pair_close(struct pair *p)
{
    tls_session_destroy(p->server);
    tls_session_destroy(p->client);
}

/* Carries the handshake on until neither side has anything to say. */
static void handshake(struct pair *p, size_t step, int *client, int *server, struct error *e)
{
    struct error other;
    *client = *server = -ATOLL_EAGAIN;
    bool moved = true;
    while (moved) {
        if (*client == -ATOLL_EAGAIN)
            *client = tls_handshake(p->client, e);
        moved = carry(p->client, p->server, step);
        if (*server == -ATOLL_EAGAIN)
            *server = tls_handshake(p->server, &other);
        moved |= carry(p->server, p->client, step);
    }
}

static void bytes_pass_encrypted_both_ways(void **state)
{
    (void)state;
    static const size_t steps[] = {1, 7, 4096};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        struct pair p;
        struct error e;
        int client, server;
        pair_open(&p, NULL, files.path[TLS_AUTHORITY], NULL, NULL, "localhost");
        assert_int_equal(tls_write(p.server, "early", 5, &e), -ATOLL_EAGAIN);
        handshake(&p, steps[i], &client, &server, &e);
        assert_int_equal(client, 0);
        assert_int_equal(server, 0);
        static uint8_t sent[TLS_RECORD_MAX], got[TLS_RECORD_MAX];
        for (size_t j = 0; j < sizeof sent; j++)
            sent[j] = (uint8_t)(j * 31);
        assert_int_equal(tls_write(p.client, sent, sizeof sent, &e), 0);
        assert_true(tls_outgoing(p.client) > sizeof sent);
        carry(p.client, p.server, steps[i]);
        assert_int_equal(tls_read(p.server, got, sizeof got, &e), sizeof sent);
        assert_memory_equal(sent, got, sizeof sent);
        assert_int_equal(tls_read(p.server, got, sizeof got, &e), -ATOLL_EAGAIN);
        assert_int_equal(tls_write(p.server, "answer", 6, &e), 0);
        carry(p.server, p.client, steps[i]);
        assert_int_equal(tls_read(p.client, got, sizeof got, &e), 6);
        tls_close(p.server);
        carry(p.server, p.client, steps[i]);
        assert_int_equal(tls_read(p.client, got, sizeof got, &e), 0);
        char name[TLS_NAME_MAX + 1];
        assert_true(tls_peer_name(p.client, name));
        assert_string_equal(name, "localhost");
        assert_false(tls_peer_name(p.server, name));
        assert_string_equal(name, "");
        pair_close(&p);
    }
}

static void a_server_that_is_not_trusted_or_has_another_name_is_refused(void **state)
{
    (void)state;
    static const struct {
        int trusted;
        const char *name;
        int result;
    } cases[] = {
        {TLS_AUTHORITY, "localhost", 0},
        {TLS_AUTHORITY, "127.0.0.1", 0},
        {TLS_AUTHORITY, "::1", 0},
        {TLS_AUTHORITY, "localhost.example.org", -ATOLL_ESIGNATURE},
        {TLS_AUTHORITY, "127.0.0.2", -ATOLL_ESIGNATURE},
        {TLS_STRANGER, "localhost", -ATOLL_ESIGNATURE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pair p;
        struct error e = {0};
        int client, server;
        pair_open(&p, NULL, files.path[cases[i].trusted], NULL, NULL, cases[i].name);
        handshake(&p, 4096, &client, &server, &e);
        assert_int_equal(client, cases[i].result);
        if (client < 0) {
            assert_non_null(strstr(e.text, "not trusted: "));
            assert_int_equal(tls_write(p.client, "x", 1, &e) < 0, 1);
        }
        pair_close(&p);
    }
}

static void a_server_that_asks_for_client_certificates_admits_only_those_it_trusts(void **state)
{
    (void)state;
    static const int certificates[][2] = {
        {TLS_CLIENT, TLS_CLIENT_KEY}, {TLS_STRANGER, TLS_STRANGER_KEY}, {-1, -1}};
    for (size_t i = 0; i < 3; i++) {
        struct pair p;
        struct error e = {0};
        char name[TLS_NAME_MAX + 1];
        int client, server;
        bool any = certificates[i][0] >= 0;
        pair_open(&p, files.path[TLS_AUTHORITY], files.path[TLS_AUTHORITY],
                  any ? files.path[certificates[i][0]] : NULL,
                  any ? files.path[certificates[i][1]] : NULL, "localhost");
        handshake(&p, 4096, &client, &server, &e);
        if (i == 0) {
            assert_int_equal(server, 0);
            assert_true(tls_peer_name(p.server, name));
            assert_string_equal(name, "operator");
        } else {
            assert_true(server == (i == 1 ? -ATOLL_ESIGNATURE : -ATOLL_EIO));
            assert_false(tls_peer_name(p.server, name));
        }
        pair_close(&p);
    }
}

static void bytes_that_are_not_tls_are_an_error(void **state)
{
    (void)state;
    static const char *const inputs[] = {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                                         "\x16\x03\x01\x00\x05hello", "\x80\x2e\x01\x00\x02",
                                         "\x15\x03\x03\x00\x02\x02\x28"};
    for (size_t i = 0; i < sizeof inputs / sizeof *inputs; i++) {
        struct tls_context *context;
        struct tls_session *s;
        struct error e = {0};
        size_t len = i == 0 ? strlen(inputs[i]) : i == 1 ? 10 : i == 2 ? 5 : 7;
        assert_int_equal(tls_context_server(files.path[TLS_SERVER], files.path[TLS_SERVER_KEY],
                                            NULL, &context, &e),
                         0);
        assert_int_equal(tls_session_create(context, NULL, &s, &e), 0);
        int result = -ATOLL_EAGAIN;
        for (int round = 0; round < 100 && result == -ATOLL_EAGAIN; round++) {
            assert_int_equal(tls_receive(s, inputs[i], len, &e), 0);
            result = tls_handshake(s, &e);
        }
        assert_int_equal(result, -ATOLL_EIO);
        assert_non_null(strstr(e.text, "TLS failed: "));
        tls_session_destroy(s);
        tls_context_destroy(context);
    }
}

static void unusable_files_are_named(void **state)
{
    (void)state;
    struct tls_context *context;
    struct error e;
    const char *missing = "/nonexistent/cert.pem";
    assert_int_equal(tls_context_server(missing, files.path[TLS_SERVER_KEY], NULL, &context, &e),
                     -ATOLL_EINVAL);
    assert_non_null(strstr(e.text, missing));
    assert_int_equal(tls_context_server(files.path[TLS_SERVER], missing, NULL, &context, &e),
                     -ATOLL_EINVAL);
    assert_non_null(strstr(e.text, missing));
    assert_int_equal(
        tls_context_server(files.path[TLS_SERVER], files.path[TLS_CLIENT_KEY], NULL, &context, &e),
        -ATOLL_EINVAL);
    assert_non_null(strstr(e.text, files.path[TLS_CLIENT_KEY]));
    assert_int_equal(tls_context_server(files.path[TLS_SERVER], files.path[TLS_SERVER_KEY], missing,
                                        &context, &e),
                     -ATOLL_EINVAL);
    assert_int_equal(tls_context_client(missing, NULL, NULL, &context, &e), -ATOLL_EINVAL);
    assert_int_equal(tls_context_client(files.path[TLS_SERVER_KEY], NULL, NULL, &context, &e),
                     -ATOLL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_pass_encrypted_both_ways),
        cmocka_unit_test(a_server_that_is_not_trusted_or_has_another_name_is_refused),
        cmocka_unit_test(a_server_that_asks_for_client_certificates_admits_only_those_it_trusts),
        cmocka_unit_test(bytes_that_are_not_tls_are_an_error),
        cmocka_unit_test(unusable_files_are_named),
    };
    return cmocka_run_group_tests(tests, fixture_begin, fixture_end);
}
