/*
 * One machine: the environment that a replica's core asks for (ledger/replica/env.h), made of
 * simulated parts. Its log is in storage.c, its checkpoints in checkpoint.c.
 */
#include "machine.h"

#include <assert.h>
#include <stdlib.h>

void machine_plan(struct sim_machine *m, uint64_t delay_us, sim_action *action, struct visit visit)
{
    struct visit *v = sim_allocate(sizeof *v);

    *v = visit;
    v->life = m->life;
    sim_world_after(machine_world(m), delay_us, action, m, v);
}

bool visit_is_late(const struct sim_machine *m, const struct visit *v)
{
    return !m->core || v->life != m->life;
}

static void machine_look(struct sim_machine *m)
{
    struct ledger_status before = m->status;

    ledger_status(m->core, &m->status);
    if (before.view != m->status.view)
        machine_covered(m, SIM_EVENT_VIEW);
    if (before.phase != m->status.phase && m->status.phase == LEDGER_TRANSFER)
        machine_covered(m, SIM_EVENT_TRANSFER);
    if (before.phase != m->status.phase && m->status.phase == LEDGER_ABSTAINING)
        machine_covered(m, SIM_EVENT_ABSTAIN);
    if (before.view != m->status.view || before.s_last != m->status.s_last ||
        before.s_committed != m->status.s_committed)
        sim_world_log(machine_world(m), "progress", m->number,
                      m->status.view << 32 | m->status.s_last, m->status.s_committed);
    if (m->correct)
        sim_witness_moved(m->cluster->witness, m, &before);
}

static void settle_due(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;

    if (visit_is_late(m, payload))
        return;
    m->settle_planned = false;
    ledger_settle(m->core);
    machine_look(m);
}

/* Bursts of events are settled together, more or less of them. */
void machine_after_event(struct sim_machine *m)
{
    machine_look(m);
    if (!m->settle_planned) {
        m->settle_planned = true;
        machine_plan(
            m, sim_random_skewed(sim_world_random(machine_world(m), SIM_STREAM_STAGE), 0, 200),
            settle_due, (struct visit){0});
    }
}

/* ---- clock and timers ---- */

/* Clocks run at their own rates, and do not start at 0: that finds whoever confuses "none" with the
 * beginning. */
static uint64_t env_now_us(void *context)
{
    const struct sim_machine *m = context;

    return 1000000 + m->clock_ahead_us + machine_world(m)->now_us * m->clock_rate / 1000;
}

static void timer_due(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;
    struct visit *v = payload;

    if (visit_is_late(m, v) || v->version != m->timer_version[v->number])
        return;
    m->timer_at_us[v->number] = 0;
    ledger_on_timer(m->core, (uint32_t)v->number);
    machine_after_event(m);
}

static void env_timer_set(void *context, uint32_t id, uint64_t at_us)
{
    struct sim_machine *m = context;
    uint64_t now = env_now_us(m), delay = at_us > now ? at_us - now : 0;

    assert(id < LEDGER_TIMERS);
    m->timer_version[id]++;
    m->timer_at_us[id] = at_us;
    if (at_us)
        machine_plan(m, (delay * 1000 + m->clock_rate - 1) / m->clock_rate, timer_due,
                     (struct visit){.number = id, .version = m->timer_version[id]});
}

void sim_machine_clock_jump(struct sim_machine *m, uint64_t ahead_us)
{
    m->clock_ahead_us += ahead_us;
    for (uint32_t id = 0; m->core && id < LEDGER_TIMERS; id++)
        if (m->timer_at_us[id])
            env_timer_set(m, id, m->timer_at_us[id]);
}

/* ---- messages ---- */

struct slice parts_join(struct buffer *out, const struct slice *parts, unsigned count)
{
    out->len = 0;
    for (unsigned i = 0; i < count; i++)
        if (parts[i].len && !buffer_append(out, parts[i].data, parts[i].len))
            abort();
    return slice_of_buffer(out);
}

static void env_send(void *context, uint16_t to, const struct slice *parts, unsigned count)
{
    struct sim_machine *m = context;
    struct sim_cluster *c = m->cluster;
    struct buffer joined = {0};
    struct slice message = parts_join(&joined, parts, count);

    assert(to < c->replicas && to != m->replica);
    sim_world_log(machine_world(m), ledger_message_name(ledger_message_type(message)), m->number,
                  to, message.len);
    sim_tell_message(machine_world(m), m->number, to, message);
    if (m->correct)
        sim_witness_sent(c->witness, m, message);
    for (uint64_t bodies = sim_adversary_bodies(c->adversary, m->number, to); bodies;
         bodies &= bodies - 1) {
        unsigned body = (unsigned)__builtin_ctzll(bodies);

        if (m->correct)
            sim_post(c, m->number, body, message);
        else
            sim_adversary_send(c->adversary, m, body, message);
    }
    buffer_free(&joined);
}

/* Numbers of connections are never used again: they carry the machine's life and a count. */
static uint64_t connection_of(const struct sim_machine *m, unsigned endpoint)
{
    return (uint64_t)m->life << 40 | (uint64_t)m->accepted[endpoint] << 8 | endpoint;
}

void sim_machine_accept(struct sim_machine *m, unsigned endpoint)
{
    sim_machine_hang_up(m, endpoint);
    m->accepted[endpoint]++;
}

void sim_machine_hang_up(struct sim_machine *m, unsigned endpoint)
{
    if (!m->core)
        return;
    ledger_on_client_gone(m->core, connection_of(m, endpoint));
    machine_after_event(m);
}

static void env_reply(void *context, uint64_t connection, const struct slice *parts, unsigned count)
{
    struct sim_machine *m = context;
    struct sim_cluster *c = m->cluster;
    struct buffer joined = {0};
    struct slice message = parts_join(&joined, parts, count);
    unsigned to = connection & 0xff;

    assert(connection >> 40 == m->life);
    if (connection != connection_of(m, to)) {
        buffer_free(&joined);
        return; /* it is gone */
    }
    sim_world_log(machine_world(m), ledger_message_name(ledger_message_type(message)), m->number,
                  to, message.len);
    if (m->correct) {
        sim_witness_sent(c->witness, m, message);
        sim_post(c, m->number, to, message);
    } else {
        sim_adversary_send(c->adversary, m, to, message);
    }
    buffer_free(&joined);
}

void sim_machine_receive(struct sim_machine *m, unsigned from, const uint8_t *bytes, size_t len)
{
    struct sim_cluster *c = m->cluster;

    if (!m->core)
        return;
    if (from < c->machines)
        ledger_on_message(m->core, c->machine[from].replica, bytes, len);
    else
        ledger_on_client(m->core, connection_of(m, from), bytes, len);
    machine_after_event(m);
}

/* ---- stages ---- */

uint64_t machine_stage_delay(struct sim_machine *m)
{
    return sim_random_skewed(sim_world_random(machine_world(m), SIM_STREAM_STAGE),
                             m->cluster->stage_low_us, m->cluster->stage_high_us);
}

static void verify_done(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;
    struct visit *v = payload;
    struct ledger_verify_job *job = v->pointer;

    if (visit_is_late(m, v))
        return;
    for (size_t i = 0; i < job->count; i++)
        job->valid[i] = sim_verify(&m->cluster->signatures, job->items[i].public_key,
                                   job->items[i].hash, job->items[i].signature);
    ledger_on_verified(m->core, job);
    machine_after_event(m);
}

static void env_verify(void *context, struct ledger_verify_job *job)
{
    machine_plan(context, machine_stage_delay(context), verify_done,
                 (struct visit){.pointer = job});
}

static void env_sign(void *context, const uint8_t hash[static 32], uint8_t signature[static 64])
{
    struct sim_machine *m = context;

    sim_sign(&m->cluster->signatures, sim_key(m->replica), hash, signature);
    if (m->correct)
        sim_witness_signed(m->cluster->witness, m, hash);
}

static void env_stopped(void *context, const char *why)
{
    struct sim_machine *m = context;

    machine_covered(m, SIM_EVENT_STOPPED);
    sim_world_note(machine_world(m), "machine %u stopped: %s", m->number, why);
    sim_world_log(machine_world(m), "stopped", m->number, 0, 0);
    /* A full disk is a reason; that history contradicts itself is none while f bears the liars. */
    if (m->correct && !sim_cluster_overrun(m->cluster) && !m->disk.full)
        sim_world_violated(machine_world(m), "replica %u, correct, stopped: %s", m->replica, why);
}

static void env_rejoined(void *context)
{
    struct sim_machine *m = context;

    m->quarantine = false;
    machine_covered(m, SIM_EVENT_REJOINED);
    sim_world_log(machine_world(m), "rejoined", m->number, 0, 0);
}

/* ---- life ---- */

void sim_machine_open(struct sim_machine *m, struct sim_cluster *c, unsigned number,
                      uint16_t replica, bool correct)
{
    *m = (struct sim_machine){
        .cluster = c,
        .number = number,
        .replica = replica,
        .correct = correct,
        .clock_rate = c->clocks_differ
                          ? (uint32_t)sim_random_range(
                                sim_world_random(&c->world, SIM_STREAM_SETUP), 700, 1400)
                          : 1000};
    sim_disk_open(&m->disk, &c->world, 200, 8000);
}

void sim_machine_close(struct sim_machine *m)
{
    checkpoint_forget_pending(m);
    ledger_close(m->core);
    m->core = NULL;
    checkpoint_forget_all(m);
    storage_close(m);
}

/* One attempt to bring the core up, from the newest checkpoint below a batch; *from: its batch. */
static int core_try(struct sim_machine *m, uint64_t below, uint64_t *from, struct error *e)
{
    struct ledger_env env = {
        .context = m,
        .now_us = env_now_us,
        .timer_set = env_timer_set,
        .send = env_send,
        .reply = env_reply,
        .verify = env_verify,
        .sign = env_sign,
        .stopped = env_stopped,
        .rejoined = env_rejoined,
    };
    struct ledger_config config = {
        .genesis = slice_of_buffer(&m->cluster->genesis_bytes),
        .replica = m->replica,
        .nonce_key = {(uint8_t)(m->replica + 1), 7},
        .quarantine = m->quarantine,
        .pool_bytes = m->cluster->pool_bytes,
        .pool_per_client = m->cluster->pool_per_client,
    };
    int rc;

    storage_env(&env);
    checkpoint_env(&env);
    gap_env(&env);
    config.kv = checkpoint_store(m, below, &config.checkpoint);
    *from = config.checkpoint ? config.checkpoint->s : 0;
    rc = ledger_open(&config, &env, &m->core, e);
    if (rc != 0) {
        kv_destroy(config.kv);
        m->core = NULL;
        return rc;
    }
    return storage_feed(m, e) ? ledger_start(m->core, e) : e->code;
}

/* A checkpoint that the log turns out not to hold for good is passed over for an older one. */
static void core_open(struct sim_machine *m)
{
    uint64_t below = UINT64_MAX;
    struct error e;

    if (m->quarantine)
        machine_covered(m, SIM_EVENT_QUARANTINE);
    for (;;) {
        int rc = core_try(m, below, &below, &e);

        if (rc == 0)
            return;
        if (rc != -ATOLL_ECORRUPT || !below || !m->core)
            break;
        checkpoint_forget_pending(m);
        ledger_close(m->core);
        m->core = NULL;
        m->life++;
        storage_find(m);
    }
    if (m->disk.full && m->core)
        sim_machine_crash(m, false, 20000); /* nothing can be written yet: tried again */
    else
        sim_world_violated(machine_world(m), "machine %u does not recover: %s", m->number, e.text);
}

void sim_machine_start(struct sim_machine *m)
{
    assert(!m->core);
    m->life++;
    m->settle_planned = false;
    m->synced_at_us = 0;
    memset(&m->status, 0, sizeof m->status);
    memset(m->timer_at_us, 0, sizeof m->timer_at_us);
    /* What is found is synced before it is read: a process that died may have left it unsynced. */
    sim_disk_synced(&m->disk, m->disk.next_lsn - 1);
    storage_find(m);
    if (m->correct)
        sim_witness_found(m->cluster->witness, m);
    sim_world_log(machine_world(m), "start", m->number, m->life, m->entries);
    core_open(m);
    if (m->core)
        machine_after_event(m);
}

static void restart_due(void *ctx, void *payload)
{
    struct sim_machine *m = ctx;

    (void)payload;
    m->restart_planned = false;
    if (!m->core)
        sim_machine_start(m);
}

void sim_machine_crash(struct sim_machine *m, bool power, uint64_t restart_us)
{
    if (m->core) {
        sim_world_log(machine_world(m), power ? "power cut" : "crash", m->number, m->life,
                      restart_us);
        checkpoint_forget_pending(m);
        ledger_close(m->core);
        m->core = NULL;
        m->life++;
        sim_covered(&m->cluster->coverage, SIM_SECTION_EVENT, SIM_EVENT_CRASH);
        for (unsigned i = 0; i < m->cluster->clients; i++)
            sim_line_break(m->cluster, i, m->number);
    }
    if (power) {
        sim_disk_power_cut(&m->disk);
        m->quarantine = m->cluster->async;
        sim_covered(&m->cluster->coverage, SIM_SECTION_EVENT, SIM_EVENT_POWER_CUT);
    }
    if (restart_us && !m->restart_planned) {
        m->restart_planned = true;
        sim_world_after(machine_world(m), restart_us, restart_due, m, NULL);
    }
}

void sim_machine_forget(struct sim_machine *m, uint64_t restart_us)
{
    assert(!m->correct);
    sim_machine_crash(m, false, restart_us);
    checkpoint_forget_all(m);
    sim_disk_close(&m->disk);
    sim_disk_open(&m->disk, machine_world(m), 200, 8000);
}
