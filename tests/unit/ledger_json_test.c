/* The ledger's objects as people see them (src/ledger/object/json.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_objects.h"

#include "ledger/object/json.h"

#include <stdlib.h>
#include <string.h>

static struct service service;
static struct batch batch;

static int world_setup(void **state)
{
    (void)state;
    service_make(&service, 4);
    batch_make(&service, &batch, 0, 9, 5);
    return 0;
}

static int world_teardown(void **state)
{
    (void)state;
    batch_free(&batch);
    service_free(&service);
    return 0;
}

static const char *text_at(const cJSON *o, const char *name)
{
    const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(o, name));
    assert_non_null(text);
    return text;
}

static const cJSON *at(const cJSON *o, const char *name)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(o, name);
    assert_non_null(item);
    return item;
}

/* Hex of 32 bytes. */
static void expect_hash(const cJSON *o, const char *name, const uint8_t *hash)
{
    char hex[2 * HASH_LEN + 1];
    hash_hex(hash, hex);
    assert_string_equal(text_at(o, name), hex);
}

static cJSON *receipt_view(uint32_t position, struct buffer *bytes)
{
    struct ledger_receipt receipt;
    struct error e;
    batch_receipt(&service, &batch, position, 7, bytes);
    assert_int_equal(ledger_receipt_decode(slice_of_buffer(bytes), &receipt, &e), 0);
    cJSON *o = ledger_receipt_json(&receipt);
    assert_non_null(o);
    return o;
}

static void a_receipt_shows_who_signed_and_what_was_done(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    cJSON *o = receipt_view(3, &bytes);
    assert_string_equal(text_at(o, "batch"), "9");
    assert_string_equal(text_at(o, "kind"), "normal");
    expect_hash(o, "kv_digest", batch.pp.kv_digest);
    assert_int_equal(cJSON_GetArraySize(at(o, "signers")), 3);
    const cJSON *last = cJSON_GetArrayItem(at(o, "signers"), 2);
    assert_int_equal(at(last, "replica")->valueint, 2);
    expect_hash(last, "nonce", batch.nonces[2]);
    const cJSON *tx = at(o, "transaction");
    assert_string_equal(text_at(tx, "index"), "9003");
    assert_int_equal(at(tx, "status")->valueint, -3);
    assert_string_equal(text_at(tx, "output"), "6f7574"); /* "out" */
    assert_int_equal(cJSON_GetArraySize(at(tx, "path")), 3);
    assert_string_equal(text_at(at(tx, "request"), "reqno"), "4");
    expect_hash(at(tx, "request"), "client", secret_public(service.clients[0]));
    assert_true(cJSON_IsNull(at(at(tx, "request"), "bundle")));
    cJSON_Delete(o);
    buffer_free(&bytes);
}

static void a_receipt_shows_no_root_that_a_reader_must_compute(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    char hex[2 * HASH_LEN + 1];
    cJSON *o = receipt_view(3, &bytes);
    char *text = cJSON_PrintUnformatted(o);
    hash_hex(batch.pp.batch_root, hex);
    assert_null(strstr(text, hex));
    hash_hex(batch.pp.nonce_commit, hex);
    assert_null(strstr(text, hex));
    cJSON_free(text);
    cJSON_Delete(o);
    buffer_free(&bytes);
}

static void a_batchs_receipt_shows_no_transaction(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    cJSON *o = receipt_view(UINT32_MAX, &bytes);
    assert_true(cJSON_IsNull(at(o, "transaction")));
    cJSON_Delete(o);
    buffer_free(&bytes);
}

static void a_member_of_a_bundle_shows_its_place(void **state)
{
    (void)state;
    struct buffer bytes = {0}, bodies = {0};
    struct ledger_bundle bundle;
    struct ledger_body body;
    size_t ends[5];
    uint8_t hash[HASH_LEN];
    struct error e;
    service_bundle(&service, 1, 5, &bytes);
    assert_int_equal(ledger_bundle_decode(slice_of_buffer(&bytes), &bundle, &e), 0);
    assert_int_equal(ledger_bundle_open(&bundle, &bodies, ends, NULL, hash, &e), 0);
    assert_int_equal(
        ledger_body_decode(slice_of(bodies.data + ends[0], ends[1] - ends[0]), &body, &e), 0);
    cJSON *o = ledger_request_json(&body);
    assert_int_equal(at(at(o, "bundle"), "count")->valueint, 5);
    assert_int_equal(at(at(o, "bundle"), "position")->valueint, 1);
    assert_int_equal(cJSON_GetArraySize(at(at(o, "bundle"), "path")), 3);
    cJSON_Delete(o);
    buffer_free(&bytes);
    buffer_free(&bodies);
}

static void a_genesis_shows_its_hash_its_replicas_and_their_members(void **state)
{
    (void)state;
    cJSON *o = ledger_genesis_json(&service.genesis);
    expect_hash(o, "hash", service.genesis.hash);
    assert_int_equal(at(o, "buckets")->valueint, 16);
    const cJSON *c = at(o, "configuration");
    assert_int_equal(at(c, "quorum")->valueint, 3);
    assert_string_equal(text_at(c, "view_timeout_us"), "2000000");
    const cJSON *replica = cJSON_GetArrayItem(at(c, "replicas"), 3);
    assert_string_equal(text_at(replica, "member"), "second");
    assert_string_equal(text_at(replica, "address"), "127.0.0.1:7000");
    expect_hash(replica, "key", secret_public(service.replicas[3]));
    assert_int_equal(cJSON_GetArraySize(at(c, "clients")), 0);
    cJSON_Delete(o);
}

/* ---- memory runs out at every place ---- */

static unsigned allocations_left;

static void *allocate_or_not(size_t size)
{
    return allocations_left-- ? malloc(size) : (allocations_left = 0, NULL);
}

static void a_view_without_memory_is_none(void **state)
{
    (void)state;
    struct buffer bytes = {0};
    struct ledger_receipt receipt;
    struct error e;
    batch_receipt(&service, &batch, 3, 7, &bytes);
    assert_int_equal(ledger_receipt_decode(slice_of_buffer(&bytes), &receipt, &e), 0);
    cJSON_Hooks hooks = {allocate_or_not, free};
    bool made[2] = {false, false};
    for (unsigned allowed = 0; !made[0] || !made[1]; allowed++) {
        assert_true(allowed < 1000);
        cJSON_InitHooks(&hooks);
        allocations_left = allowed;
        cJSON *o = ledger_receipt_json(&receipt);
        made[0] = o != NULL;
        cJSON_Delete(o);
        allocations_left = allowed;
        o = ledger_genesis_json(&service.genesis);
        made[1] = o != NULL;
        cJSON_Delete(o);
        cJSON_InitHooks(NULL);
    }
    buffer_free(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_receipt_shows_who_signed_and_what_was_done),
        cmocka_unit_test(a_receipt_shows_no_root_that_a_reader_must_compute),
        cmocka_unit_test(a_batchs_receipt_shows_no_transaction),
        cmocka_unit_test(a_member_of_a_bundle_shows_its_place),
        cmocka_unit_test(a_genesis_shows_its_hash_its_replicas_and_their_members),
        cmocka_unit_test(a_view_without_memory_is_none),
    };
    return cmocka_run_group_tests(tests, world_setup, world_teardown);
}
