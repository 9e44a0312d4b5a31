/*
 * The reader of what a shard's process sends: the input is one relocatable object (or two, cut at
 * the place that the first two bytes say), merged for a small module. What merges is scanned, too.
 */
#include "engine/object.h"
#include "engine/wasm_read.h"

#include <stdlib.h>

/* (import "a" "b" (func)) (func) (func) (export "c" (func 1)) */
static const uint8_t module_bytes[] = {
    0, 'a', 's', 'm', 1, 0, 0, 0, 1, 4, 1,   0x60, 0, 0,  2, 7, 1, 1, 'a',  1, 'b', 0,
    0, 3,   3,   2,   0, 0, 7, 5, 1, 1, 'c', 0,    1, 10, 7, 2, 2, 0, 0x0b, 2, 0,   0x0b,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void image_check(const struct code_image *image)
{
    struct error e;
    if (image->text_size > image->bytes.len)
        abort();
    for (uint32_t i = 1; i < image->row_count; i++)
        if (image->rows[i].code_offset <= image->rows[i - 1].code_offset)
            abort();
    (void)code_scan(image->bytes.data, image->text_size, NULL, 0, &e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wasm_module module;
    struct error e;
    if (!module.bytes && wasm_read(module_bytes, sizeof module_bytes, &module, &e) < 0)
        abort();
    if (size < 2)
        return 0;
    size_t cut = (size_t)(data[0] | data[1] << 8);
    data += 2;
    size -= 2;
    /* Copies of their exact size, so that a read beyond either is seen. */
    struct buffer objects[2] = {0};
    uint32_t count = cut && cut < size ? 2 : 1;
    if (!buffer_append(&objects[0], data, count == 2 ? cut : size) ||
        (count == 2 && !buffer_append(&objects[1], data + cut, size - cut)))
        abort();
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *exact = realloc(objects[i].data, objects[i].len ? objects[i].len : 1);
        if (!exact)
            abort();
        objects[i].data = exact;
        objects[i].capacity = objects[i].len;
    }
    struct code_image image;
    if (object_merge(&module, objects, count, &image, &e) == 0) {
        image_check(&image);
        code_image_free(&image);
    }
    buffer_free(&objects[0]);
    buffer_free(&objects[1]);
    return 0;
}
