/*
 * HOGWILD! on shared state. The input is a line:
 *
 *   generate ROWS WORKERS [SEED]     makes the data: values svm/offs, idx, val, labels, cnt, w
 *   train EPOCHS WORKERS             trains on it, prints the share of wrong rows of each epoch
 *
 * Both start WORKERS calls of this module over disjoint ranges of rows. All map the same values, so
 * there is one copy of the data whatever their number, and the weights are written by all of them
 * through their mappings. What a worker counted comes back as an entry of svm/w.
 */
#include "dataset.h"
#include "sgd.h"

#include <atoll.h>
#include <atoll_map.h>
#include <atoll_state.h>
#include <atoll_text.h>
#include <stdlib.h>

#define WORKERS_MAX 256u

enum task_kind { TASK_MAKE, TASK_TRAIN };

/* The input of a worker. */
struct task {
    uint64_t kind, first, count, seed, epoch;
};

/* What it appends. */
struct report {
    uint64_t epoch, rows, wrong;
};

static void check(int64_t status, const char *what)
{
    if (status < 0)
        atoll_fail_string((int32_t)-status, what);
}

static void *state_attach(const char *key, uint64_t size, uint32_t flags, uint64_t off,
                          uint64_t len)
{
    void *bytes = NULL;
    uint64_t mapped;
    atoll_h handle;
    check(atoll_state_attach(key, size, flags, off, len, &handle, &bytes, &mapped), key);
    return bytes;
}

/* ---- workers ---- */

static void task_make(const struct task *task)
{
    uint64_t *offs = state_attach("svm/offs", 0, ATOLL_S_READ, 0, 0);
    uint64_t from = offs[task->first], items = offs[task->first + task->count] - from;
    uint32_t *idx = state_attach("svm/idx", 0, ATOLL_S_WRITE, from * 4, items * 4);
    float *val = state_attach("svm/val", 0, ATOLL_S_WRITE, from * 4, items * 4);
    float *labels = state_attach("svm/labels", 0, ATOLL_S_WRITE, task->first * 4, task->count * 4);
    for (uint64_t r = 0; r < task->count; r++) {
        uint64_t at = offs[task->first + r] - from;
        labels[r] = row_make(task->seed, task->first + r, idx + at, val + at);
    }
}

static void task_train(const struct task *task)
{
    struct atoll_sparse data;
    check(atoll_sparse_open(&data, "svm", task->first, task->count), "svm");
    struct rows rows = {
        .offs = data.offs,
        .idx = data.idx,
        .val = data.val,
        .labels = state_attach("svm/labels", 0, ATOLL_S_READ, task->first * 4, task->count * 4),
        .first = task->first,
        .count = task->count,
    };
    const uint32_t *cnt = state_attach("svm/cnt", 0, ATOLL_S_READ, 0, 0);
    struct atoll_vector w;
    check(atoll_vector_open(&w, "svm/w", FEATURES, ATOLL_S_WRITE), "svm/w");
    struct report report = {
        .epoch = task->epoch,
        .rows = task->count,
        .wrong = sgd_pass(&rows, cnt, w.items),
    };
    check(atoll_state_append(w.handle, &report, sizeof report), "append");
}

static int32_t worker(void)
{
    struct task task;
    if (atoll_input_read(0, &task, sizeof task) != (int64_t)sizeof task)
        atoll_fail_string(1, "a worker's input is a task");
    if (task.kind == TASK_MAKE)
        task_make(&task);
    else
        task_train(&task);
    return 0;
}

/* Starts `workers` calls over rows [0, rows) and waits for all. */
static void workers_run(struct task task, uint64_t rows, uint32_t workers)
{
    atoll_call_t ids[WORKERS_MAX];
    struct atoll_result results[WORKERS_MAX];
    uint32_t started = 0;
    for (uint32_t i = 0; i < workers; i++) {
        task.first = rows * i / workers;
        task.count = rows * (i + 1) / workers - task.first;
        if (task.count > 0)
            check(atoll_chain_fn(ATOLL_TABLE_INDEX(worker), &task, sizeof task, NULL,
                                 &ids[started++]),
                  "a worker cannot be started");
    }
    int32_t bad = atoll_await_all(ids, started, results);
    check(bad, "await");
    if (bad > 0)
        atoll_fail_string(1, "a worker failed");
    for (uint32_t i = 0; i < started; i++)
        (void)atoll_forget(ids[i]);
}

/* ---- generate ---- */

static uint64_t offs_make(uint64_t rows, uint64_t seed)
{
    uint64_t *offs = state_attach("svm/offs", (rows + 1) * 8,
                                  ATOLL_S_WRITE | ATOLL_S_CREATE | ATOLL_S_TRUNC, 0, 0);
    for (uint64_t r = 0; r < rows; r++)
        offs[r + 1] = offs[r] + row_items(seed, r);
    return offs[rows];
}

static void counts_make(uint64_t items)
{
    uint32_t *cnt =
        state_attach("svm/cnt", FEATURES * 4, ATOLL_S_WRITE | ATOLL_S_CREATE | ATOLL_S_TRUNC, 0, 0);
    const uint32_t *idx = state_attach("svm/idx", 0, ATOLL_S_READ, 0, 0);
    for (uint64_t i = 0; i < items; i++)
        cnt[idx[i]]++;
}

static void items_output(uint64_t rows, uint64_t items)
{
    char room[128];
    struct atoll_text text = ATOLL_TEXT(room);
    atoll_text_u64(&text, rows);
    atoll_text_string(&text, " rows, ");
    atoll_text_u64(&text, items);
    atoll_text_string(&text, " items\n");
    check(atoll_text_output(&text), "output");
}

static void generate(uint64_t rows, uint32_t workers, uint64_t seed)
{
    uint32_t flags = ATOLL_S_WRITE | ATOLL_S_CREATE | ATOLL_S_TRUNC;
    uint64_t items = offs_make(rows, seed);
    (void)state_attach("svm/idx", items * 4, flags, 0, 0);
    (void)state_attach("svm/val", items * 4, flags, 0, 0);
    (void)state_attach("svm/labels", rows * 4, flags, 0, 0);
    workers_run((struct task){.kind = TASK_MAKE, .seed = seed}, rows, workers);
    counts_make(items);
    (void)state_attach("svm/w", FEATURES * 8, flags, 0, 0);
    items_output(rows, items);
}

/* ---- train ---- */

static void epoch_output(const struct atoll_vector *w, uint64_t epoch, uint32_t workers)
{
    struct report reports[WORKERS_MAX];
    uint64_t lens[WORKERS_MAX], rows = 0, wrong = 0;
    char room[128];
    struct atoll_text text = ATOLL_TEXT(room);
    int64_t count = atoll_state_entries(w->handle, 0, workers, reports, sizeof reports, lens);
    check(count, "entries");
    for (int64_t i = 0; i < count; i++) {
        rows += reports[i].rows;
        wrong += reports[i].wrong;
    }
    check(atoll_state_clear(w->handle), "clear");
    atoll_text_string(&text, "epoch ");
    atoll_text_u64(&text, epoch);
    atoll_text_string(&text, ": wrong ");
    atoll_text_fixed(&text, rows ? 100.0 * (double)wrong / (double)rows : 0, 2);
    atoll_text_string(&text, " %\n");
    check(atoll_text_output(&text), "output");
}

static void train(uint64_t epochs, uint32_t workers)
{
    struct atoll_vector w;
    atoll_h offs = atoll_state_open("svm/offs", 8, 0, ATOLL_S_READ);
    check(offs, "there is no data: call it with generate first");
    uint64_t rows = (uint64_t)atoll_state_size(offs) / 8 - 1;
    check(atoll_vector_open(&w, "svm/w", FEATURES, ATOLL_S_WRITE), "svm/w");
    for (uint64_t i = 0; i < w.count; i++)
        w.items[i] = 0;
    check(atoll_state_clear(w.handle), "clear");
    for (uint64_t epoch = 1; epoch <= epochs; epoch++) {
        workers_run((struct task){.kind = TASK_TRAIN, .epoch = epoch}, rows, workers);
        epoch_output(&w, epoch, workers);
    }
    check(atoll_state_dirty(w.handle, 0, 0), "dirty");
    check(atoll_vector_push(&w, ATOLL_PUSH_DIRTY), "push");
}

/* ---- the command ---- */

static uint64_t number_next(char **text, uint64_t otherwise)
{
    char *end;
    uint64_t number = strtoull(*text, &end, 10);
    if (end == *text)
        return otherwise;
    *text = end;
    return number;
}

ATOLL_FUNCTION(hogwild)
{
    char line[128], *rest = line;
    int64_t len = atoll_input_read(0, line, sizeof line - 1);
    check(len, "input");
    line[len] = 0;
    bool makes = strncmp(line, "generate ", 9) == 0;
    if (!makes && strncmp(line, "train ", 6) != 0)
        atoll_fail_string(2, "generate ROWS WORKERS [SEED], or train EPOCHS WORKERS");
    rest += makes ? 9 : 6;
    uint64_t amount = number_next(&rest, 0), workers = number_next(&rest, 1);
    if (amount < 1 || workers < 1 || workers > WORKERS_MAX)
        atoll_fail_string(2, "at least one row or epoch, 1 to 256 workers");
    if (makes)
        generate(amount, (uint32_t)workers, number_next(&rest, 1));
    else
        train(amount, (uint32_t)workers);
    return 0;
}
