/*
 * Host functions of entries, which values have besides their bytes, and of keys: deleting and
 * listing them. All of it lies in the global tier: each is a question to the supervisor.
 */
#include "node/worker/import_state.h"

#include "node/manifest.h"

#include <stdlib.h>
#include <string.h>

/* ---- entries ---- */

static enum host_status import_state_append(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    uint64_t len = hc->slots[2].u64;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_WRITE, &h, &view, &code);
    if (!a)
        return host_result_i64(hc, code);
    if (call_is_zygote(faaslet_of(hc)->call))
        return host_result_i64(hc, -ATOLL_EPERM);
    if (!guest_range(hc->arena, hc->slots[1].u32, len, GUEST_READ))
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (len > STATE_DATA_MAX)
        return host_result_i64(hc, -ATOLL_ESIZE);
    struct state_request r = value_request(a, STATE_OP_APPEND);
    if (hc->resumed)
        return value_ask(hc, &r, true);
    uint8_t *bytes = malloc(len + 1);
    if (!bytes)
        return host_result_i64(hc, -ATOLL_ENOMEM);
    code = guest_read(hc->arena, bytes, hc->slots[1].u32, len);
    r.data = bytes;
    r.data_len = (uint32_t)len;
    enum host_status status = code < 0 ? host_result_i64(hc, code) : state_ask(hc, &r);
    free(bytes);
    return status;
}

static enum host_status entries_answered(struct host_call *hc, uint64_t cap)
{
    struct state_reply reply;
    uint32_t to = hc->slots[3].u32, lens = hc->slots[5].u32;
    int64_t result = state_answered(hc, &reply);
    int code = 0;
    if (result == -ATOLL_ESIZE)
        code = guest_write(hc->arena, lens, &reply.number, sizeof reply.number);
    if (result < 0)
        return host_result_i64(hc, code < 0 ? code : result);
    if (reply.count > hc->slots[2].u32 || reply.data_len > cap)
        return host_result_i64(hc, -ATOLL_ECORRUPT);
    code = guest_write(hc->arena, to, reply.data, reply.data_len);
    if (!code)
        code = guest_write(hc->arena, lens, reply.lens, 8ull * reply.count);
    return host_result_i64(hc, code < 0 ? code : result);
}

static enum host_status import_state_entries(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    uint32_t max = hc->slots[2].u32;
    uint64_t cap = hc->slots[4].u64;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_READ, &h, &view, &code);
    if (!a)
        return host_result_i64(hc, code);
    if (!guest_range(hc->arena, hc->slots[3].u32, cap, GUEST_WRITE) ||
        !guest_range(hc->arena, hc->slots[5].u32, max ? 8ull * max : 8, GUEST_WRITE))
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (hc->resumed)
        return entries_answered(hc, cap);
    struct state_request r = value_request(a, STATE_OP_ENTRIES);
    r.off = hc->slots[1].u64;
    r.number = max < STATE_ENTRIES_MAX ? max : STATE_ENTRIES_MAX;
    r.len = cap < STATE_DATA_MAX ? cap : STATE_DATA_MAX;
    return state_ask(hc, &r);
}

static enum host_status import_state_clear(struct host_call *hc)
{
    struct handle *h;
    struct state_slot_view view;
    int code;
    guest_other_call(faaslet_of(hc));
    struct attached *a = value_of(hc, STATE_OPEN_WRITE, &h, &view, &code);
    if (a && call_is_zygote(faaslet_of(hc)->call))
        code = -ATOLL_EPERM;
    if (!a || code == -ATOLL_EPERM)
        return host_result_i32(hc, code);
    struct state_request r = value_request(a, STATE_OP_CLEAR);
    return value_ask(hc, &r, false);
}

/* ---- keys ---- */

static enum host_status import_state_delete(struct host_call *hc)
{
    struct faaslet *f = faaslet_of(hc);
    uint8_t key[STATE_NAME_MAX];
    guest_other_call(f);
    int code = state_key(hc, hc->slots[0].u32, hc->slots[1].u32, STATE_DELETE, key);
    if (!code && call_is_zygote(f->call))
        code = -ATOLL_EPERM;
    if (code < 0)
        return host_result_i32(hc, code);
    struct state_request r = {.op = STATE_OP_DELETE, .key = key, .key_len = hc->slots[1].u32};
    return value_ask(hc, &r, false);
}

/* Asks for the keys after one; keys that the manifest lets the function read are passed on. */
static enum host_status list_ask(struct host_call *hc, const uint8_t *prefix, const uint8_t *after,
                                 uint32_t after_len)
{
    uint64_t cap = hc->slots[5].u64;
    struct state_request r = {.op = STATE_OP_LIST,
                              .key = prefix,
                              .key_len = hc->slots[1].u32,
                              .data = after,
                              .data_len = after_len,
                              .len = cap < STATE_DATA_MAX ? cap : STATE_DATA_MAX};
    return state_ask(hc, &r);
}

static enum host_status list_answered(struct host_call *hc, const uint8_t *prefix)
{
    struct faaslet *f = faaslet_of(hc);
    struct state_reply reply;
    int64_t result = state_answered(hc, &reply);
    if (result < 0)
        return host_result_i64(hc, result);
    if (reply.data_len > hc->slots[5].u64 || (reply.data_len && reply.data[reply.data_len - 1]))
        return host_result_i64(hc, -ATOLL_ECORRUPT);
    /* Of another tenant's keys the right was looked at with the prefix. */
    bool own = !hc->slots[1].u32 || prefix[0] != '@';
    uint32_t written = 0, last = 0, len;
    for (uint32_t at = 0; at < reply.data_len; at += len + 1) {
        const uint8_t *key = reply.data + at;
        len = (uint32_t)strlen((const char *)key);
        last = at;
        if (own && !version_state_right(f->version, key, len, STATE_READ))
            continue;
        if (guest_write(hc->arena, hc->slots[4].u32 + written, key, len + 1) < 0)
            return host_result_i64(hc, -ATOLL_EFAULT);
        written += len + 1;
    }
    if (written || !reply.data_len)
        return host_result_i64(hc, written);
    uint8_t after[STATE_KEY_MAX];
    len = reply.data_len - 1 - last;
    if (len > sizeof after)
        return host_result_i64(hc, -ATOLL_ECORRUPT);
    memcpy(after, reply.data + last, len);
    return list_ask(hc, prefix, after, len);
}

static enum host_status import_state_list(struct host_call *hc)
{
    uint8_t prefix[STATE_NAME_MAX], after[STATE_KEY_MAX];
    uint32_t prefix_len = hc->slots[1].u32, after_len = hc->slots[3].u32;
    struct faaslet *f = faaslet_of(hc);
    guest_other_call(f);
    if (prefix_len > sizeof prefix || after_len > sizeof after)
        return host_result_i64(hc, -ATOLL_EINVAL);
    if (!guest_range(hc->arena, hc->slots[4].u32, hc->slots[5].u64, GUEST_WRITE) ||
        guest_read(hc->arena, prefix, hc->slots[0].u32, prefix_len) < 0 ||
        guest_read(hc->arena, after, hc->slots[2].u32, after_len) < 0)
        return host_result_i64(hc, -ATOLL_EFAULT);
    if (memchr(prefix, 0, prefix_len) || memchr(after, 0, after_len) ||
        (prefix_len > STATE_KEY_MAX && prefix[0] != '@'))
        return host_result_i64(hc, -ATOLL_EINVAL);
    if (prefix_len && prefix[0] == '@' &&
        !version_state_right(f->version, prefix, prefix_len, STATE_READ))
        return host_result_i64(hc, -ATOLL_EPERM);
    return hc->resumed ? list_answered(hc, prefix) : list_ask(hc, prefix, after, after_len);
}

const struct import_entry imports_state_entries[] = {
    {"state_append", "iil:l", import_state_append},
    {"state_entries", "iliili:l", import_state_entries},
    {"state_clear", "i:i", import_state_clear},
    {"state_delete", "ii:i", import_state_delete},
    {"state_list", "iiiiil:l", import_state_list},
    {0},
};
