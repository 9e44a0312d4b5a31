/* Copies a module section by section. The module has been read and validated, so its sections are
 * known to be well formed; a cursor still bounds every step. */
#include "engine/skeleton.h"

#include "engine/wasm_read.h"

#define MODULE_HEADER 8
#define CONST_END     0x0b

enum { SECTION_CUSTOM_ID = 0, SECTION_CODE_ID = 10, SECTION_DATA_ID = 11 };

static bool append_u8(struct buffer *out, uint8_t byte)
{
    return buffer_append(out, &byte, 1);
}

static bool append_leb(struct buffer *out, uint32_t value)
{
    bool ok = true;
    do {
        uint8_t byte = value & 0x7f;
        value >>= 7;
        ok = append_u8(out, value ? byte | 0x80 : byte);
    } while (ok && value);
    return ok;
}

static bool section_append(struct buffer *out, uint8_t id, const uint8_t *payload, size_t len)
{
    return append_u8(out, id) && append_leb(out, (uint32_t)len) && buffer_append(out, payload, len);
}

static bool custom_kept(const struct wasm_module *m, const uint8_t *payload, size_t len)
{
    struct error ignored;
    struct wasm_cursor c = {
        .base = payload, .at = payload, .end = payload + len, .error = &ignored};
    struct wasm_span name = wasm_cursor_name(&c);
    if (c.failed)
        return false;
    const char *text = (const char *)payload + name.offset;
    /* Of several name sections the reader uses one: keep that. */
    if (name.len == 4 && memcmp(text, "name", 4) == 0)
        return m->name_section.len && c.at == m->bytes + m->name_section.offset;
    return name.len == 8 && memcmp(text, "dylink.0", 8) == 0;
}

/* Segment s without its bytes: mode 0 (memory 0), offset, length 0. */
static bool data_append_empty(const struct wasm_module *m, const struct wasm_data *data,
                              struct buffer *out)
{
    return append_u8(out, 0) &&
           buffer_append(out, m->bytes + data->offset.offset, data->offset.len) &&
           append_u8(out, CONST_END) && append_leb(out, 0);
}

static bool data_append_whole(const struct wasm_module *m, const struct wasm_data *data,
                              struct buffer *out)
{
    bool ok = append_u8(out, data->mode == WASM_PASSIVE ? 1 : 0);
    if (ok && data->mode == WASM_ACTIVE)
        ok = buffer_append(out, m->bytes + data->offset.offset, data->offset.len) &&
             append_u8(out, CONST_END);
    return ok && append_leb(out, data->bytes.len) &&
           buffer_append(out, m->bytes + data->bytes.offset, data->bytes.len);
}

static bool datas_append(const struct wasm_module *m, uint32_t baked, struct buffer *out)
{
    struct buffer payload = {0};
    bool ok = append_leb(&payload, m->data_count);
    for (uint32_t s = 0; ok && s < m->data_count; s++)
        ok = s < baked && m->datas[s].mode == WASM_ACTIVE
                 ? data_append_empty(m, &m->datas[s], &payload)
                 : data_append_whole(m, &m->datas[s], &payload);
    ok = ok && section_append(out, SECTION_DATA_ID, payload.data, payload.len);
    buffer_free(&payload);
    return ok;
}

int skeleton_write(const struct wasm_module *m, uint32_t baked_datas, struct buffer *out,
                   struct error *e)
{
    struct wasm_cursor c = {.base = m->bytes, .at = m->bytes, .end = m->bytes + m->len, .error = e};
    const uint8_t *header = wasm_cursor_bytes(&c, MODULE_HEADER);
    bool ok = header && buffer_append(out, header, MODULE_HEADER);
    while (ok && !c.failed && c.at < c.end) {
        uint8_t id = wasm_cursor_u8(&c);
        uint32_t len = wasm_cursor_u32(&c);
        const uint8_t *payload = wasm_cursor_bytes(&c, len);
        if (!payload || id == SECTION_CODE_ID)
            continue;
        if (id == SECTION_DATA_ID)
            ok = datas_append(m, baked_datas, out);
        else if (id != SECTION_CUSTOM_ID || custom_kept(m, payload, len))
            ok = section_append(out, id, payload, len);
    }
    if (c.failed)
        return e->code;
    return ok ? 0 : error_set(e, ATOLL_ENOMEM, "no memory for the module of an artefact");
}
