/*
 * The reader of artefacts, as if their MAC had not been checked: what opens must be usable by every
 * lookup and give its bytes back.
 */
#include "engine/artefact.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void artefact_use(const struct artefact *a, const uint8_t *data, size_t size)
{
    const struct wasm_module *m = &a->module;
    struct buffer bytes = {0};
    struct error e;
    volatile uint64_t sum = 0;
    for (uint32_t code = 0; code < a->text_size; code += 3)
        sum += artefact_wasm_offset(a, code) + artefact_function_at(a, code);
    for (uint32_t f = 0; f < m->function_count; f++) {
        sum += wasm_function_signature(m, f).param_count + wasm_function_name(m, f).len;
        if (f >= m->imported_functions && a->code_size)
            sum += a->code[a->function_offsets[f - m->imported_functions] / 2];
    }
    for (uint32_t s = a->baked_datas; s < m->data_count; s++)
        for (uint32_t i = 0; i < m->datas[s].bytes.len; i++)
            sum += m->bytes[m->datas[s].bytes.offset + i];
    if (artefact_bytes(a, &bytes, &e) < 0 || bytes.len != size)
        abort();
    if (memcmp(bytes.data, data, size) != 0)
        abort();
    buffer_free(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct artefact *a;
    struct error e;
    /* A zero id: hashing the bytes is not what is tested here. */
    static const uint8_t id[HASH_LEN];
    if (artefact_open_known(data, size, id, &a, &e) == 0) {
        artefact_use(a, data, size);
        artefact_release(a);
    }
    return 0;
}
