/* See table.h. */
#define _GNU_SOURCE
#include "cli/table.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

struct table {
    const char *const *heads;
    size_t columns, cells, capacity;
    char **texts; /* row by row */
};

struct table *table_create(const char *const *heads)
{
    struct table *t = calloc(1, sizeof *t);
    if (t == NULL)
        return NULL;
    t->heads = heads;
    while (heads[t->columns] && t->columns < TABLE_COLUMNS_MAX)
        t->columns++;
    return t;
}

void table_cell(struct table *t, const char *format, ...)
{
    va_list list;
    char *text;
    if (t == NULL)
        return;
    va_start(list, format);
    int len = vasprintf(&text, format, list);
    va_end(list);
    if (len < 0)
        return;
    if (t->cells == t->capacity) {
        size_t capacity = t->capacity ? 2 * t->capacity : 64;
        char **grown = realloc(t->texts, capacity * sizeof *grown);
        if (grown == NULL) {
            free(text);
            return;
        }
        t->texts = grown;
        t->capacity = capacity;
    }
    t->texts[t->cells++] = text;
}

/* Columns a UTF-8 text takes, as far as tables here need it. */
static size_t width_of(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xc0) != 0x80;
    return width;
}

static const char *head_text(const char *head)
{
    return head[0] == '>' ? head + 1 : head;
}

static void cell_print(FILE *out, const char *text, size_t width, bool right, bool last)
{
    int pad = (int)(width - width_of(text));
    if (right)
        fprintf(out, "%*s%s%s", pad, "", text, last ? "\n" : "  ");
    else
        fprintf(out, "%s%*s%s", text, last ? 0 : pad, "", last ? "\n" : "  ");
}

void table_print(struct table *t, FILE *out)
{
    size_t widths[TABLE_COLUMNS_MAX] = {0};
    if (t == NULL)
        return;
    size_t rows = t->cells / t->columns;
    for (size_t i = 0; i < t->columns; i++)
        widths[i] = width_of(head_text(t->heads[i]));
    for (size_t i = 0; i < rows * t->columns; i++) {
        size_t width = width_of(t->texts[i]);
        if (width > widths[i % t->columns])
            widths[i % t->columns] = width;
    }
    for (size_t i = 0; rows > 0 && i < t->columns; i++)
        cell_print(out, head_text(t->heads[i]), widths[i], t->heads[i][0] == '>',
                   i + 1 == t->columns);
    for (size_t i = 0; i < rows * t->columns; i++) {
        size_t column = i % t->columns;
        cell_print(out, t->texts[i], widths[column], t->heads[column][0] == '>',
                   column + 1 == t->columns);
    }
    for (size_t i = 0; i < t->cells; i++)
        free(t->texts[i]);
    free(t->texts);
    free(t);
}

const char *text_bytes(double bytes, char out[static 24])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    int i = 0;
    for (; bytes >= 1024 && i < 4; i++)
        bytes /= 1024;
    snprintf(out, 24, i && bytes < 100 ? "%.1f %s" : "%.0f %s", bytes, units[i]);
    return out;
}

const char *text_duration(double ns, char out[static 24])
{
    if (ns < 1e3)
        snprintf(out, 24, "%.0f ns", ns);
    else if (ns < 1e6)
        snprintf(out, 24, "%.1f µs", ns / 1e3);
    else if (ns < 1e9)
        snprintf(out, 24, "%.1f ms", ns / 1e6);
    else
        snprintf(out, 24, "%.2f s", ns / 1e9);
    return out;
}
