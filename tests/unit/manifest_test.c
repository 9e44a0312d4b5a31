/* Manifests (src/node/manifest.c, src/node/document.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/manifest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int parse(const char *text, const char *name, struct manifest *m, struct error *e)
{
    return manifest_parse(text, strlen(text), name, m, e);
}

static void refused(const char *text, const char *because)
{
    struct manifest m;
    struct error e;
    assert_int_equal(parse(text, NULL, &m, &e), -ATOLL_EINVAL);
    if (strstr(e.text, because) == NULL)
        fail_msg("\"%s\" does not say \"%s\"", e.text, because);
}

static void everything_the_specification_shows_is_understood(void **state)
{
    (void)state;
    struct manifest m;
    struct error e;
    const char *text = "name: acme/score\n"
                       "kind: function\n"
                       "timeout: 30s\n"
                       "limits: { memory: 64MiB, output: 1MiB, stack: 128KiB, concurrency: 7 }\n"
                       "pool: { keep_warm: 2, idle_ttl: 5m }\n"
                       "retries: 3\n"
                       "reset: tenant-trusted\n"
                       "priority: 9\n"
                       "cpu_weight: 250\n"
                       "env: { MODE: prod, EMPTY: \"\" }\n"
                       "config: { k: v }\n"
                       "state: [ { prefix: model/, rights: r }, { prefix: '', rights: wl } ]\n"
                       "call: [ acme/*, other/one ]\n"
                       "net: [ { host: db.internal, port: 5432, rate: 10MiB/s, burst: 1MiB } ]\n";
    assert_int_equal(parse(text, NULL, &m, &e), 0);
    assert_string_equal(m.tenant, "acme");
    assert_string_equal(m.function, "score");
    assert_true(m.timeout_ns == 30000000000ull && m.memory_bytes == 64u << 20);
    assert_true(m.output_bytes == 1u << 20 && m.stack_bytes == 128u << 10 && m.concurrency == 7);
    assert_true(m.keep_warm == 2 && m.idle_ttl_ns == 300000000000ull && m.retries == 3);
    assert_true(m.reset == RESET_TENANT_TRUSTED && m.priority == 9 && m.cpu_weight == 250);
    assert_int_equal(m.env_count, 2);
    assert_string_equal(m.env[0].name, "MODE");
    assert_string_equal(m.env[1].value, "");
    assert_string_equal(m.config[0].value, "v");
    assert_int_equal(manifest_state_rights(&m, "model/x", 7),
                     STATE_READ | STATE_WRITE | STATE_LOCK);
    assert_int_equal(manifest_state_rights(&m, "other", 5), STATE_WRITE | STATE_LOCK);
    assert_true(manifest_may_call(&m, "acme", "any") && manifest_may_call(&m, "other", "one"));
    assert_false(manifest_may_call(&m, "other", "two") || manifest_may_call(&m, "acm", "any"));
    assert_string_equal(m.net[0].host, "db.internal");
    assert_true(m.net[0].port == 5432 && m.net[0].rate == 10u << 20 && m.net[0].burst == 1u << 20);
    manifest_free(&m);
}

static void an_empty_manifest_is_one_of_defaults(void **state)
{
    (void)state;
    struct manifest m;
    struct error e;
    assert_int_equal(manifest_default("f", &m, &e), 0);
    assert_string_equal(m.tenant, "default");
    assert_true(m.memory_bytes == 128u << 20 && m.timeout_ns == 30000000000ull);
    assert_true(manifest_may_call(&m, "default", "any") && !manifest_may_call(&m, "other", "any"));
    assert_int_equal(manifest_state_rights(&m, "k", 1), 15);
    assert_int_equal(manifest_state_rights(&m, "@other/k", 8), 0);
    manifest_free(&m);
}

static void the_canonical_form_gives_the_same_manifest_and_the_same_bytes(void **state)
{
    (void)state;
    struct manifest m, again;
    struct error e;
    struct buffer first = {0}, second = {0};
    const char *text = "{\"name\": \"a/b\", \"env\": {\"X\": \"\\u00e4\\n\"}, \"state\": [], "
                       "\"net\": [{\"host\": \"10.0.0.0/8\"}], \"entry\": \"go\", "
                       "\"timeout\": \"1500ms\", \"retry_on_fail\": true}";
    assert_int_equal(parse(text, "a/b", &m, &e), 0);
    assert_true(m.state_given && !m.call_given);
    assert_int_equal(manifest_canonical(&m, &first, &e), 0);
    assert_int_equal(manifest_parse(first.data, first.len, NULL, &again, &e), 0);
    assert_int_equal(manifest_canonical(&again, &second, &e), 0);
    assert_int_equal(first.len, second.len);
    assert_memory_equal(first.data, second.data, first.len);
    assert_string_equal(again.env[0].value, "\xc3\xa4\n");
    assert_string_equal(again.entry, "go");
    assert_true(again.timeout_ns == 1500000000ull && again.retry_on_fail && again.state_given);
    buffer_free(&first);
    buffer_free(&second);
    manifest_free(&m);
    manifest_free(&again);
}

static void mistakes_are_named_with_line_and_column(void **state)
{
    (void)state;
    refused("name: a/b\ntimeuot: 3s\n", "line 2, column 10: unknown key \"timeuot\"");
    refused("name: a/b\nname: a/c\n", "line 2, column 1: \"name\" is given twice");
    refused("name: a/b\nlimits:\n  memory: 3GiB\n", "line 3, column 11: memory must lie between");
    refused("name: a/b\nlimits: 5\n", "line 2, column 9: a mapping");
    refused("name: [a]\n", "line 1, column 7: a single value");
    refused("name: A/b\n", "is not a function's name");
    refused("name: a/b\ntimeout: soon\n", "must be a time such as 500ms");
    refused("name: a/b\nretries: -1\n", "must be a whole number");
    refused("name: a/b\nretries: 1e3\n", "must be a whole number");
    refused("name: a/b\nreset: sometimes\n", "must be one of always|never|tenant-trusted");
    refused("name: a/b\nreset: never\n", "reset: never is for services");
    refused("name: a/b\nretry_on_fail: yes\n", "must be true or false");
    refused("name: a/b\nstate: [ { prefix: x } ]\n", "needs prefix and rights");
    refused("name: a/b\nstate: [ { prefix: x, rights: rx } ]\n", "rights are letters");
    refused("name: a/b\ncall: [ a ]\n", "is no pattern");
    refused("name: a/b\nnet: [ { port: 70000, host: h } ]\n", "port must lie between");
    refused("name: a/b\nnet: [ { port: 1 } ]\n", "needs a host");
    refused("name: a/b\nenv: { 'A=B': c }\n", "no \"=\"");
    refused("name: a/b\n--- \nname: c/d\n", "more than one document");
    refused("name: a/b\n  bad indent: {\n", "line ");
    refused("name: \xff\n", "UTF-8");
    refused("kind: function\n", "has no name");
    refused("- a\n", "a mapping");
}

static void a_manifest_for_another_function_is_refused(void **state)
{
    (void)state;
    struct manifest m;
    struct error e;
    assert_int_equal(parse("name: a/b\n", "a/c", &m, &e), -ATOLL_EINVAL);
    assert_non_null(strstr(e.text, "that of a/b, and it was given for a/c"));
}

static void texts_that_unfold_without_end_are_refused(void **state)
{
    (void)state;
    struct manifest m;
    struct error e;
    char text[65536];
    int len = snprintf(text, sizeof text, "name: a/b\nconfig: { k: &big '");
    memset(text + len, 'x', 32000);
    len += 32000;
    len += snprintf(text + len, sizeof text - (size_t)len, "' }\nenv: {");
    for (int i = 0; i < 200; i++)
        len += snprintf(text + len, sizeof text - (size_t)len, " k%d: *big,", i);
    snprintf(text + len, sizeof text - (size_t)len, " }\n");
    assert_int_equal(parse(text, NULL, &m, &e), -ATOLL_EINVAL);
    assert_non_null(strstr(e.text, "unfolds to more"));
    char *huge = calloc(1, MANIFEST_BYTES_MAX + 1);
    assert_int_equal(manifest_parse(huge, MANIFEST_BYTES_MAX + 1, NULL, &m, &e), -ATOLL_ESIZE);
    free(huge);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_the_specification_shows_is_understood),
        cmocka_unit_test(an_empty_manifest_is_one_of_defaults),
        cmocka_unit_test(the_canonical_form_gives_the_same_manifest_and_the_same_bytes),
        cmocka_unit_test(mistakes_are_named_with_line_and_column),
        cmocka_unit_test(a_manifest_for_another_function_is_refused),
        cmocka_unit_test(texts_that_unfold_without_end_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
