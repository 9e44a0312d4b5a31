/*
 * The witness of the simulator: what correct replicas may do passes, and each breach of an
 * invariant is seen. The core is not here; the tests sign, write and send in its place.
 */
#include "cluster.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_cluster cluster;
static struct sim_batch batch_now; /* what replica 2 says that it holds */

bool sim_machine_batch(const struct sim_machine *m, uint64_t s, struct sim_batch *out)
{
    (void)m;
    *out = batch_now;
    out->pp.seqno = s;
    return true;
}

/* Its ledger is not looked into: it has no entries. */
/* What the correct found to be the state at the last checkpoint; NULL: nobody has computed it. */
static const uint8_t *digest_now;

const uint8_t *sim_checkpoint_digest(struct sim_cluster *c, const uint8_t pp_hash[static 32])
{
    (void)c;
    (void)pp_hash;
    return digest_now;
}

bool sim_machine_is_hollow(const struct sim_machine *m)
{
    (void)m;
    return false;
}

const struct sim_record *sim_machine_entry(const struct sim_machine *m, uint64_t position)
{
    (void)m;
    (void)position;
    return NULL;
}

static struct sim_machine *replica_two(void)
{
    return &cluster.machine[2];
}

static int world_begin(void **state)
{
    (void)state;
    memset(&cluster, 0, sizeof cluster);
    sim_world_open(&cluster.world, 1, false);
    cluster.replicas = 4;
    cluster.faulty_max = 1;
    cluster.quorum = 3;
    cluster.genesis.pipeline = 2;
    cluster.genesis.configuration.checkpoint_interval = 100;
    cluster.witness = sim_witness_create(&cluster);
    cluster.machine[2] =
        (struct sim_machine){.cluster = &cluster, .number = 2, .replica = 2, .correct = true};
    sim_disk_open(&cluster.machine[2].disk, &cluster.world, 1, 2);
    digest_now = NULL;
    return 0;
}

static int world_end(void **state)
{
    (void)state;
    sim_disk_close(&cluster.machine[2].disk);
    sim_witness_destroy(cluster.witness);
    sim_world_close(&cluster.world);
    return 0;
}

/* ---- in the place of the core ---- */

static void write_record(enum ledger_record_kind kind, uint8_t type, const void *bytes, size_t len)
{
    struct sim_disk *disk = &replica_two()->disk;

    assert_true(sim_disk_append(disk, SIM_FILE_SEGMENT, (uint8_t)kind, type, 0, bytes, len) != 0);
    sim_witness_wrote(cluster.witness, replica_two(), &disk->record[disk->count - 1]);
}

static void make_durable(void)
{
    sim_disk_synced(&replica_two()->disk, replica_two()->disk.next_lsn - 1);
}

/* Batch s of a view; `variant` makes another of it. */
static struct ledger_pp pp_of(uint64_t view, uint64_t s, uint8_t variant,
                              const struct ledger_pp *before)
{
    struct ledger_pp pp = {.view = view,
                           .seqno = s,
                           .kind = LEDGER_KIND_NORMAL,
                           .first_index = s,
                           .count = 1,
                           .ledger_root = {variant}};

    if (before)
        ledger_pp_hash(before, pp.previous);
    return pp;
}

static void pp_write_as(uint8_t kind, const struct ledger_pp *pp)
{
    struct ledger_signed mark = {
        .what = LEDGER_SIGNED_PREPARE, .view = pp->view, .seqno = pp->seqno};
    uint8_t entry[LEDGER_PP_SIGNED_LEN], bytes[LEDGER_SIGNED_LEN];

    ledger_pp_encode_signed(pp, entry);
    write_record(kind, LEDGER_ENTRY_PP, entry, sizeof entry);
    ledger_pp_hash(pp, mark.hash);
    ledger_signed_encode(&mark, bytes);
    write_record(LEDGER_RECORD_SIGNED, 0, bytes, sizeof bytes);
}

static void pp_write(const struct ledger_pp *pp)
{
    pp_write_as(LEDGER_RECORD_ENTRY, pp);
}

static void send_message(struct buffer *message)
{
    sim_witness_sent(cluster.witness, replica_two(), slice_of_buffer(message));
    buffer_free(message);
}

static void prepare_send(const struct ledger_pp *pp)
{
    struct ledger_prepare prepare = {.view = pp->view, .seqno = pp->seqno, .replica = 2};
    struct buffer message = {0};
    uint8_t hash[HASH_LEN];

    ledger_pp_hash(pp, prepare.pp_hash);
    ledger_prepare_hash(&prepare, hash);
    sim_witness_signed(cluster.witness, replica_two(), hash);
    assert_true(ledger_prepare_write(&message, &prepare));
    send_message(&message);
}

/* Writes, makes durable, signs and sends. */
static void prepare_properly(const struct ledger_pp *pp)
{
    pp_write(pp);
    make_durable();
    prepare_send(pp);
}

static void certificate_write(const struct ledger_pp *pp)
{
    static const uint8_t votes[2 * LEDGER_CERTIFICATE_VOTE_LEN];
    struct ledger_certificate certificate = {.pp = *pp, .bits = 6, .vote_count = 2, .votes = votes};
    struct buffer bytes = {0};

    assert_true(ledger_certificate_encode(&certificate, &bytes));
    write_record(LEDGER_RECORD_CERTIFICATE, 0, bytes.data, bytes.len);
    buffer_free(&bytes);
}

static void commit_send(const struct ledger_pp *pp)
{
    struct ledger_commit commit = {.view = pp->view, .seqno = pp->seqno, .replica = 2};
    struct buffer message = {0};

    assert_true(ledger_commit_write(&message, &commit));
    send_message(&message);
}

/* A ViewChange that reports `tip`, or nothing. */
static void view_change_send(uint64_t new_view, const struct ledger_pp *tip)
{
    static const uint8_t votes[2 * LEDGER_CERTIFICATE_VOTE_LEN];
    static struct ledger_view_change vc;
    struct ledger_signed mark = {.what = LEDGER_SIGNED_VIEW_CHANGE, .view = new_view};
    struct buffer bytes = {0}, message = {0};
    uint8_t encoded[LEDGER_SIGNED_LEN];

    memset(&vc, 0, sizeof vc);
    vc.new_view = new_view;
    vc.replica = 2;
    if (tip) {
        vc.certificate_count = 1;
        vc.certificates[0] =
            (struct ledger_certificate){.pp = *tip, .bits = 6, .vote_count = 2, .votes = votes};
    }
    assert_true(ledger_view_change_hash(&vc, mark.hash));
    ledger_signed_encode(&mark, encoded);
    write_record(LEDGER_RECORD_SIGNED, 0, encoded, sizeof encoded);
    make_durable();
    sim_witness_signed(cluster.witness, replica_two(), mark.hash);
    assert_true(ledger_view_change_encode_signed(&vc, &bytes));
    assert_true(ledger_view_change_write(&message, slice_of_buffer(&bytes)));
    buffer_free(&bytes);
    send_message(&message);
}

static void assert_seen(const char *invariant)
{
    if (!strstr(cluster.world.violation, invariant))
        fail_msg("expected %s, the witness says: \"%s\"", invariant, cluster.world.violation);
}

static void assert_clean(void)
{
    assert_string_equal(cluster.world.violation, "");
}

/* ---- stories ---- */

static void what_a_correct_replica_does_passes(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL), two = pp_of(0, 2, 0, &one);

    (void)state;
    prepare_properly(&one);
    prepare_properly(&two);
    prepare_send(&one);
    certificate_write(&one);
    make_durable();
    commit_send(&one);
    view_change_send(1, &two);
    view_change_send(1, &two);
    commit_send(&one);
    assert_clean();
}

static void a_second_batch_at_one_place_is_seen(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL), other = pp_of(0, 1, 1, NULL);

    (void)state;
    prepare_properly(&one);
    prepare_properly(&other);
    assert_seen("I1");
}

static void signing_on_another_chain_of_the_view_is_seen(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL), other = pp_of(0, 1, 1, NULL);
    struct ledger_pp two = pp_of(0, 2, 0, &other);

    (void)state;
    prepare_properly(&one);
    pp_write(&other); /* caught up: it holds the other one now */
    prepare_properly(&two);
    assert_seen("I1");
}

static void a_prepare_before_its_mark_is_durable_is_seen(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL);

    (void)state;
    pp_write(&one);
    prepare_send(&one);
    assert_seen("I9");
}

static void what_came_as_history_may_be_signed(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL);

    (void)state;
    pp_write_as(SIM_KIND_HISTORY, &one);
    make_durable();
    prepare_send(&one);
    assert_clean();
}

static void a_mark_that_a_power_cut_took_does_not_count(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL);
    struct sim_disk *disk = &replica_two()->disk;

    (void)state;
    do {
        sim_disk_close(disk);
        sim_disk_open(disk, &cluster.world, 1, 2);
        pp_write(&one);
        sim_disk_power_cut(disk);
    } while (disk->count);
    sim_witness_found(cluster.witness, replica_two());
    prepare_send(&one);
    assert_seen("I9");
}

static void a_prepare_signed_after_a_view_change_is_seen(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL);

    (void)state;
    view_change_send(1, NULL);
    prepare_properly(&one);
    assert_seen("I2");
}

static void a_nonce_before_its_certificate_is_durable_is_seen(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL);

    (void)state;
    prepare_properly(&one);
    certificate_write(&one);
    commit_send(&one);
    assert_seen("I4");
}

static void a_view_change_that_hides_an_open_batch_is_seen(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL), two = pp_of(0, 2, 0, &one);

    (void)state;
    prepare_properly(&one);
    prepare_properly(&two);
    certificate_write(&one);
    certificate_write(&two);
    make_durable();
    commit_send(&one);
    commit_send(&two);
    view_change_send(1, &one);
    assert_seen("VC_OMIT");
}

static void a_nonce_after_a_view_change_that_hides_it_is_seen(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL);

    (void)state;
    prepare_properly(&one);
    certificate_write(&one);
    make_durable();
    view_change_send(1, NULL);
    assert_clean();
    commit_send(&one);
    assert_seen("VC_OMIT");
}

static void two_view_changes_of_one_view_are_seen(void **state)
{
    struct ledger_pp one = pp_of(0, 1, 0, NULL);

    (void)state;
    view_change_send(1, NULL);
    view_change_send(1, &one);
    assert_seen("I1");
}

static void committed(uint64_t s, uint8_t g)
{
    struct sim_machine *m = replica_two();
    struct ledger_status before = m->status;

    m->status.phase = LEDGER_NORMAL;
    m->status.s_committed = m->status.s_last = s;
    m->status.view++;
    batch_now = (struct sim_batch){.pp.batch_root = {g}};
    sim_witness_moved(cluster.witness, m, &before);
}

static void two_contents_of_a_committed_batch_are_seen(void **state)
{
    struct ledger_receipt receipt = {.pp = pp_of(0, 1, 0, NULL)};

    (void)state;
    committed(1, 5);
    assert_clean();
    receipt.pp.batch_root[0] = 6;
    sim_witness_receipt(cluster.witness, &receipt);
    assert_seen("I6");
}

static void a_replica_that_changes_what_it_committed_is_seen_among_any_number_of_liars(void **state)
{
    (void)state;
    cluster.faulty_set = 3;
    committed(1, 5);
    assert_clean();
    committed(1, 6);
    assert_seen("I7");
}

static void a_batch_that_names_another_state_is_seen(void **state)
{
    static const uint8_t right[HASH_LEN] = {1};
    struct ledger_pp one = pp_of(0, 1, 0, NULL);

    (void)state;
    pp_write(&one); /* nobody knows better */
    assert_clean();
    digest_now = right;
    one.kv_digest[0] = 1;
    pp_write(&one);
    assert_clean();
    one.kv_digest[0] = 2;
    pp_write(&one);
    assert_seen("I8");
}

/* Who went on from a checkpoint has no NewView; P certificates in a row bind a ViewChange as well.
 */
static void a_nonce_without_new_view_needs_a_row_of_certificates(void **state)
{
    struct ledger_pp one = pp_of(3, 7, 0, NULL), two = pp_of(3, 8, 0, &one);

    (void)state;
    prepare_properly(&one);
    prepare_properly(&two);
    certificate_write(&one);
    certificate_write(&two);
    make_durable();
    commit_send(&two);
    assert_clean();
    commit_send(&one);
    assert_seen("I4");
}

int main(void)
{
#define STORY(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
    const struct CMUnitTest tests[] = {
        STORY(what_a_correct_replica_does_passes),
        STORY(a_second_batch_at_one_place_is_seen),
        STORY(signing_on_another_chain_of_the_view_is_seen),
        STORY(a_prepare_before_its_mark_is_durable_is_seen),
        STORY(what_came_as_history_may_be_signed),
        STORY(a_mark_that_a_power_cut_took_does_not_count),
        STORY(a_prepare_signed_after_a_view_change_is_seen),
        STORY(a_nonce_before_its_certificate_is_durable_is_seen),
        STORY(a_view_change_that_hides_an_open_batch_is_seen),
        STORY(a_nonce_after_a_view_change_that_hides_it_is_seen),
        STORY(two_view_changes_of_one_view_are_seen),
        STORY(two_contents_of_a_committed_batch_are_seen),
        STORY(a_replica_that_changes_what_it_committed_is_seen_among_any_number_of_liars),
        STORY(a_batch_that_names_another_state_is_seen),
        STORY(a_nonce_without_new_view_needs_a_row_of_certificates),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
