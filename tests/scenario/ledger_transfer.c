/*
 * A replica loses its disk under load and comes back empty: it takes over a checkpoint of the
 * others, also when it is killed again on the way, and fetches the older ledger in the background.
 * Then all stop, and one comes back without its disk: the others give it a checkpoint of before the
 * stop, from their files.
 *
 *   ledger-transfer ATOLL DIRECTORY [KILLS]
 *
 * Whoever loses his log must not come back under his key (docs/ledger.md): the replica that does so
 * here counts as the one that may be faulty. It is not the primary, so it signs nothing differently
 * from before, and the test can look at all four. The others would not have it: they are made to
 * forget that it ever started.
 */
#define _GNU_SOURCE
#include "base/clock.h"
#include "cli/ledger/cluster.h"
#include "cli/ledger/load.h"
#include "cli/ledger/source.h"
#include "ledger/check/checker.h"
#include "ledger_rest.h"

#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define REPLICAS   4u
#define ACCOUNTS   20000u
#define INTERVAL   50u
#define PIPELINE   4u
#define WAITS      1200 /* of 50 ms */
#define FILE_WAITS 2400
#define BURSTS     10  /* of load, until the files lie as they have to */
#define EDGE       12u /* batches */

static int failures;

static void report(bool good, const char *name, const struct error *e)
{
    printf("%sok - %s\n", good ? "" : "not ", name);
    if (!good)
        printf("# %s\n", e->text);
    fflush(stdout);
    failures += !good;
}

static void nap_ms(unsigned ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

static bool committed_wait(const struct cluster *c, uint32_t replica, uint64_t batch,
                           struct error *e)
{
    for (int i = 0; i < WAITS; i++) {
        if (rest_committed(c, replica) >= batch)
            return true;
        nap_ms(50);
    }
    error_set(e, ATOLL_ETIMEDOUT, "replica %u has committed %" PRIu64 " of %" PRIu64 " batches",
              replica, rest_committed(c, replica), batch);
    return false;
}

/* Empties a replica's directory but for genesis and key. */
/* What a replica that is not running has of this name is gone. */
static bool part_lose(const struct cluster *c, uint32_t replica, const char *part)
{
    char path[640];
    int status = -1;
    snprintf(path, sizeof path, "%s/replica-%u/%s", c->directory, replica, part);
    pid_t pid = fork();
    if (pid == 0) {
        execlp("rm", "rm", "-rf", path, (char *)NULL);
        _exit(127);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static bool disk_lose(const struct cluster *c, uint32_t replica)
{
    return part_lose(c, replica, "log") && part_lose(c, replica, "checkpoints") &&
           part_lose(c, replica, "lives");
}

/* Those who run are killed and start again, without knowledge of anybody's starts. */
static bool others_forget(struct cluster *c, uint32_t but, struct error *e)
{
    bool good = true;
    for (uint32_t i = 0; i < REPLICAS; i++)
        if (i != but)
            cluster_replica_kill(c, i);
    for (uint32_t i = 0; i < REPLICAS && good; i++)
        good = i == but || (part_lose(c, i, "lives") && cluster_replica_start(c, i, e) == 0);
    return good;
}

/* ---- ledgers ---- */

struct walk {
    struct ledger_checker *checker;
    struct merkle_frontier frontier;
    uint64_t limit;
};

static int entry_walk(void *context, uint64_t position, uint8_t type, struct slice payload,
                      struct error *e)
{
    struct walk *w = context;
    if (position < w->limit) {
        struct merkle_hash leaf = ledger_entry_leaf((enum ledger_entry_type)type, payload);
        int rc = merkle_frontier_append(&w->frontier, &leaf, e);
        if (rc)
            return rc;
    }
    return w->checker ? ledger_checker_entry(w->checker, type, payload, e) : 0;
}

/* The frontier of the first `limit` entries of a replica's ledger; `check`: all of it keeps to the
 * rules, too. */
static bool ledger_walk(const struct cluster *c, uint32_t replica, bool check, uint64_t limit,
                        struct merkle_frontier *out, struct error *e)
{
    char path[640];
    struct source source;
    struct walk w = {.limit = limit};
    snprintf(path, sizeof path, "%s/replica-%u", c->directory, replica);
    int rc = source_open(path, &source, e);
    if (rc == 0 && check)
        rc = ledger_checker_create(slice_of_buffer(&source.genesis_bytes), &w.checker, e);
    if (rc == 0)
        rc = source_visit(&source, 0, UINT64_MAX, NULL, entry_walk, &w, e);
    if (rc == 0 && check)
        rc = ledger_checker_finish(w.checker, e);
    ledger_checker_destroy(w.checker);
    source_close(&source);
    *out = w.frontier;
    return rc == 0;
}

/* ---- files ---- */

static bool checkpoint_lies(const struct cluster *c, uint32_t replica, uint64_t s)
{
    char path[640];
    snprintf(path, sizeof path, "%s/replica-%u/checkpoints/ckpt_%" PRIu64, c->directory, replica,
             s);
    return access(path, F_OK) == 0;
}

/* A replica that took over a checkpoint keeps what came before in a part of its log. */
static bool took_over(const struct cluster *c, uint32_t replica)
{
    char pattern[640];
    glob_t found;
    snprintf(pattern, sizeof pattern, "%s/replica-%u/log/part-*", c->directory, replica);
    int rc = glob(pattern, 0, NULL, &found);
    globfree(&found);
    return rc == 0;
}

/* ---- the story ---- */

static bool disk_lost(struct cluster *c, struct load *load, unsigned kills, struct error *e)
{
    const uint32_t victim = 3;
    struct load_counts before, after;
    if (!committed_wait(c, 0, 2 * INTERVAL, e))
        return false;
    cluster_replica_kill(c, victim);
    uint64_t lost_at = rest_committed(c, 0);
    if (!others_forget(c, victim, e) || !committed_wait(c, 0, lost_at + 6 * INTERVAL, e) ||
        !disk_lose(c, victim))
        return false;
    load_counts(load, &before);
    for (unsigned i = 0; i < kills; i++) {
        if (cluster_replica_start(c, victim, e) != 0)
            return false;
        nap_ms(20 + i * 97 % 400);
        cluster_replica_kill(c, victim);
    }
    int64_t begun = clock_monotonic_ns();
    uint64_t goal = rest_committed(c, 0);
    if (cluster_replica_start(c, victim, e) != 0 || !committed_wait(c, victim, goal, e))
        return false;
    load_counts(load, &after);
    printf("# %" PRIu64 " batches were missing; caught up in %" PRId64 " ms under load, %" PRIu64
           " calls answered since the disk was lost\n",
           goal, (clock_monotonic_ns() - begun) / 1000000, after.done - before.done);
    if (after.done == before.done)
        return error_set(e, ATOLL_ETIMEDOUT, "the others stood still meanwhile"), false;
    return true;
}

static bool checkpoint_wait(const struct cluster *c, uint32_t victim, uint64_t s, struct error *e)
{
    for (int i = 0; i < FILE_WAITS; i++) {
        bool lies = true;
        for (uint32_t k = 0; k < REPLICAS; k++)
            lies = lies && (k == victim || checkpoint_lies(c, k, s));
        if (lies)
            return true;
        nap_ms(50);
    }
    error_set(e, ATOLL_ETIMEDOUT, "the file of checkpoint %" PRIu64 " does not come", s);
    return false;
}

/* A little load until `batch`, then rest. */
static bool burst(const struct cluster *c, const struct load_settings *wanted, uint64_t batch,
                  struct error *e)
{
    struct load *load;
    if (load_start(wanted, &load, e) != 0)
        return false;
    bool reached = committed_wait(c, 0, batch, e);
    load_stop(load, 20000, NULL);
    return reached && rest_wait(c, e);
}

/* Until the last checkpoint and the one before it lie in the files of all but the victim, and the
 * end of the ledger is at neither edge of an interval. A file has all the time that it wants before
 * the next checkpoint is made. */
static bool files_prepare(const struct cluster *c, const struct load_settings *wanted,
                          uint32_t victim, struct error *e)
{
    uint64_t before = 0;
    if (!rest_wait(c, e))
        return false;
    for (int i = 0; i < BURSTS; i++) {
        uint64_t last = rest_committed(c, 0), newest = last / INTERVAL * INTERVAL;
        bool inside = last - newest >= EDGE && newest + INTERVAL - last >= EDGE;
        if (inside && !checkpoint_wait(c, victim, newest, e))
            return false;
        if (inside && before != 0 && newest == before + INTERVAL)
            return true;
        before = inside ? newest : 0;
        uint64_t next = last - newest < EDGE ? newest : newest + INTERVAL;
        if (!burst(c, wanted, next + EDGE, e))
            return false;
    }
    error_set(e, ATOLL_ETIMEDOUT, "two checkpoints in a row never lay in all replicas' files");
    return false;
}

/* All stop in order and start again; the victim's disk is lost meanwhile (REPLICAS: nobody's). */
static bool all_restart(struct cluster *c, const char *program, uint32_t victim, struct error *e)
{
    char directory[sizeof c->directory];
    memcpy(directory, c->directory, sizeof directory);
    cluster_stop(c, false);
    bool forgotten = true;
    for (uint32_t i = 0; i < REPLICAS && victim != REPLICAS; i++)
        forgotten = part_lose(c, i, "lives") && forgotten;
    return forgotten && (victim == REPLICAS || disk_lose(c, victim)) &&
           cluster_continue(c, program, directory, LEDGER_LOG_STRICT, e) == 0;
}

/* All stop; the victim, who leads no view that counts, loses his disk, and all start again. */
static bool all_stopped(struct cluster *c, const char *program, struct load_settings *wanted,
                        uint32_t *victim, struct error *e)
{
    struct cluster_status status;
    /* After a busy time files are written at long distances; after a start the first one is at
     * once. */
    if (!all_restart(c, program, REPLICAS, e) || !rest_wait(c, e) ||
        cluster_status(c, 0, &status, e) != 0)
        return false;
    wanted->genesis = slice_of_buffer(&c->genesis);
    *victim = status.view % REPLICAS == 3 ? 2 : 3;
    if (!files_prepare(c, wanted, *victim, e))
        return false;
    uint64_t last = rest_committed(c, 0);
    if (!all_restart(c, program, *victim, e) || !committed_wait(c, *victim, last - PIPELINE, e))
        return false;
    if (rest_committed(c, 0) / INTERVAL != last / INTERVAL)
        return error_set(e, ATOLL_EINVAL, "a new checkpoint was made meanwhile"), false;
    if (!took_over(c, *victim))
        return error_set(e, ATOLL_ENOENT, "it executed the whole ledger instead"), false;
    return true;
}

int main(int argc, char **argv)
{
    struct ledger_local_settings settings;
    struct cluster c;
    struct load *load;
    struct error e = {0};
    struct merkle_frontier frontier[REPLICAS];
    unsigned kills = argc > 3 ? (unsigned)atoi(argv[3]) : 5;
    if (argc < 3)
        return 2;
    ledger_local_defaults(&settings);
    settings.terms.accounts = ACCOUNTS;
    settings.terms.checkpoint_interval = INTERVAL;
    settings.terms.pipeline = PIPELINE;
    settings.terms.view_timeout_us = 2000000;
    bool good = cluster_start(&c, argv[1], argv[2], &settings, LEDGER_LOG_STRICT, &e) == 0;
    report(good, "four replicas start", &e);
    if (!good)
        return 1;
    const struct load_settings wanted = {.genesis = slice_of_buffer(&c.genesis),
                                         .clients = 4,
                                         .bundle = 1,
                                         .in_flight = 20,
                                         .accounts = ACCOUNTS,
                                         .seed = 1};
    good = load_start(&wanted, &load, &e) == 0 && disk_lost(&c, load, kills, &e);
    report(good, "a replica without a disk catches up under load", &e);
    uint64_t left = load_stop(load, 20000, NULL);
    error_set(&e, ATOLL_ETIMEDOUT, "%" PRIu64 " are not", left);
    report(left == 0, "every call is answered in the end", &e);
    good = rest_whole_wait(&c, 3, &e);
    report(good, "its older ledger came in the background", &e);
    struct load_settings little = wanted;
    uint32_t victim = 3;
    little.rate = 60; /* so that bursts end where they should */
    good = good && all_stopped(&c, argv[1], &little, &victim, &e);
    report(good, "after a stop of all, checkpoints come from their files", &e);
    good = good && rest_all(&c, &e); /* who was slow under load may have jumped, too */
    report(good, "and all have the older ledger as well", &e);
    struct cluster directory = c; /* paths; the processes end here */
    cluster_stop(&c, false);
    uint64_t shortest = UINT64_MAX;
    for (uint32_t i = 0; i < REPLICAS; i++) {
        char name[96];
        snprintf(name, sizeof name, "the ledger of replica %u keeps to the rules", i);
        good = ledger_walk(&directory, i, true, UINT64_MAX, &frontier[i], &e);
        report(good, name, &e);
        shortest = frontier[i].size < shortest ? frontier[i].size : shortest;
    }
    for (uint32_t i = 0; i < REPLICAS; i++)
        if (!ledger_walk(&directory, i, false, shortest, &frontier[i], &e))
            failures++;
    good = true;
    for (uint32_t i = 1; i < REPLICAS; i++)
        good = good && merkle_frontier_equal(&frontier[0], &frontier[i]);
    error_set(&e, ATOLL_ECORRUPT, "they differ below entry %" PRIu64, shortest);
    report(good && shortest > 1000, "all four are one ledger", &e);
    return failures != 0;
}
