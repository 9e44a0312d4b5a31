/* See transcript.h. */
#include "transcript.h"

#include <stdlib.h>

static uint32_t name_find(const char *const *names, uint32_t count, const char *name)
{
    uint32_t i = 0;
    while (i < count && strcmp(names[i], name) != 0)
        i++;
    return i;
}

/* The record that a line "module N NAME" opens, or NULL. */
static struct record *record_open(struct transcript *t, char *line, const char *const *names,
                                  uint32_t name_count)
{
    char *end;
    unsigned long module = strtoul(line + 7, &end, 10);
    uint32_t name = names == NULL ? 0 : name_find(names, name_count, end + (*end == ' '));
    if (module >= TRANSCRIPT_BATCH || name >= TRANSCRIPT_NAMES || (names && name == name_count))
        return NULL;
    t->records[module][name] = (struct record){.begun = true};
    return &t->records[module][name];
}

void transcript_parse(struct transcript *t, const char *const *names, uint32_t name_count)
{
    struct record *record = NULL;
    char *rest = NULL;
    memset(t->records, 0, sizeof t->records);
    if (!buffer_append(&t->text, "", 1))
        return;
    for (char *line = strtok_r((char *)t->text.data, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (strncmp(line, "module ", 7) == 0)
            record = record_open(t, line, names, name_count);
        else if (record != NULL && strcmp(line, "end") == 0)
            record->complete = true;
        else if (record != NULL && record->count < TRANSCRIPT_LINES)
            record->lines[record->count++] = line;
    }
}

void transcript_free(struct transcript *t)
{
    buffer_free(&t->text);
    memset(t->records, 0, sizeof t->records);
}

const char *transcript_trap(const char *line)
{
    const char *mark = strstr(line, " ! ");
    return mark != NULL ? mark + 3 : NULL;
}
