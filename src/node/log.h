/*
 * The node's log: one JSON object per line on standard error, and a ring of the latest lines for
 * those who follow (atoll logs -f).
 *
 *   {"ts":"2026-01-02T03:04:05.123456789Z","level":"info","component":"calls","msg":"…",
 *    "call":"…","app":"…","tenant":"…","function":"…","trace_id":"…","guest":true}
 *
 * Loop thread only. Lines of guests are escaped, cut at LOG_GUEST_MAX bytes and marked.
 */
#ifndef NODE_LOG_H
#define NODE_LOG_H

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_TRACE, LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

#define LOG_GUEST_MAX  4096u
#define LOG_LINE_MAX   (8u << 10)
#define LOG_RING_LINES 4096u
#define LOG_FOLLOWERS  64u

/* What a line is about; zero members are left out. */
struct log_about {
    uint64_t call, app;
    const char *tenant, *function;
    const uint8_t *trace_id; /* 16 bytes */
};

/* Lines below the level are dropped. quiet: nothing goes to standard error (tests, `atoll up` with
 * a terminal view). */
void log_configure(enum log_level, bool quiet);
void log_write(enum log_level, const char *component, const struct log_about *, const char *format,
               ...) __attribute__((format(printf, 4, 5)));
void log_guest(enum log_level, const struct log_about *, const void *text, size_t len);

/* ---- following ---- */
struct log_follower;
/* tenant, function: only theirs (NULL: all). line: without the line end. back: how many of the
 * latest matching lines come at once. NULL when there are LOG_FOLLOWERS already. */
struct log_follower *log_follow(const char *tenant, const char *function, uint32_t back,
                                void (*line)(void *context, const char *text, size_t len),
                                void *context);
void log_unfollow(struct log_follower *);

#endif
