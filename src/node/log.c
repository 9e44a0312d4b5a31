/* See log.h. A line is put together in a buffer of its own, written with one system call, and
 * copied into the ring. */
#define _GNU_SOURCE
#include "node/log.h"

#include "base/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct line {
    char *text; /* malloc'ed; NULL: empty place */
    size_t len;
    char tenant[64], function[64];
};

struct log_follower {
    bool used;
    char tenant[64], function[64]; /* "": all */
    void (*line)(void *, const char *, size_t);
    void *context;
};

static struct {
    enum log_level level;
    bool quiet;
    struct line ring[LOG_RING_LINES];
    uint64_t written;
    struct log_follower followers[LOG_FOLLOWERS];
} state = {.level = LOG_INFO};

void log_configure(enum log_level level, bool quiet)
{
    state.level = level;
    state.quiet = quiet;
}

/* ---- putting a line together ---- */

struct writer {
    char text[LOG_LINE_MAX];
    size_t len;
};

#define LINE_END_ROOM 32u /* what closes a line always fits */

static void put(struct writer *w, const char *text, size_t len)
{
    size_t room = sizeof w->text - LINE_END_ROOM - w->len;
    len = len < room ? len : room;
    memcpy(w->text + w->len, text, len);
    w->len += len;
}

static void put_text(struct writer *w, const char *text)
{
    put(w, text, strlen(text));
}

/* Length of the UTF-8 sequence that begins at p, 0 when it is none (RFC 3629). */
static size_t utf8_length(const uint8_t *p, size_t left)
{
    size_t len = p[0] < 0x80                   ? 1
                 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2
                 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3
                 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4
                                               : 0;
    if (len == 0 || len > left)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

/* A JSON string; bytes that are no UTF-8 become U+FFFD. Never cut within a character. */
static void put_string(struct writer *w, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    put(w, "\"", 1);
    for (size_t i = 0; i < len && w->len + 8 < sizeof w->text - LINE_END_ROOM;) {
        char escape[8];
        size_t one = utf8_length(p + i, len - i);
        if (one == 0)
            put_text(w, "\\ufffd");
        else if (p[i] == '"' || p[i] == '\\')
            put(w, (char[]){'\\', (char)p[i]}, 2);
        else if (p[i] < 0x20 || p[i] == 0x7f)
            put(w, escape, (size_t)snprintf(escape, sizeof escape, "\\u%04x", p[i]));
        else
            put(w, (const char *)p + i, one);
        i += one ? one : 1;
    }
    w->text[w->len++] = '"'; /* LINE_END_ROOM */
}

static void put_field(struct writer *w, const char *name, const char *value)
{
    put_text(w, ",\"");
    put_text(w, name);
    put_text(w, "\":");
    put_string(w, value, strlen(value));
}

static void put_id(struct writer *w, const char *name, uint64_t id)
{
    char text[17];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)id);
    put_field(w, name, text);
}

static void put_time(struct writer *w)
{
    char text[64];
    int64_t now = clock_ns(CLOCK_REALTIME);
    time_t seconds = (time_t)(now / 1000000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    size_t len = strftime(text, sizeof text, "{\"ts\":\"%Y-%m-%dT%H:%M:%S", &tm);
    put(w, text, len);
    put(w, text, (size_t)snprintf(text, sizeof text, ".%09lldZ\"", (long long)(now % 1000000000)));
}

static void put_about(struct writer *w, const struct log_about *about)
{
    if (about->call)
        put_id(w, "call", about->call);
    if (about->app)
        put_id(w, "app", about->app);
    if (about->tenant)
        put_field(w, "tenant", about->tenant);
    if (about->function)
        put_field(w, "function", about->function);
    if (about->trace_id) {
        char hex[33];
        for (int i = 0; i < 16; i++)
            snprintf(hex + 2 * i, 3, "%02x", about->trace_id[i]);
        put_field(w, "trace_id", hex);
    }
}

/* ---- where lines go ---- */

static bool matches(const struct log_follower *f, const struct line *l)
{
    return (f->tenant[0] == 0 || strcmp(f->tenant, l->tenant) == 0) &&
           (f->function[0] == 0 || strcmp(f->function, l->function) == 0);
}

static void line_emit(struct writer *w, const struct log_about *about)
{
    if (!state.quiet) {
        w->text[w->len] = '\n';
        ssize_t written = write(STDERR_FILENO, w->text, w->len + 1);
        (void)written; /* nowhere to say so */
    }
    struct line *l = &state.ring[state.written++ % LOG_RING_LINES];
    free(l->text);
    l->text = malloc(w->len);
    l->len = l->text ? w->len : 0;
    if (l->text)
        memcpy(l->text, w->text, w->len);
    snprintf(l->tenant, sizeof l->tenant, "%s", about && about->tenant ? about->tenant : "");
    snprintf(l->function, sizeof l->function, "%s",
             about && about->function ? about->function : "");
    for (uint32_t i = 0; i < LOG_FOLLOWERS; i++) {
        struct log_follower *f = &state.followers[i];
        if (f->used && matches(f, l))
            f->line(f->context, w->text, w->len);
    }
}

static void line_write(enum log_level level, const char *component, const struct log_about *about,
                       const void *text, size_t len, bool guest)
{
    static const char *const names[] = {"trace", "debug", "info", "warning", "error"};
    static struct writer w;
    w.len = 0;
    put_time(&w);
    put_field(&w, "level", names[level]);
    if (component)
        put_field(&w, "component", component);
    if (about)
        put_about(&w, about);
    put_text(&w, guest ? ",\"guest\":true,\"msg\":" : ",\"msg\":");
    put_string(&w, text, len);
    w.text[w.len++] = '}'; /* LINE_END_ROOM */
    line_emit(&w, about);
}

void log_write(enum log_level level, const char *component, const struct log_about *about,
               const char *format, ...)
{
    char text[1024];
    va_list list;
    if (level < state.level)
        return;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    line_write(level, component, about, text, strlen(text), false);
}

void log_guest(enum log_level level, const struct log_about *about, const void *text, size_t len)
{
    if (level >= state.level)
        line_write(level, NULL, about, text, len < LOG_GUEST_MAX ? len : LOG_GUEST_MAX, true);
}

/* ---- following ---- */

struct log_follower *log_follow(const char *tenant, const char *function, uint32_t back,
                                void (*line)(void *, const char *, size_t), void *context)
{
    struct log_follower *f = state.followers;
    while (f < state.followers + LOG_FOLLOWERS && f->used)
        f++;
    if (f == state.followers + LOG_FOLLOWERS)
        return NULL;
    *f = (struct log_follower){.used = true, .line = line, .context = context};
    snprintf(f->tenant, sizeof f->tenant, "%s", tenant ? tenant : "");
    snprintf(f->function, sizeof f->function, "%s", function ? function : "");
    uint64_t first = state.written > LOG_RING_LINES ? state.written - LOG_RING_LINES : 0;
    uint64_t from = state.written;
    for (uint32_t found = 0; from > first && found < back; from--)
        found += matches(f, &state.ring[(from - 1) % LOG_RING_LINES]);
    for (uint64_t i = from; i < state.written; i++) {
        const struct line *l = &state.ring[i % LOG_RING_LINES];
        if (l->text && matches(f, l))
            line(context, l->text, l->len);
    }
    return f;
}

void log_unfollow(struct log_follower *f)
{
    if (f)
        f->used = false;
}
