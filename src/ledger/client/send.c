/* Signing, sending, and sending again; see client.h. */
#include "ledger/client/core.h"

#define DOUBLINGS_MAX   5     /* of the time between tries, and between askings */
#define RETRY_STRETCH   8     /* times retry_us, at most, when answers take long */
#define PATIENCE_MIN_US 20000 /* before a receipt is asked for */

/* Bytes of bodies in one message of requests, and of members in one bundle. */
#define REQUESTS_BYTES_MAX (1u << 20)

/* ---- timers ---- */

static void timer_lower(struct ledger_client *c, uint64_t at_us)
{
    if (at_us && (c->timer_us == 0 || at_us < c->timer_us)) {
        c->timer_us = at_us;
        c->env.timer_set(c->env.context, at_us);
    }
}

/* What hardly any answer takes longer than, as things are. */
static uint64_t lately(const struct ledger_client *c)
{
    return c->latency_us + 4 * c->deviation_us;
}

/* How long a request may go without an answer before it is sent to all: a service that is slow
 * because it is busy is not helped by hearing everything again. */
static uint64_t retry_after(const struct ledger_client *c)
{
    uint64_t least = c->settings.retry_us, wanted = 2 * lately(c);
    uint64_t most = least * RETRY_STRETCH;
    return wanted < least ? least : wanted < most ? wanted : most;
}

/* How long an answer may take before its receipt is asked for, which costs a replica more than
 * answering. */
static uint64_t patience(const struct ledger_client *c)
{
    uint64_t most = retry_after(c) / 2;
    if (c->latency_us == 0 || lately(c) > most)
        return most;
    return lately(c) < PATIENCE_MIN_US && PATIENCE_MIN_US < most ? PATIENCE_MIN_US : lately(c);
}

/* Of the replies' way, not of receipts that were asked for: those take as long as our patience, and
 * would make it grow. */
void latency_note(struct ledger_client *c, const struct call *call)
{
    if (call->tries)
        return;
    uint64_t took = c->env.now_us(c->env.context) - call->sent_us;
    if (c->latency_us == 0) {
        c->latency_us = took + 1;
        c->deviation_us = took / 2;
    }
    uint64_t off = took > c->latency_us ? took - c->latency_us : c->latency_us - took;
    c->deviation_us += off / 16 - c->deviation_us / 16;
    c->latency_us = c->latency_us - c->latency_us / 16 + took / 16 + 1;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a == 0 || (b != 0 && b < a) ? b : a;
}

/* When a call that was sent wants to be looked at. */
static uint64_t call_due(const struct call *call)
{
    return earlier(earlier(call->try_us, call->fetch_us), call->deadline_us);
}

void call_schedule(struct ledger_client *c, struct call *call, uint64_t now, uint64_t after_us,
                   bool fetch)
{
    call->try_us = now + after_us + after_us / 8 * call->req_hash[0] / 256;
    call->fetch_us = fetch ? now + patience(c) : 0;
    call->asked = 0;
    timer_lower(c, call_due(call));
}

static void call_went(struct ledger_client *c, struct call *call, uint64_t now)
{
    call_mark_sent(c, call);
    call->sent_us = now;
    call_schedule(c, call, now, retry_after(c), true);
}

/* ---- messages ---- */

/* A message of bodies under construction, for one replica or all. */
struct mail {
    struct ledger_message_writer writer;
    bool open, to_all;
    uint16_t to;
};

static void message_send(struct ledger_client *c, bool to_all, uint16_t to)
{
    for (uint16_t i = 0; i < c->replicas; i++)
        if (to_all || i == to)
            c->env.send(c->env.context, i, slice_of_buffer(&c->message));
}

static void mail_send(struct ledger_client *c, struct mail *m)
{
    if (!m->open)
        return;
    ledger_message_end(&m->writer);
    message_send(c, m->to_all, m->to);
    m->open = false;
}

static bool primary_gone(const struct ledger_client *c)
{
    return c->gone >> c->primary & 1;
}

/* Adds a call's body; without memory it stays out, and goes with the next try. */
static void mail_add(struct ledger_client *c, struct mail *m, const struct call *call)
{
    if (m->open && (c->message.len + call->body.len > REQUESTS_BYTES_MAX ||
                    m->writer.count == LEDGER_MESSAGE_BODIES_MAX))
        mail_send(c, m);
    if (!m->open) {
        c->message.len = 0;
        if (!ledger_bodies_begin(&m->writer, &c->message, LEDGER_MESSAGE_REQUEST))
            return;
        m->open = true;
    }
    ledger_bodies_body(&m->writer, slice_of_buffer(&call->body));
}

/* ---- signing ---- */

static void request_fill(const struct ledger_client *c, const struct call *call,
                         struct ledger_request *request)
{
    *request = (struct ledger_request){.reqno = call->reqno,
                                       .min_index = c->min_index,
                                       .proc = call->proc,
                                       .args = slice_of_buffer(&call->args)};
    memcpy(request->genesis, c->keys.genesis, HASH_LEN);
    memcpy(request->client, c->identities[call->identity].public_key, ED25519_KEY_LEN);
}

/* Signs a waiting call alone. False: no memory, it goes on waiting. */
static bool call_sign_alone(struct ledger_client *c, struct call *call)
{
    struct ledger_request request;
    request_fill(c, call, &request);
    c->bodies.len = 0;
    if (!ledger_request_encode(&request, &c->bodies))
        return false;
    ledger_request_hash(slice_of_buffer(&c->bodies), call->req_hash);
    c->env.sign(c->env.context, call->identity, call->req_hash, call->signature);
    memcpy(call->signed_hash, call->req_hash, HASH_LEN);
    call->body.len = 0;
    return ledger_body_encode_alone(slice_of_buffer(&c->bodies), call->signature, &call->body);
}

/* How many of the next calls, at most `room`, go into one bundle. */
static uint32_t bundle_size(const struct ledger_client *c, const struct identity *who,
                            uint64_t room)
{
    size_t bytes = 0;
    uint32_t n = 0;
    while (n < room && n < c->settings.bundle_max && who->unsent + n < who->next_reqno) {
        const struct call *call = call_at(who, who->unsent + n);
        /* A call that ended while it waited leaves a gap; a bundle has none. */
        if (!call)
            break;
        bytes += LEDGER_MEMBER_FIXED_LEN + call->args.len;
        if (n > 0 && bytes > REQUESTS_BYTES_MAX)
            break;
        n++;
    }
    return n;
}

/* Takes the members' bodies over into their calls, with the signature that stands for all. */
static bool members_take(struct ledger_client *c, const struct identity *who, uint32_t n,
                         const uint8_t *hash, const uint8_t *signature)
{
    for (uint32_t i = 0; i < n; i++) {
        struct call *call = call_at(who, who->unsent + i);
        size_t from = i ? c->ends[i - 1] : 0;
        uint8_t *body = c->bodies.data + from;
        memcpy(body + 1 + LEDGER_REQUEST_FIXED_LEN + call->args.len, signature,
               ED25519_SIGNATURE_LEN);
        call->body.len = 0;
        if (!buffer_append(&call->body, body, c->ends[i] - from))
            return false;
        memcpy(call->req_hash, c->req_hashes[i], HASH_LEN);
        memcpy(call->signed_hash, hash, HASH_LEN);
        memcpy(call->signature, signature, ED25519_SIGNATURE_LEN);
    }
    return true;
}

/* Signs the next n calls as a bundle and leaves its message in c->message. The bundle is put
 * together without a signature first, because opening it gives what is to be signed. */
static bool calls_sign_bundle(struct ledger_client *c, const struct identity *who, uint32_t n)
{
    uint8_t hash[HASH_LEN], signature[ED25519_SIGNATURE_LEN] = {0};
    uint8_t type = LEDGER_MESSAGE_BUNDLE;
    struct ledger_bundle bundle;
    struct error e;
    for (uint32_t i = 0; i < n; i++)
        request_fill(c, call_at(who, who->unsent + i), &c->requests[i]);
    c->message.len = 0;
    if (!buffer_append(&c->message, &type, 1) ||
        !ledger_bundle_encode(c->requests, n, signature, &c->message) ||
        ledger_bundle_message_decode(slice_of_buffer(&c->message), &bundle, &e) < 0 ||
        ledger_bundle_open(&bundle, &c->bodies, c->ends, c->req_hashes, hash, &e) < 0)
        return false;
    c->env.sign(c->env.context, (unsigned)(who - c->identities), hash, signature);
    memcpy(c->message.data + c->message.len - ED25519_SIGNATURE_LEN, signature,
           ED25519_SIGNATURE_LEN);
    return members_take(c, who, n, hash, signature);
}

/* Signs and sends one bundle or lone request, if there is room. False: nothing more to do now. */
static bool next_send(struct ledger_client *c, struct identity *who, uint64_t now,
                      struct mail *mail)
{
    identity_trim(who);
    if (who->unsent == who->next_reqno || who->unsent - who->oldest >= c->settings.window)
        return false;
    uint32_t n = bundle_size(c, who, c->settings.window - (who->unsent - who->oldest));
    if (n == 1) {
        struct call *call = call_at(who, who->unsent);
        if (!call_sign_alone(c, call))
            return false;
        mail_add(c, mail, call);
        call_went(c, call, now);
        return true;
    }
    mail_send(c, mail);
    if (!calls_sign_bundle(c, who, n))
        return false;
    message_send(c, mail->to_all, mail->to);
    for (uint32_t i = 0; i < n; i++)
        call_went(c, call_at(who, who->unsent), now);
    return true;
}

void ledger_client_settle(struct ledger_client *c)
{
    struct mail mail = {.to = c->primary, .to_all = primary_gone(c)};
    uint64_t now = c->env.now_us(c->env.context);
    for (unsigned i = 0; i < c->settings.identity_count; i++) {
        struct identity *who = &c->identities[i];
        while (next_send(c, who, now, &mail))
            ;
        if (who->unsent < who->next_reqno)
            timer_lower(c, call_at(who, who->unsent)->deadline_us);
    }
    mail_send(c, &mail);
}

/* ---- sending again ---- */

/* Whether a replica may have the receipt by now: calls sent after this one were answered, or
 * replies came whose ReplyX did not, or it went to all before. Else everything is late, and asking
 * makes it later. */
static bool receipt_expected(const struct ledger_client *c, const struct call *call)
{
    return call->tries > 0 || call->sent_us < c->answered_us ||
           answers_want_replyx(c, call->sent_us);
}

/* Asks a replica for the receipt: first the one after that which owes the ReplyX, then the next, at
 * growing distances. */
static void receipt_fetch(struct ledger_client *c, struct call *call, uint64_t now)
{
    if (!receipt_expected(c, call)) {
        call->fetch_us = now + patience(c);
        return;
    }
    uint64_t owes = load_u64(call->req_hash) % c->replicas;
    unsigned turn = call->tries + call->asked;
    uint16_t to = (uint16_t)((owes + 1 + turn) % c->replicas);
    c->receipt.len = 0;
    if (ledger_fetch_receipt_write(&c->receipt, call->req_hash))
        c->env.send(c->env.context, to, slice_of_buffer(&c->receipt));
    call->fetch_us =
        now + (patience(c) << (call->asked < DOUBLINGS_MAX ? call->asked : DOUBLINGS_MAX));
    call->asked++;
    c->counts.fetches++;
}

/* Sends a call to all. */
static void call_again(struct ledger_client *c, struct call *call, uint64_t now, struct mail *all)
{
    call->tries++;
    c->counts.retries++;
    mail_add(c, all, call);
    unsigned doublings = call->tries < DOUBLINGS_MAX ? call->tries : DOUBLINGS_MAX;
    call_schedule(c, call, now, retry_after(c) << doublings, true);
}

static bool call_expire(struct ledger_client *c, struct call *call, uint64_t now)
{
    if (call->deadline_us == 0 || call->deadline_us > now)
        return false;
    struct ledger_outcome outcome = {
        .result = -ATOLL_ETIMEDOUT,
        .text = call->state == CALL_SENT
                    ? "not enough replicas answered in time; the request may still be executed"
                    : "the request was not sent before its deadline"};
    call_conclude(c, call, &outcome);
    return true;
}

/* Looks after an identity's calls; when it wants to be looked after again, 0 = never. */
static uint64_t identity_tend(struct ledger_client *c, struct identity *who, uint64_t now,
                              struct mail *all)
{
    uint64_t next = 0;
    for (uint64_t reqno = who->oldest, end = who->unsent; reqno < end; reqno++) {
        struct call *call = call_sent(who, reqno);
        if (!call || call_expire(c, call, now))
            continue;
        if (call->try_us <= now)
            call_again(c, call, now, all);
        else if (call->fetch_us && call->fetch_us <= now)
            receipt_fetch(c, call, now);
        next = earlier(next, call_due(call));
    }
    /* Those that wait have ascending deadlines. */
    for (;;) {
        identity_trim(who);
        if (who->unsent == who->next_reqno)
            return next;
        if (!call_expire(c, call_at(who, who->unsent), now))
            return earlier(next, call_at(who, who->unsent)->deadline_us);
    }
}

void ledger_client_on_timer(struct ledger_client *c)
{
    uint64_t now = c->env.now_us(c->env.context), next = 0;
    struct mail all = {.to_all = true};
    c->timer_us = 0;
    for (unsigned i = 0; i < c->settings.identity_count; i++)
        next = earlier(next, identity_tend(c, &c->identities[i], now, &all));
    mail_send(c, &all);
    timer_lower(c, next);
}

/* ---- links ---- */

static bool hello_send(struct ledger_client *c, uint16_t replica)
{
    uint8_t keys[LEDGER_CLIENT_IDENTITIES_MAX][ED25519_KEY_LEN];
    for (unsigned i = 0; i < c->settings.identity_count; i++)
        memcpy(keys[i], c->identities[i].public_key, ED25519_KEY_LEN);
    c->message.len = 0;
    if (!ledger_hello_write(&c->message, (const uint8_t(*)[ED25519_KEY_LEN])keys,
                            c->settings.identity_count))
        return false;
    c->env.send(c->env.context, replica, slice_of_buffer(&c->message));
    return true;
}

/* Puts everything that is on its way into the mail. */
static void calls_mail(struct ledger_client *c, struct mail *mail)
{
    for (unsigned i = 0; i < c->settings.identity_count; i++) {
        const struct identity *who = &c->identities[i];
        for (uint64_t reqno = who->oldest; reqno < who->unsent; reqno++)
            if (call_sent(who, reqno))
                mail_add(c, mail, call_sent(who, reqno));
    }
    mail_send(c, mail);
}

void ledger_client_on_connected(struct ledger_client *c, uint16_t replica)
{
    struct mail mail = {.to = replica};
    if (replica >= c->replicas)
        return;
    c->gone &= ~(UINT64_C(1) << replica);
    if (hello_send(c, replica) && replica == c->primary)
        calls_mail(c, &mail);
}

/* Calls keep the times of their tries: this is none, the first one may just have got lost. */
void ledger_client_on_disconnected(struct ledger_client *c, uint16_t replica)
{
    struct mail mail = {.to_all = true};
    uint64_t now = c->env.now_us(c->env.context);
    if (replica >= c->replicas)
        return;
    c->gone |= UINT64_C(1) << replica;
    /* A link that comes and goes does not make everything be sent over and over. */
    if (replica != c->primary || (c->spread_us && now - c->spread_us < c->settings.retry_us))
        return;
    c->spread_us = now;
    calls_mail(c, &mail);
}
