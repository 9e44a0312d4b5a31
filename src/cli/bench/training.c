/*
 * `atoll bench training`: HOGWILD! training on shared state (examples/hogwild; the specification's
 * E1), beside the same loops in a plain C program with threads.
 *
 * Both make the data of the experiment, 781,265 rows with 59 million items (472 MB), and train
 * three epochs from zero. Of the plain program the loops alone count; of the functions the whole
 * call, with its HTTP request, the chaining of a worker for each part and epoch, the entries that
 * they append and the push of the weights. Rounds alternate.
 */
#define _GNU_SOURCE
#include "cli/bench/bench.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS     781265
#define EPOCHS   3
#define ROUNDS   5
#define FEATURES 47236.0

struct side {
    struct samples seconds;
    double wrong; /* percent, after the last epoch of the last round */
};

/* The last number behind a word. */
static double number_after(const char *text, const char *word)
{
    const char *at = NULL;
    for (const char *next = text; (next = strstr(next, word)) != NULL; next++)
        at = next;
    return at ? strtod(at + strlen(word), NULL) : NAN;
}

static void function_train(struct bench_node *n, unsigned workers, struct side *side)
{
    char input[64];
    struct bench_reply reply;
    snprintf(input, sizeof input, "train %d %u", EPOCHS, workers);
    bench_call_good(n, "hogwild", input, NULL, &reply);
    if (!buffer_append(&reply.output, "", 1))
        bench_fail(1, "out of memory");
    samples_add(&side->seconds, reply.wall_us / 1e6);
    side->wrong = number_after((const char *)reply.output.data, "wrong ");
    buffer_free(&reply.output);
}

/* Sums its "epoch N: T s" lines. */
static void native_train(const struct bench_node *n, const char *program, unsigned threads,
                         struct side *side)
{
    char output[256], rows[16], epochs[16], count[16], line[128];
    double seconds = 0, one;
    snprintf(output, sizeof output, "%s/native.out", n->directory);
    snprintf(rows, sizeof rows, "%d", ROWS);
    snprintf(epochs, sizeof epochs, "%d", EPOCHS);
    snprintf(count, sizeof count, "%u", threads);
    bench_command((const char *const[]){"sh", "-c", "exec \"$0\" \"$@\" 2>&1", program, rows,
                                        epochs, count, NULL},
                  output);
    FILE *f = fopen(output, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (sscanf(line, "epoch %*u: %lf s", &one) == 1)
            seconds += one;
        if (strstr(line, "wrong "))
            side->wrong = number_after(line, "wrong ");
    }
    if (f)
        fclose(f);
    if (seconds <= 0)
        bench_fail(1, "%s measured nothing", program);
    samples_add(&side->seconds, seconds);
}

static void workers_add(struct bench *b, struct bench_node *n, const char *program,
                        unsigned workers)
{
    struct side function = {0}, native = {0};
    char text[96];
    for (int round = 0; round < ROUNDS; round++) {
        function_train(n, workers, &function);
        native_train(n, program, workers, &native);
    }
    double native_s = samples_median(&native.seconds);
    double ratio = samples_median(&function.seconds) / native_s;
    struct figure figure = {
        .topic = "training", .name = text, .unit = "ms", .bar = NAN, .ratio = NAN};
    snprintf(text, sizeof text, "%d epochs, %u worker%s: the whole call", EPOCHS, workers,
             workers == 1 ? "" : "s");
    figures_samples(b->figures, figure, &function.seconds, 1e3);
    snprintf(text, sizeof text, "%d epochs, %u thread%s of a plain program", EPOCHS, workers,
             workers == 1 ? "" : "s");
    figures_samples(b->figures, figure, &native.seconds, 1e3);
    figures_add(b->figures, &(struct figure){.topic = "training",
                                             .name = "the call, of the plain program's time",
                                             .unit = "x",
                                             .value = ratio,
                                             .low = NAN,
                                             .high = NAN,
                                             .bar = 1.3,
                                             .ratio = NAN});
    figures_add(b->figures,
                &(struct figure){.topic = "training",
                                 .name = "rows that are wrong, beyond the plain program's",
                                 .unit = "points",
                                 .value = fabs(function.wrong - native.wrong),
                                 .low = NAN,
                                 .high = NAN,
                                 .bar = 0.5,
                                 .ratio = NAN});
}

/* ---- memory ---- */

struct trainer {
    struct bench_node own;
    struct side side;
};

static void *trainer_run(void *argument)
{
    struct trainer *t = argument;
    function_train(&t->own, 16, &t->side);
    return NULL;
}

/* What the worker has mapped while 16 calls train, against one copy of the inputs. */
static void memory_add(struct bench *b, struct bench_node *n, const struct bench_memory *before,
                       double items)
{
    struct trainer trainer = {0};
    struct bench_memory now;
    pthread_t thread;
    double most = 0,
           inputs_kib = (8 * (ROWS + 1.0) + 4.0 * ROWS + 8 * items + (4 + 8) * FEATURES) / 1024;
    bench_node_join(&trainer.own, n);
    if (pthread_create(&thread, NULL, trainer_run, &trainer) != 0)
        bench_fail(1, "cannot start a thread");
    for (int i = 0; i < 40; i++) {
        usleep(20000);
        bench_memory(n, &now);
        most = fmax(most, now.pss_kib - before->pss_kib);
    }
    pthread_join(thread, NULL);
    bench_node_leave(&trainer.own);
    samples_free(&trainer.side.seconds);
    figures_note(b->figures, "training", "the inputs", "MiB", inputs_kib / 1024);
    figures_add(b->figures,
                &(struct figure){.topic = "training",
                                 .name = "memory of 16 workers on the inputs (PSS), copies",
                                 .unit = "x",
                                 .value = most / inputs_kib,
                                 .low = NAN,
                                 .high = NAN,
                                 .bar = 1.1,
                                 .ratio = NAN});
}

void bench_training(struct bench *b)
{
    static const unsigned all[] = {2, 1, 4, 8, 16};
    struct bench_node node;
    struct bench_memory before;
    struct bench_reply reply;
    char module[256], program[256], input[64];
    bench_node_start(&node, NULL);
    bench_example_module(&node, "hogwild/hogwild.c", module);
    bench_example_native(&node, "hogwild/native/native.c", NULL, program);
    bench_deploy_module(&node, module, "hogwild",
                        "timeout: 120s\nlimits: { memory: 64MiB }\n"
                        "state: [ { prefix: svm/, rights: rwld } ]\n");
    bench_call(&node, "hogwild", "", NULL, &reply); /* starts the worker; it refuses the input */
    buffer_free(&reply.output);
    bench_memory(&node, &before);
    snprintf(input, sizeof input, "generate %d 2", ROWS);
    bench_call_good(&node, "hogwild", input, NULL, &reply);
    if (!buffer_append(&reply.output, "", 1))
        bench_fail(1, "out of memory");
    double items = number_after((const char *)reply.output.data, "rows, ");
    buffer_free(&reply.output);
    for (size_t i = 0; i < (b->full ? sizeof all / sizeof all[0] : 2); i++)
        workers_add(b, &node, program, all[i]);
    memory_add(b, &node, &before, items);
    bench_node_stop(&node);
}
