/* The table that `atoll bench` prints. */
#include "cli/bench/bench.h"

#include "cli/table.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FIGURES_MAX 96
#define NAME_BYTES  96

struct entry {
    struct figure figure;
    char name[NAME_BYTES];
};

struct figures {
    struct entry entries[FIGURES_MAX];
    char skipped[FIGURES_MAX][2 * NAME_BYTES];
    uint32_t count, skips;
};

struct figures *figures_create(void)
{
    struct figures *f = calloc(1, sizeof *f);
    if (f == NULL)
        bench_fail(1, "out of memory");
    return f;
}

void figures_free(struct figures *f)
{
    free(f);
}

void figures_add(struct figures *f, const struct figure *figure)
{
    if (f->count == FIGURES_MAX)
        bench_fail(1, "more than %d figures", FIGURES_MAX);
    struct entry *e = &f->entries[f->count++];
    e->figure = *figure;
    snprintf(e->name, sizeof e->name, "%s", figure->name);
}

void figures_note(struct figures *f, const char *topic, const char *name, const char *unit,
                  double value)
{
    figures_add(f, &(struct figure){.topic = topic,
                                    .name = name,
                                    .unit = unit,
                                    .value = value,
                                    .low = NAN,
                                    .high = NAN,
                                    .bar = NAN,
                                    .ratio = NAN});
}

void figures_samples(struct figures *f, struct figure figure, struct samples *samples, double scale)
{
    figure.value = samples_median(samples) * scale;
    figure.low = samples_quantile(samples, 0) * scale;
    figure.high = samples_quantile(samples, 1) * scale;
    figures_add(f, &figure);
    samples_free(samples);
}

void figures_skip(struct figures *f, const char *name, const char *reason)
{
    if (f->skips < FIGURES_MAX)
        snprintf(f->skipped[f->skips++], sizeof f->skipped[0], "%s: %s", name, reason);
}

static bool bar_met(const struct figure *f)
{
    return f->at_least ? f->value >= f->bar : f->value <= f->bar;
}

/* Three digits that matter. */
static const char *number_text(double value, char out[static 32])
{
    if (isnan(value))
        strcpy(out, "");
    else
        snprintf(out, 32, "%.*f", value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3, value);
    return out;
}

static void row_print(struct table *t, const struct entry *e)
{
    const struct figure *f = &e->figure;
    char value[32], low[32], high[32], bar[32], ratio[32];
    table_cell(t, "%s", f->topic);
    table_cell(t, "%s", e->name);
    table_cell(t, "%s %s", number_text(f->value, value), f->unit);
    if (isnan(f->low))
        table_cell(t, "%s", "");
    else
        table_cell(t, "%s – %s", number_text(f->low, low), number_text(f->high, high));
    if (isnan(f->bar))
        table_cell(t, "%s", "");
    else
        table_cell(t, "%s %s, %s", f->at_least ? ">=" : "<=", number_text(f->bar, bar),
                   bar_met(f) ? "met" : "MISSED");
    if (f->peer)
        table_cell(t, "%sx %s", number_text(f->ratio, ratio), f->peer);
    else
        table_cell(t, "%s", "");
}

void figures_print(const struct figures *f)
{
    static const char *const heads[] = {"TOPIC", "FIGURE", ">VALUE", ">SPREAD",
                                        "BAR",   "PEER",   NULL};
    struct table *t = table_create(heads);
    uint32_t missed = 0;
    for (uint32_t i = 0; i < f->count; i++) {
        row_print(t, &f->entries[i]);
        missed += !isnan(f->entries[i].figure.bar) && !bar_met(&f->entries[i].figure);
    }
    table_print(t, stdout);
    for (uint32_t i = 0; i < f->skips; i++)
        printf("# skipped: %s\n", f->skipped[i]);
    if (missed)
        printf("# %u bar%s missed\n", missed, missed == 1 ? "" : "s");
}

static void number_add(cJSON *o, const char *name, double value)
{
    if (!isnan(value))
        cJSON_AddNumberToObject(o, name, value);
}

void figures_print_json(const struct figures *f)
{
    cJSON *o = cJSON_CreateObject();
    environment_add(o);
    cJSON *list = cJSON_AddArrayToObject(o, "figures");
    for (uint32_t i = 0; i < f->count; i++) {
        const struct figure *g = &f->entries[i].figure;
        cJSON *row = cJSON_CreateObject();
        cJSON_AddStringToObject(row, "topic", g->topic);
        cJSON_AddStringToObject(row, "name", f->entries[i].name);
        cJSON_AddStringToObject(row, "unit", g->unit);
        number_add(row, "value", g->value);
        number_add(row, "low", g->low);
        number_add(row, "high", g->high);
        number_add(row, g->at_least ? "at_least" : "at_most", g->bar);
        if (!isnan(g->bar))
            cJSON_AddBoolToObject(row, "met", bar_met(g));
        if (g->peer) {
            cJSON_AddStringToObject(row, "peer", g->peer);
            number_add(row, "ratio", g->ratio);
        }
        cJSON_AddItemToArray(list, row);
    }
    list = cJSON_AddArrayToObject(o, "skipped");
    for (uint32_t i = 0; i < f->skips; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(f->skipped[i]));
    char *text = cJSON_Print(o);
    puts(text ? text : "{}");
    cJSON_free(text);
    cJSON_Delete(o);
}
