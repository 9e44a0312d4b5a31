/*
 * See server.h.
 *
 * Events come in bursts: whatever the loop delivers in one turn is handed to the replica, and
 * before the loop sleeps again (uv_prepare) the replica settles and the links send what has
 * gathered. A few signatures of other replicas are checked right then: handing them to a thread
 * and being woken by it costs more.
 */
#define _GNU_SOURCE
#include "ledger/service/server.h"

#include "base/file.h"
#include "base/random.h"
#include "crypto/secret.h"
#include "ledger/kv/procedure.h"
#include "ledger/object/entry.h"
#include "ledger/object/known_verifier.h"
#include "ledger/service/checkpoints.h"
#include "ledger/service/lives.h"
#include "ledger/service/verifier.h"

#include <assert.h>
#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define AT_ONCE 8u /* signatures of a job that are checked on the loop */

struct alarm {
    uv_timer_t timer;
    struct ledger_server *server;
    uint32_t id;
};

struct ledger_server {
    uv_loop_t *loop;
    struct ledger_server_config config;
    char directory[PATH_MAX - 128];
    struct buffer genesis_bytes;
    struct ledger_genesis genesis;
    struct secret *secret;
    uint8_t nonce_key[32];
    struct channel_identity identity;
    struct log_files files;
    bool files_open;
    struct ledger_log *log;
    struct lives *lives;
    uint64_t durable; /* what the replica was told */
    struct ledger_replica *replica;
    struct links *links;
    struct verifier *verifier;
    struct ledger_known_verifier *known;
    struct ledger_verify_job *at_once, **at_once_end; /* to be checked when the replica settles */
    struct checkpoints *checkpoints;
    struct alarm alarms[LEDGER_TIMERS];
    uv_prepare_t settle;
    uv_async_t logged;
    void (*reply)(void *, uint64_t, const struct slice *, unsigned);
    void *reply_context;
    bool quarantine, failed;
    bool incomplete; /* entries of the ledger are still to come */
    unsigned open;   /* handles and parts that are still to be closed */
    void (*closed)(void *);
    void *closed_context;
};

static void say(struct ledger_server *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void say(struct ledger_server *s, const char *format, ...)
{
    char line[768];
    va_list arguments;
    if (s->config.tell == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    s->config.tell(s->config.context, line);
}

/* ---- what the replica asks for ---- */

static uint64_t env_now(void *context)
{
    (void)context;
    return uv_hrtime() / 1000;
}

static void alarm_rings(uv_timer_t *timer)
{
    struct alarm *a = timer->data;
    ledger_on_timer(a->server->replica, a->id);
}

static void env_timer_set(void *context, uint32_t id, uint64_t at_us)
{
    struct ledger_server *s = context;
    uint64_t now = env_now(s);
    if (at_us == 0) {
        uv_timer_stop(&s->alarms[id].timer);
        return;
    }
    uv_update_time(s->loop);
    uv_timer_start(&s->alarms[id].timer, alarm_rings, at_us > now ? (at_us - now + 999) / 1000 : 0,
                   0);
}

static void env_send(void *context, uint16_t to, const struct slice *parts, unsigned count)
{
    struct ledger_server *s = context;
    if (s->links)
        links_send(s->links, to, parts, count);
}

static void env_reply(void *context, uint64_t connection, const struct slice *parts, unsigned count)
{
    struct ledger_server *s = context;
    if (connection & LEDGER_SERVER_CONNECTION) {
        if (s->reply)
            s->reply(s->reply_context, connection, parts, count);
    } else if (s->links) {
        links_reply(s->links, connection, parts, count);
    }
}

/* Nothing may leave any more: the process has to end. */
static void server_fail(struct ledger_server *s, const char *why)
{
    if (s->failed)
        return;
    s->failed = true;
    if (s->config.stopped)
        s->config.stopped(s->config.context, why);
}

static int env_append(void *context, enum ledger_record_kind kind, uint8_t entry_type,
                      uint64_t position, const struct merkle_hash *leaf, const struct slice *parts,
                      unsigned count, uint64_t *lsn, struct error *e)
{
    struct ledger_server *s = context;
    int rc = ledger_log_append(s->log, kind, entry_type, position, leaf, parts, count, lsn, e);
    if (rc != 0 && rc != -ATOLL_ELIMIT && rc != -ATOLL_ENOMEM) { /* those leave the log whole */
        server_fail(s, e->text);
        rc = -ATOLL_ELIMIT; /* as far as the replica is concerned */
    }
    return rc;
}

static void env_sync(void *context, uint64_t lsn)
{
    struct ledger_server *s = context;
    ledger_log_sync(s->log, lsn);
}

static int env_read(void *context, uint64_t position, struct buffer *out, uint8_t *entry_type,
                    struct error *e)
{
    struct ledger_server *s = context;
    return ledger_log_read(s->log, position, out, entry_type, e);
}

static void env_verify(void *context, struct ledger_verify_job *job)
{
    struct ledger_server *s = context;
    if (job->count > AT_ONCE || job->suspect ||
        !ledger_known_verifier_knows(s->known, job->items, job->count)) {
        verifier_submit(s->verifier, job);
        return;
    }
    job->next = NULL;
    *s->at_once_end = job;
    s->at_once_end = &job->next;
}

static void env_sign(void *context, const uint8_t hash[static 32], uint8_t signature[static 64])
{
    struct ledger_server *s = context;
    secret_sign(s->secret, hash, HASH_LEN, signature);
}

static void env_digest(void *context, const struct ledger_checkpoint *checkpoint,
                       struct kv_snapshot *snapshot)
{
    struct ledger_server *s = context;
    checkpoints_submit(s->checkpoints, checkpoint, snapshot);
}

static int env_checkpoint_chunk(void *context, uint64_t s_checkpoint, uint32_t number,
                                struct buffer *out, uint32_t *chunks)
{
    struct ledger_server *s = context;
    struct error e;
    int rc = checkpoints_chunk(s->checkpoints, s_checkpoint, number, out, chunks, &e);
    if (rc == -ATOLL_ECORRUPT || rc == -ATOLL_EIO)
        say(s, "%s", e.text);
    return rc;
}

static int env_checkpoint_origin(void *context, uint64_t s_checkpoint, struct merkle_frontier *out)
{
    struct ledger_server *s = context;
    return checkpoints_origin(s->checkpoints, s_checkpoint, out);
}

static int env_jump(void *context, const struct merkle_frontier *at, struct error *e)
{
    struct ledger_server *s = context;
    uint64_t end = ledger_log_end(s->log);
    int rc = ledger_log_jump(s->log, at, e);
    if (rc != 0 && rc != -ATOLL_ELIMIT && rc != -ATOLL_ENOMEM) {
        server_fail(s, e->text);
        rc = -ATOLL_ELIMIT;
    }
    if (rc == 0)
        say(s,
            "a checkpoint of the others is taken over: entries %" PRIu64 " to %" PRIu64
            " of the ledger follow in the background",
            end, at->size - 1);
    return rc;
}

static bool env_gap(void *context, struct merkle_frontier *from, struct merkle_frontier *goal)
{
    struct ledger_server *s = context;
    bool missing = ledger_log_gap(s->log, from, goal);
    if (s->incomplete && !missing)
        say(s, "the ledger is complete again");
    s->incomplete = missing;
    return missing;
}

static uint64_t env_jumped(void *context)
{
    struct ledger_server *s = context;
    return ledger_log_jumped(s->log);
}

static int env_history(void *context, uint8_t entry_type, struct slice payload, struct error *e)
{
    struct ledger_server *s = context;
    return ledger_log_fill(s->log, entry_type, payload, e);
}

static void proof_path(const struct ledger_server *s, enum ledger_proof_type type, uint16_t blamed,
                       char out[static PATH_MAX])
{
    snprintf(out, PATH_MAX, "%s/proofs/%s-%u.pom", s->directory, ledger_proof_name(type), blamed);
}

/* Proofs are small, and there is one of each type and replica: what has its name is not replaced.
 */
static void env_proof(void *context, const struct ledger_proof *proof, struct slice file)
{
    struct ledger_server *s = context;
    struct error e;
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/proofs", s->directory);
    int rc = directory_make(path, 0700, &e);
    proof_path(s, proof->type, proof->blamed, path);
    bool there = rc == 0 && access(path, F_OK) == 0;
    if (rc == 0 && !there)
        rc = file_replace(path, file.data, file.len, 0600, &e);
    say(s,
        "replica %u signed two different things at view %" PRIu64 ", batch %" PRIu64
        " (%s); the proof: %s",
        proof->blamed, proof->view, proof->seqno, ledger_proof_name(proof->type),
        rc == 0 ? path : e.text);
}

static void env_rejoined(void *context)
{
    struct ledger_server *s = context;
    struct error e;
    if (ledger_log_rejoined(s->log, &e) != 0)
        server_fail(s, e.text);
    say(s, "replica %u has rejoined after an unclean stop of its machine", s->identity.role);
}

/* The process stays: what the replica has is still served, receipts above all. */
static void env_stopped(void *context, const char *why)
{
    struct ledger_server *s = context;
    say(s, "replica %u votes no more: %s; it goes on serving what it has", s->identity.role, why);
}

/* ---- what happens to it ---- */

static void peer_ready(void *context, uint16_t number)
{
    struct ledger_server *s = context;
    struct buffer message = {0};
    if (lives_write(s->lives, number, &message)) {
        struct slice part = slice_of_buffer(&message);
        links_send(s->links, number, &part, 1);
    }
    buffer_free(&message);
}

/* An old image of this replica, or a copy, does not know what was signed since. */
static void life_heard(struct ledger_server *s, uint16_t from, struct slice message)
{
    struct error e;
    if (lives_hear(s->lives, from, message, &e) == 0 && lives_outlived(s->lives, &e))
        server_fail(s, e.text);
}

static void peer_said(void *context, uint16_t from, struct slice message)
{
    struct ledger_server *s = context;
    if (ledger_message_type(message) == LEDGER_MESSAGE_LIFE)
        life_heard(s, from, message);
    else if (!s->failed)
        ledger_on_message(s->replica, from, message.data, message.len);
}

static void client_said(void *context, uint64_t connection, struct slice message)
{
    struct ledger_server *s = context;
    ledger_on_client(s->replica, connection, message.data, message.len);
}

static void client_gone(void *context, uint64_t connection)
{
    struct ledger_server *s = context;
    ledger_on_client_gone(s->replica, connection);
}

static void verified(void *context, struct ledger_verify_job *job)
{
    struct ledger_server *s = context;
    ledger_on_verified(s->replica, job);
}

static void digested(void *context, const struct ledger_checkpoint *checkpoint,
                     const uint8_t digest[static HASH_LEN])
{
    struct ledger_server *s = context;
    ledger_on_digest(s->replica, checkpoint, digest);
}

static void log_wakes(void *context)
{
    struct ledger_server *s = context;
    uv_async_send(&s->logged);
}

/* Only wakes the loop, which asks the log before it sleeps again. */
static void logged(uv_async_t *async)
{
    (void)async;
}

/* Tells the replica what has become durable; false: nothing has. */
static bool durable_tell(struct ledger_server *s)
{
    struct error e;
    uint64_t durable;
    if (ledger_log_complete(s->log, &durable, &e) != 0) {
        server_fail(s, e.text);
        return false;
    }
    if (durable == s->durable)
        return false;
    s->durable = durable;
    ledger_on_durable(s->replica, durable);
    return true;
}

static void at_once_drop(struct ledger_server *s)
{
    s->at_once = NULL;
    s->at_once_end = &s->at_once;
}

/* Checks what can be checked at once; false: there was nothing. */
static bool at_once_check(struct ledger_server *s)
{
    struct ledger_verifier verifier = ledger_known_verifier_of(s->known);
    struct ledger_verify_job *job = s->at_once, *next;
    struct error e;
    if (job == NULL)
        return false;
    at_once_drop(s);
    for (; job; job = next) {
        next = job->next;
        if (verifier.verify(verifier.context, job->items, job->count, job->valid, &e) != 0)
            memset(job->valid, 0, job->count * sizeof *job->valid);
        ledger_on_verified(s->replica, job);
    }
    return true;
}

static void settle(uv_prepare_t *prepare)
{
    struct ledger_server *s = prepare->data;
    for (bool more = true; more && !s->failed;) {
        ledger_settle(s->replica);
        more = at_once_check(s);
        more = durable_tell(s) || more;
    }
    if (!s->failed)
        links_flush(s->links);
}

/* ---- beginning ---- */

static int identity_read(struct ledger_server *s, const char *passphrase, struct error *e)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/genesis", s->directory);
    int rc = file_read(path, LEDGER_ENTRY_MAX, &s->genesis_bytes, e);
    if (rc == 0)
        rc = ledger_genesis_decode(slice_of_buffer(&s->genesis_bytes), &s->genesis, e);
    if (rc != 0)
        return error_prefix(e, "%s", path);
    snprintf(path, sizeof path, "%s/replica.key", s->directory);
    rc = secret_read(path, passphrase, &s->secret, e);
    if (rc != 0)
        return rc;
    const struct ledger_configuration *c = &s->genesis.configuration;
    uint32_t number = 0;
    while (number < c->replica_count &&
           memcmp(c->replicas[number].public_key, secret_public(s->secret), KEY_PUBLIC_LEN) != 0)
        number++;
    if (number == c->replica_count)
        return error_set(e, ATOLL_EPERM, "the key in %s is of no replica of this ledger", path);
    s->identity = (struct channel_identity){.genesis = s->genesis.hash,
                                            .configuration = c,
                                            .role = (uint16_t)number,
                                            .secret = s->secret};
    mlock(s->nonce_key, sizeof s->nonce_key); /* as the key, where the limit allows */
    secret_derive(s->secret, "atoll ledger nonces", s->nonce_key, sizeof s->nonce_key);
    return 0;
}

static void checkpoint_bad(void *context, const struct error *e)
{
    say(context, "a checkpoint is passed over: %s", e->text);
}

static void checkpoint_unkept(void *context, const struct error *e)
{
    say(context, "no checkpoint can be kept, a restart takes longer: %s", e->text);
}

/* The store at the newest checkpoint below `below`, or at the genesis. */
static int store_make(struct ledger_server *s, uint64_t below, struct ledger_checkpoint *at,
                      struct kv **kv, struct error *e)
{
    char path[PATH_MAX];
    const struct ledger_genesis *g = &s->genesis;
    snprintf(path, sizeof path, "%s/checkpoints", s->directory);
    int rc = checkpoints_load(path, g, below, checkpoint_bad, s, at, kv, e);
    if (rc != -ATOLL_ENOENT)
        return rc;
    *at = (struct ledger_checkpoint){0};
    rc = kv_create(g->bucket_bits, g->bucket_key, kv, e);
    if (rc != 0)
        return rc;
    rc = procedure_preload(g->procedures, g->state.data, g->state.len, *kv, e);
    if (rc != 0)
        kv_destroy(*kv);
    return rc;
}

static int recover_record(void *context, enum ledger_record_kind kind, uint8_t entry_type,
                          uint64_t position, const void *payload, size_t len, struct error *e)
{
    return ledger_recover(context, kind, entry_type, position, payload, len, e);
}

/* One attempt to bring the replica up from the checkpoint `at`. */
static int replica_recover(struct ledger_server *s, const struct ledger_checkpoint *at,
                           struct kv *kv, struct error *e)
{
    const struct ledger_env env = {.context = s,
                                   .now_us = env_now,
                                   .timer_set = env_timer_set,
                                   .send = env_send,
                                   .reply = env_reply,
                                   .append = env_append,
                                   .sync = env_sync,
                                   .read = env_read,
                                   .verify = env_verify,
                                   .sign = env_sign,
                                   .digest = env_digest,
                                   .checkpoint_chunk = env_checkpoint_chunk,
                                   .checkpoint_origin = env_checkpoint_origin,
                                   .jump = env_jump,
                                   .gap = env_gap,
                                   .jumped = env_jumped,
                                   .history = env_history,
                                   .proof = env_proof,
                                   .rejoined = env_rejoined,
                                   .stopped = env_stopped};
    struct ledger_config config = {.genesis = slice_of_buffer(&s->genesis_bytes),
                                   .replica = s->identity.role,
                                   .kv = kv,
                                   .checkpoint = at->s ? at : NULL,
                                   .quarantine = s->quarantine};
    memcpy(config.nonce_key, s->nonce_key, sizeof config.nonce_key);
    int rc = random_bytes(config.table_key, sizeof config.table_key) == 0
                 ? ledger_open(&config, &env, &s->replica, e)
                 : error_set(e, ATOLL_EUNAVAIL, "the kernel gives no random bytes");
    explicit_bzero(config.nonce_key, sizeof config.nonce_key);
    if (rc != 0) {
        kv_destroy(kv);
        return rc;
    }
    rc = ledger_log_replay(s->log, at->s ? at->needed : 0, recover_record, s->replica, e);
    if (rc == 0)
        rc = ledger_start(s->replica, e);
    if (rc != 0 || at->s == 0)
        return rc;
    struct ledger_status status;
    ledger_status(s->replica, &status);
    if (status.s_last < at->s + 2ull * s->genesis.pipeline)
        return error_set(e, ATOLL_ESTALE, "checkpoint %" PRIu64 " is not final yet", at->s);
    return 0;
}

/* The threads that work for the replica. */
static int workers_open(struct ledger_server *s, struct error *e)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/checkpoints", s->directory);
    int rc = checkpoints_open(s->loop, path, &s->genesis, digested, s, &s->checkpoints, e);
    if (rc == 0)
        checkpoints_watch(s->checkpoints, checkpoint_unkept);
    if (rc == 0)
        rc = verifier_open(s->loop, s->config.verify_threads ? s->config.verify_threads : 1,
                           verified, s, &s->verifier, e);
    return rc;
}

/* Gives an attempt up. Executing the log may have asked for digests already: whoever holds
 * snapshots of its store, or its jobs, goes first. */
static int replica_give_up(struct ledger_server *s, struct error *e)
{
    verifier_close(s->verifier, NULL, NULL);
    checkpoints_close(s->checkpoints, NULL, NULL);
    s->verifier = NULL;
    s->checkpoints = NULL;
    at_once_drop(s);
    ledger_close(s->replica);
    s->replica = NULL;
    return workers_open(s, e);
}

/*
 * A checkpoint of a batch that was taken back later contradicts the log, and one so young that it
 * still could be leaves nothing to take it back to: then an older one will do, or the genesis.
 */
static int replica_open(struct ledger_server *s, struct error *e)
{
    struct ledger_checkpoint at;
    struct kv *kv;
    uint64_t below = UINT64_MAX;
    for (;;) {
        int rc = store_make(s, below, &at, &kv, e);
        if (rc == 0)
            rc = replica_recover(s, &at, kv, e);
        if (rc == 0 && at.s != 0)
            checkpoints_offer(s->checkpoints, &s->genesis, &at, checkpoint_bad, s);
        if ((rc != -ATOLL_ESTALE && rc != -ATOLL_ECORRUPT) || at.s == 0)
            return rc;
        say(s, "checkpoint %" PRIu64 " is passed over: %s", at.s, e->text);
        below = at.s;
        rc = replica_give_up(s, e);
        if (rc != 0)
            return rc;
    }
}

static int lives_begin(struct ledger_server *s, uint64_t starts, struct error *e)
{
    int rc = lives_open(s->directory, &s->genesis, s->identity.role, starts, &s->lives, e);
    if (rc == 0 && lives_lost(s->lives))
        say(s, "which starts the others were in is not known any more: %s/lives: %s", s->directory,
            lives_lost(s->lives));
    return rc;
}

static int log_open(struct ledger_server *s, struct error *e)
{
    char path[PATH_MAX];
    struct ledger_log_found found;
    snprintf(path, sizeof path, "%s/log", s->directory);
    int rc = log_directory_open(path, false, &s->files, e);
    if (rc != 0)
        return rc;
    s->files_open = true;
    struct ledger_log_config config = {.files = &s->files,
                                       .pipeline = s->genesis.pipeline,
                                       .mode = s->config.mode,
                                       .wake = log_wakes,
                                       .wake_context = s};
    memcpy(config.genesis, s->genesis.hash, sizeof config.genesis);
    rc = ledger_log_open(&config, &s->log, &found, e);
    if (rc != 0)
        return rc;
    s->quarantine = found.quarantine;
    if (found.torn_bytes)
        say(s, "%" PRIu64 " bytes of an interrupted write were cut off the log", found.torn_bytes);
    if (found.corrupt)
        say(s, "the log is damaged: %s; entries from %" PRIu64 " on come from the other replicas",
            found.what, found.missing);
    if (found.quarantine)
        say(s,
            "what was signed last may be lost (%s): nothing is signed before the others are ahead",
            found.votes_damaged ? found.what
            : found.corrupt     ? "damage"
                                : "the machine stopped without order");
    return lives_begin(s, found.starts, e);
}

static int parts_open(struct ledger_server *s, struct error *e)
{
    static const struct links_handler handler = {peer_said, client_said, client_gone, peer_ready};
    int rc = ledger_known_verifier_create(&s->genesis.configuration, &s->known, e);
    if (rc == 0)
        rc = workers_open(s, e);
    if (rc == 0)
        rc = log_open(s, e);
    if (rc == 0)
        rc = replica_open(s, e);
    if (rc == 0)
        rc = links_open(s->loop, &s->identity, s->config.listen, &handler, s, &s->links, e);
    return rc;
}

static void handles_open(struct ledger_server *s)
{
    for (uint32_t i = 0; i < LEDGER_TIMERS; i++) {
        s->alarms[i] = (struct alarm){.server = s, .id = i};
        uv_timer_init(s->loop, &s->alarms[i].timer);
        s->alarms[i].timer.data = &s->alarms[i];
    }
    uv_async_init(s->loop, &s->logged, logged);
    uv_prepare_init(s->loop, &s->settle);
    s->logged.data = s->settle.data = s;
}

int ledger_server_open(uv_loop_t *loop, const struct ledger_server_config *config,
                       struct ledger_server **out, struct error *e)
{
    struct ledger_server *s = calloc(1, sizeof *s);
    *out = NULL;
    if (s == NULL || strlen(config->directory) >= sizeof s->directory) {
        free(s);
        return error_set(e, ATOLL_ENOMEM, "no memory for a replica, or its path is too long");
    }
    s->loop = loop;
    s->config = *config;
    strcpy(s->directory, config->directory);
    at_once_drop(s);
    handles_open(s);
    int rc = identity_read(s, config->passphrase, e);
    if (rc == 0)
        rc = parts_open(s, e);
    if (rc != 0) {
        ledger_server_close(s, NULL, NULL);
        return rc;
    }
    /* They are the caller's. */
    s->config.directory = s->config.passphrase = s->config.listen = NULL;
    uv_prepare_start(&s->settle, settle);
    *out = s;
    return 0;
}

/* ---- the end ---- */

static void server_free(struct ledger_server *s)
{
    void (*closed)(void *) = s->closed;
    void *context = s->closed_context;
    secret_destroy(s->secret);
    ledger_known_verifier_destroy(s->known);
    explicit_bzero(s->nonce_key, sizeof s->nonce_key);
    buffer_free(&s->genesis_bytes);
    free(s);
    if (closed)
        closed(context);
}

static void part_closed(void *context)
{
    struct ledger_server *s = context;
    if (--s->open == 0)
        server_free(s);
}

static void alarm_closed(uv_handle_t *handle)
{
    struct alarm *a = handle->data;
    part_closed(a->server);
}

static void handle_closed(uv_handle_t *handle)
{
    part_closed(handle->data);
}

void ledger_server_close(struct ledger_server *s, void (*closed)(void *), void *context)
{
    struct error e;
    s->closed = closed;
    s->closed_context = context;
    s->open =
        LEDGER_TIMERS + 2u + (s->links != NULL) + (s->verifier != NULL) + (s->checkpoints != NULL);
    uv_prepare_stop(&s->settle);
    if (s->links)
        links_close(s->links, part_closed, s);
    s->links = NULL;
    /* Jobs belong to the replica: it goes after those who work on them. */
    if (s->verifier)
        verifier_close(s->verifier, part_closed, s);
    if (s->checkpoints)
        checkpoints_close(s->checkpoints, part_closed, s);
    ledger_close(s->replica);
    lives_close(s->lives);
    if (s->log && ledger_log_close(s->log, !s->failed, &e) != 0)
        say(s, "the log was not closed in order: %s", e.text);
    if (s->files_open)
        log_directory_close(&s->files);
    for (uint32_t i = 0; i < LEDGER_TIMERS; i++)
        uv_close((uv_handle_t *)&s->alarms[i].timer, alarm_closed);
    uv_close((uv_handle_t *)&s->logged, handle_closed);
    uv_close((uv_handle_t *)&s->settle, handle_closed);
}

/* ---- looking in ---- */

uint16_t ledger_server_number(const struct ledger_server *s)
{
    return s->identity.role;
}

const struct ledger_genesis *ledger_server_genesis(const struct ledger_server *s)
{
    return &s->genesis;
}

struct ledger_replica *ledger_server_replica(struct ledger_server *s)
{
    return s->replica;
}

struct ledger_log *ledger_server_log(struct ledger_server *s)
{
    return s->log;
}

int ledger_server_proof(const struct ledger_server *s, enum ledger_proof_type type,
                        uint16_t replica, struct buffer *out, struct error *e)
{
    char path[PATH_MAX];
    proof_path(s, type, replica, path);
    out->len = 0;
    return file_read(path, LEDGER_PROOF_FILE_MAX, out, e);
}

void ledger_server_replies(struct ledger_server *s,
                           void (*reply)(void *, uint64_t, const struct slice *, unsigned),
                           void *context)
{
    s->reply = reply;
    s->reply_context = context;
}

struct links_counts ledger_server_links(const struct ledger_server *s)
{
    return links_counts(s->links);
}
