/*
 * Encoding and strict decoding of messages; message.h is the format.
 *
 * One table describes every kind: how long its fixed struct is, which lengths in it its variable
 * parts have, the bound of each, and how many descriptors come with it. A record is legal when the
 * lengths add up to its own exactly, and every number with a meaning has one.
 */
#include "node/message.h"

#include <assert.h>

enum direction { DOWN = 1, UP = 2 };

struct part {
    uint32_t at;   /* offset in the fixed struct of the u32 (wide: u64) that is its length */
    uint32_t most; /* bytes */
    bool wide;
    uint32_t
        instead; /* offset of the u32 that says 1 when a descriptor takes its place, 0 = none */
};

struct shape {
    uint8_t direction;
    uint8_t parts;
    uint32_t fixed;
    struct part part[3];
};

#define PAYLOAD_MAX (MESSAGE_MAX - 4096u)

static const struct shape shapes[] = {
    [MESSAGE_LOAD] = {DOWN,
                      2,
                      sizeof(struct message_load),
                      {{offsetof(struct message_load, manifest_len), MESSAGE_MANIFEST_MAX, false,
                        0},
                       {offsetof(struct message_load, files_len), MESSAGE_MANIFEST_MAX, false, 0}}},
    [MESSAGE_DROP] = {DOWN, 0, 0, {{0}}},
    [MESSAGE_CALL] = {DOWN,
                      3,
                      sizeof(struct message_call),
                      {{offsetof(struct message_call, head_len), MESSAGE_HEAD_MAX, false, 0},
                       {offsetof(struct message_call, arguments_len), MESSAGE_ARGUMENTS_MAX, false,
                        0},
                       {offsetof(struct message_call, input_len), MESSAGE_INLINE, true,
                        offsetof(struct message_call, input_fd)}}},
    [MESSAGE_CANCEL] = {DOWN, 0, 0, {{0}}},
    [MESSAGE_ANSWER] = {DOWN,
                        1,
                        sizeof(struct message_answer),
                        {{offsetof(struct message_answer, payload_len), PAYLOAD_MAX, false, 0}}},
    [MESSAGE_ALIAS] = {DOWN,
                       1,
                       sizeof(struct message_alias),
                       {{offsetof(struct message_alias, name_len), MESSAGE_TEXT_MAX, false, 0}}},
    [MESSAGE_STOP] = {DOWN, 0, sizeof(struct message_stop), {{0}}},
    [MESSAGE_HELLO] = {UP, 0, sizeof(struct message_hello), {{0}}},
    [MESSAGE_LOADED] = {UP,
                        1,
                        sizeof(struct message_loaded),
                        {{offsetof(struct message_loaded, text_len), MESSAGE_TEXT_MAX, false, 0}}},
    [MESSAGE_RESULT] = {UP,
                        3,
                        sizeof(struct message_result),
                        {{offsetof(struct message_result, text_len), MESSAGE_TEXT_MAX, false, 0},
                         {offsetof(struct message_result, head_len), MESSAGE_HEAD_MAX, false, 0},
                         {offsetof(struct message_result, output_len), MESSAGE_INLINE, true,
                          offsetof(struct message_result, output_fd)}}},
    [MESSAGE_CHILD] = {UP, 0, sizeof(struct message_child), {{0}}},
    [MESSAGE_LOG] = {UP,
                     1,
                     sizeof(struct message_log),
                     {{offsetof(struct message_log, text_len), MESSAGE_TEXT_MAX, false, 0}}},
    [MESSAGE_METRIC] = {UP,
                        1,
                        sizeof(struct message_metric),
                        {{offsetof(struct message_metric, name_len), MESSAGE_TEXT_MAX, false, 0}}},
    [MESSAGE_TALLY] = {UP, 0, sizeof(struct message_tally), {{0}}},
    [MESSAGE_REQUEST] = {UP,
                         1,
                         sizeof(struct message_request),
                         {{offsetof(struct message_request, payload_len), PAYLOAD_MAX, false, 0}}},
};

static const struct shape *shape_of(uint32_t kind)
{
    bool known = kind < sizeof shapes / sizeof *shapes && shapes[kind].direction;
    return known ? &shapes[kind] : NULL;
}

static uint64_t number_load(const uint8_t *at, bool wide)
{
    return wide ? load_u64(at) : load_u32(at);
}

/* ---- decoding ---- */

static int refuse(struct error *e, uint32_t kind, const char *why)
{
    return error_set(e, ATOLL_ECORRUPT, "a message of kind %u %s", kind, why);
}

static bool text_ends(const char *text, size_t size)
{
    return memchr(text, 0, size) != NULL;
}

/* (u32 len, path)*, exactly. */
static bool files_are_good(const uint8_t *list, uint32_t len, uint32_t count)
{
    for (uint32_t k = 0; k < count; k++) {
        if (len < 4 || load_u32(list) > len - 4)
            return false;
        uint32_t step = 4 + load_u32(list);
        list += step;
        len -= step;
    }
    return len == 0;
}

static const char *load_fault(const struct message *m)
{
    const struct message_load *load = &m->load;
    if (!text_ends(load->tenant, sizeof load->tenant) ||
        !text_ends(load->function, sizeof load->function) ||
        !text_ends(load->version, sizeof load->version))
        return "has a name without an end";
    if (load->has_image > 1 || load->file_count > MESSAGE_FILES_MAX)
        return "has too many descriptors";
    if (!files_are_good(m->parts[1], m->part_len[1], load->file_count))
        return "has a list of files that does not add up";
    return NULL;
}

static const char *call_fault(const struct message *m)
{
    if (m->call.flags & ~(uint32_t)(CALL_FLAG_FRESH | CALL_FLAG_CLEAR | CALL_FLAG_GRAPH))
        return "has unknown flags";
    if (m->part_len[1] && m->parts[1][m->part_len[1] - 1] != 0)
        return "has an argument without an end";
    return NULL;
}

static const char *result_fault(const struct message *m)
{
    const struct message_result *r = &m->result;
    if (r->status < CALL_OK || r->status > CALL_EXPIRED || r->temperature >= CALL_TEMPERATURES)
        return "has a status that no call ends with";
    return NULL;
}

static const char *child_fault(const struct message *m)
{
    const struct message_child *c = &m->child;
    if (c->status < CALL_OK || c->status > CALL_EXPIRED || c->temperature >= CALL_TEMPERATURES)
        return "has a status that no call ends with";
    return NULL;
}

/* What is wrong with the values, NULL when nothing is. */
static const char *value_fault(uint32_t kind, const struct message *m)
{
    switch (kind) {
    case MESSAGE_LOAD: return load_fault(m);
    case MESSAGE_CALL: return call_fault(m);
    case MESSAGE_RESULT: return result_fault(m);
    case MESSAGE_CHILD: return child_fault(m);
    case MESSAGE_LOADED:
        return m->loaded.stage > LOAD_IMAGE || m->loaded.has_image > 1 ? "has an unknown stage"
                                                                       : NULL;
    case MESSAGE_LOG: return m->log.level > 4 ? "has an unknown level" : NULL;
    case MESSAGE_METRIC: return m->metric.kind > 2 ? "has an unknown metric" : NULL;
    case MESSAGE_REQUEST:
        return m->request.kind < REQUEST_RESOLVE || m->request.kind > REQUEST_IDS
                   ? "asks for something unknown"
                   : NULL;
    default: return NULL;
    }
}

/* How many descriptors the values say there are. */
static uint64_t descriptors_due(uint32_t kind, const struct message *m)
{
    switch (kind) {
    case MESSAGE_LOAD: return 1ull + m->load.has_image + m->load.file_count;
    case MESSAGE_CALL: return m->call.input_fd;
    case MESSAGE_ANSWER: return m->answer.fd;
    case MESSAGE_LOADED: return m->loaded.has_image;
    case MESSAGE_RESULT: return m->result.output_fd;
    case MESSAGE_REQUEST: return m->request.fd;
    default: return 0;
    }
}

static int parts_find(const struct shape *s, uint32_t kind, const uint8_t *body, uint32_t len,
                      struct message *out, struct error *e)
{
    uint32_t at = s->fixed;
    for (uint32_t k = 0; k < s->parts; k++) {
        const struct part *p = &s->part[k];
        uint64_t want = number_load(body + p->at, p->wide);
        uint32_t elsewhere = p->instead ? load_u32(body + p->instead) : 0;
        if (elsewhere > 1)
            return refuse(e, kind, "has more than one descriptor for one part");
        if (elsewhere)
            want = 0;
        if (want > p->most || want > len - at)
            return refuse(e, kind, "has a part longer than itself, or than allowed");
        out->parts[k] = want ? body + at : NULL;
        out->part_len[k] = (uint32_t)want;
        at += (uint32_t)want;
    }
    return at == len ? 0 : refuse(e, kind, "has bytes behind its end");
}

int message_decode_body(enum message_kind kind, const uint8_t *body, uint32_t len, uint32_t fds,
                        struct message *out, struct error *e)
{
    const struct shape *s = shape_of(kind);
    if (!s)
        return refuse(e, kind, "is unknown");
    if (len < s->fixed)
        return refuse(e, kind, "is too short");
    memset(out, 0, sizeof *out);
    out->header.kind = (uint16_t)kind;
    memcpy(&out->load, body, s->fixed); /* all members of the union start here */
    int rc = parts_find(s, kind, body, len, out, e);
    if (rc < 0)
        return rc;
    const char *fault = value_fault(kind, out);
    if (fault)
        return refuse(e, kind, fault);
    if (descriptors_due(kind, out) != fds)
        return refuse(e, kind, "comes with another number of descriptors than it says");
    return 0;
}

int message_decode(const void *record, uint32_t len, bool from_worker, uint8_t *copy,
                   struct message *out, struct error *e)
{
    struct message_header h;
    if (len < sizeof h || len > MESSAGE_MAX)
        return error_set(e, ATOLL_ECORRUPT, "a message of %u bytes", len);
    memcpy(copy, record, len);
    memcpy(&h, copy, sizeof h);
    const struct shape *s = shape_of(h.kind);
    if (!s || s->direction != (from_worker ? UP : DOWN))
        return refuse(e, h.kind, "does not belong here");
    int rc = message_decode_body(h.kind, copy + sizeof h, len - (uint32_t)sizeof h, h.fds, out, e);
    out->header = h;
    return rc;
}

/* ---- encoding ---- */

uint32_t message_measure(struct message *m)
{
    const struct shape *s = shape_of(m->header.kind);
    assert(s);
    uint64_t size = sizeof m->header + s->fixed;
    uint8_t *fixed = (uint8_t *)&m->load;
    for (uint32_t k = 0; k < s->parts; k++) {
        const struct part *p = &s->part[k];
        size += m->part_len[k];
        if (m->part_len[k] > p->most)
            return 0;
        if (p->instead && load_u32(fixed + p->instead))
            continue;
        if (p->wide)
            store_u64(fixed + p->at, m->part_len[k]);
        else
            store_u32(fixed + p->at, m->part_len[k]);
    }
    return size <= MESSAGE_MAX ? (uint32_t)size : 0;
}

void message_encode_body(const struct message *m, void *to)
{
    const struct shape *s = shape_of(m->header.kind);
    uint8_t *at = to;
    memcpy(at, &m->load, s->fixed);
    at += s->fixed;
    for (uint32_t k = 0; k < s->parts; k++) {
        if (m->part_len[k])
            memcpy(at, m->parts[k], m->part_len[k]);
        at += m->part_len[k];
    }
}

void message_encode(const struct message *m, void *to)
{
    memcpy(to, &m->header, sizeof m->header);
    message_encode_body(m, (uint8_t *)to + sizeof m->header);
}
