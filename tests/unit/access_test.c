/* Tokens, tenants and grants, in a node without workers. */
#define _GNU_SOURCE
#include "node_parts.h"
#include "scratch_directory.h"

#include "node/access.h"
#include "state/state.h"

#include <string.h>

static struct node *n;

static int begin(void **state)
{
    (void)state;
    n = node_parts_open();
    return 0;
}

static int end(void **state)
{
    (void)state;
    node_parts_close(n);
    scratch_remove(scratch_path("data"));
    return 0;
}

static void restart(void)
{
    node_parts_close(n);
    n = node_parts_open();
}

/* "Bearer atl_…" of a new token. */
static const char *token(uint32_t scopes, const char *tenant, int64_t expires_ns,
                         struct token *made)
{
    static char field[8 + TOKEN_TEXT_LEN + 1];
    struct token wanted = {.scopes = scopes, .expires_ns = expires_ns, .note = "a note"};
    struct said s = {0};
    strcpy(wanted.tenant, tenant);
    strcpy(field, "Bearer ");
    access_token_make(n->access, &wanted, field + 7, made, said_note, &s);
    assert_int_equal(said_wait(n, &s), 0);
    return field;
}

static int shown(const char *field, const struct token **t)
{
    struct error e;
    return access_token(n->access, field, strlen(field), t, &e);
}

static void a_token_is_good_until_it_is_revoked_also_after_a_restart(void **state)
{
    (void)state;
    struct token made;
    const struct token *t;
    struct said s = {0};
    const char *field = token(SCOPE_INVOKE | SCOPE_LOGS, "acme", 0, &made);
    assert_int_equal(shown(field, &t), 0);
    restart();
    assert_int_equal(shown(field, &t), 0);
    assert_string_equal(t->id, made.id);
    assert_string_equal(t->tenant, "acme");
    assert_string_equal(t->note, "a note");
    assert_int_equal(t->scopes, SCOPE_INVOKE | SCOPE_LOGS);
    access_token_revoke(n->access, made.id, said_note, &s);
    assert_int_equal(said_wait(n, &s), 0);
    assert_int_equal(shown(field, &t), -ATOLL_EPERM);
    restart();
    assert_int_equal(shown(field, &t), -ATOLL_EPERM);
    access_token_revoke(n->access, made.id, said_note, &s);
    assert_int_equal(said_wait(n, &s), -ATOLL_ENOENT);
}

static void only_the_very_text_of_a_token_is_right(void **state)
{
    (void)state;
    struct token made;
    const struct token *t;
    char wrong[80];
    const char *field = token(SCOPE_ADMIN, "", 0, &made);
    for (size_t i = 7; i < strlen(field); i++) {
        strcpy(wrong, field);
        wrong[i] ^= 1;
        assert_int_equal(shown(wrong, &t), -ATOLL_EPERM);
        assert_null(t);
    }
    snprintf(wrong, sizeof wrong, "%s=", field);
    assert_int_equal(shown(wrong, &t), -ATOLL_EPERM);
    assert_int_equal(shown("Bearer ", &t), -ATOLL_EPERM);
    assert_int_equal(shown("", &t), -ATOLL_EPERM);
    assert_int_equal(shown(token(SCOPE_ADMIN, "", 1, &made), &t), -ATOLL_EPERM);
}

static void a_token_allows_what_it_names_for_its_tenant(void **state)
{
    (void)state;
    struct token t = {.scopes = SCOPE_INVOKE | SCOPE_FILES, .tenant = "acme"};
    assert_true(access_allows(&t, "acme", SCOPE_INVOKE));
    assert_true(access_allows(&t, "acme", SCOPE_INVOKE | SCOPE_FILES));
    assert_false(access_allows(&t, "acme", SCOPE_INVOKE | SCOPE_DEPLOY));
    assert_false(access_allows(&t, "acm", SCOPE_INVOKE));
    assert_false(access_allows(&t, NULL, SCOPE_INVOKE));
    t = (struct token){.scopes = SCOPE_ADMIN};
    assert_true(access_allows(&t, "anybody", SCOPE_DEPLOY) && access_allows(&t, NULL, SCOPE_ADMIN));
    struct token none = {.scopes = SCOPE_INVOKE}, made;
    char text[TOKEN_TEXT_LEN + 1];
    struct said s = {0};
    access_token_make(n->access, &none, text, &made, said_note, &s);
    assert_int_equal(said_wait(n, &s), -ATOLL_EINVAL);
}

static void settings_of_tenants_outlive_a_restart(void **state)
{
    (void)state;
    struct tenant_settings acme = {.name = "acme",
                                   .cpu_weight = 300,
                                   .memory_bytes = 1 << 30,
                                   .queue_max = 7,
                                   .workers_max = 2};
    struct tenant_settings bad = {.name = "acme", .cpu_weight = 0};
    struct said s = {0};
    assert_int_equal(access_tenant(n->access, "acme")->cpu_weight, 100);
    access_tenant_put(n->access, &acme, said_note, &s);
    assert_int_equal(said_wait(n, &s), 0);
    access_tenant_put(n->access, &bad, said_note, &s);
    assert_int_equal(said_wait(n, &s), -ATOLL_EINVAL);
    restart();
    assert_memory_equal(access_tenant(n->access, "acme"), &acme, sizeof acme);
    assert_int_equal(access_tenant(n->access, "other")->cpu_weight, 100);
}

static void grant(bool put, const char *tenant, const char *function, const char *prefix,
                  uint32_t rights, int code)
{
    struct grant g = {.owner = "acme", .rights = rights};
    struct said s = {0};
    strcpy(g.tenant, tenant);
    strcpy(g.function, function);
    strcpy(g.prefix, prefix);
    (put ? access_grant_put : access_grant_remove)(n->access, &g, said_note, &s);
    assert_int_equal(said_wait(n, &s), code);
}

static void a_grant_opens_what_it_names_and_nothing_else(void **state)
{
    (void)state;
    assert_true(access_may_call(n->access, "acme", "acme", "f"));
    assert_false(access_may_call(n->access, "bob", "acme", "f"));
    grant(true, "bob", "f", "", 0, 0);
    grant(true, "bob", "", "shared/", STATE_READ | STATE_WRITE, 0);
    grant(true, "bob", "", "shared/list/", STATE_LOCK, 0);
    restart();
    assert_true(access_may_call(n->access, "bob", "acme", "f"));
    assert_false(access_may_call(n->access, "bob", "acme", "g"));
    assert_false(access_may_call(n->access, "eve", "acme", "f"));
    assert_false(access_may_call(n->access, "acme", "bob", "f"));
    struct access *a = n->access;
    assert_int_equal(access_state_rights(a, "bob", "acme", "shared/x", 8),
                     STATE_READ | STATE_WRITE);
    assert_int_equal(access_state_rights(a, "bob", "acme", "shared/list/x", 13),
                     STATE_READ | STATE_WRITE | STATE_LOCK);
    assert_int_equal(access_state_rights(a, "bob", "acme", "share", 5), 0);
    assert_int_equal(access_state_rights(a, "eve", "acme", "shared/x", 8), 0);
    grant(false, "bob", "f", "", 0, 0);
    assert_false(access_may_call(n->access, "bob", "acme", "f"));
    grant(true, "bob", "*", "", 0, 0);
    assert_true(access_may_call(n->access, "bob", "acme", "anything"));
    grant(true, "bob", "f", "p", 1, -ATOLL_EINVAL);
    grant(true, "bob", "", "p", 0, -ATOLL_EINVAL);
    grant(true, "", "f", "", 0, -ATOLL_EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, begin, end)
        TEST(a_token_is_good_until_it_is_revoked_also_after_a_restart),
        TEST(only_the_very_text_of_a_token_is_right),
        TEST(a_token_allows_what_it_names_for_its_tenant),
        TEST(settings_of_tenants_outlive_a_restart),
        TEST(a_grant_opens_what_it_names_and_nothing_else),
    };
    return cmocka_run_group_tests(tests, scratch_create, scratch_destroy);
}
