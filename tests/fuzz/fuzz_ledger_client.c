/*
 * A client of the ledger with a few calls on their way, and replicas who send what they like:
 *
 *   { from u8 | milliseconds u8 | len u16 | message }*
 *
 * A signature is taken for valid when its first byte is even, so that the inputs get past the
 * checks. Whatever comes, every call ends at most once, and what it ends with is what it says.
 */
#include "../unit/ledger_objects.h"

#include "ledger/client/client.h"

#define CALLS 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct service service;
static uint64_t now_us, timer_us;
static unsigned ended[CALLS];

static uint64_t world_now(void *context)
{
    (void)context;
    return now_us;
}

static void world_timer(void *context, uint64_t at_us)
{
    (void)context;
    timer_us = at_us;
}

static void world_send(void *context, uint16_t to, struct slice message)
{
    (void)context, (void)to;
    assert(message.len > 0 && message.len <= LEDGER_MESSAGE_MAX);
    (void)message;
}

static void world_sign(void *context, unsigned identity, const uint8_t hash[static HASH_LEN],
                       uint8_t signature[static ED25519_SIGNATURE_LEN])
{
    (void)context, (void)identity;
    memcpy(signature, hash, HASH_LEN);
    memcpy(signature + HASH_LEN, hash, HASH_LEN);
    signature[0] = 0;
}

static int world_verify(void *context, const struct ledger_signature *items, size_t count,
                        bool *valid, struct error *e)
{
    (void)context, (void)e;
    for (size_t i = 0; i < count; i++)
        valid[i] = items[i].signature[0] % 2 == 0;
    return 0;
}

static void world_finished(void *context, const struct ledger_outcome *outcome)
{
    (void)context;
    struct ledger_receipt receipt;
    struct error e;
    size_t number = (size_t)((uint8_t *)outcome->tag - (uint8_t *)ended) / sizeof ended[0];
    assert(number < CALLS && ended[number] == 0);
    ended[number]++;
    if (outcome->result == 0) {
        int good = ledger_receipt_decode(outcome->receipt, &receipt, &e);
        assert(good == 0 && receipt.tx.index == outcome->index &&
               receipt.body.request.reqno == outcome->reqno);
        (void)good;
    }
}

static struct ledger_client *client_make(void)
{
    static const struct ledger_client_env env = {.now_us = world_now,
                                                 .timer_set = world_timer,
                                                 .send = world_send,
                                                 .sign = world_sign,
                                                 .finished = world_finished};
    struct ledger_client_identity identities[2] = {{.first_reqno = 1}, {.first_reqno = 1}};
    struct ledger_client *client = NULL;
    struct error e;
    uint64_t reqno;
    for (unsigned i = 0; i < 2; i++)
        memcpy(identities[i].public_key, secret_public(service.clients[i]), ED25519_KEY_LEN);
    struct ledger_client_settings settings = {.genesis = &service.genesis,
                                              .identities = identities,
                                              .identity_count = 2,
                                              .bundle_max = 4,
                                              .window = 8,
                                              .retry_us = 50000,
                                              .deadline_us = 400000,
                                              .verifier = {world_verify, NULL}};
    int result = ledger_client_open(&settings, &env, &client, &e);
    for (unsigned i = 0; result == 0 && i < CALLS; i++)
        result =
            ledger_client_call(client, i % 2, 3, text_slice("arguments"), &ended[i], &reqno, &e);
    assert(result == 0);
    ledger_client_settle(client);
    return client;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!service.genesis_bytes.data)
        service_make(&service, 4);
    memset(ended, 0, sizeof ended);
    now_us = 1;
    timer_us = 0;
    struct ledger_client *client = client_make();
    while (size >= 4) {
        size_t len = load_u16(data + 2);
        unsigned from = data[0];
        now_us += data[1] * UINT64_C(1000);
        data += 4;
        size -= 4;
        len = len < size ? len : size;
        if (timer_us && timer_us <= now_us) {
            timer_us = 0;
            ledger_client_on_timer(client);
        }
        if (from >= 128)
            ledger_client_on_connected(client, (uint16_t)(from % 8));
        else
            ledger_client_on_message(client, (uint16_t)from, slice_of(data, len));
        ledger_client_settle(client);
        data += len;
        size -= len;
    }
    ledger_client_close(client);
    return 0;
}
