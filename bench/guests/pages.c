/* A guest with an image of a chosen size, that writes as many pages of it as it is told. */
#include <stdint.h>

enum { PAGE = 4096, WASM_PAGE = 65536 };

static uint8_t *image;
static uint32_t image_pages;

/* Makes the image: so many KiB (a multiple of 64), every page of it non-zero. */
__attribute__((export_name("prepare"))) int32_t prepare(int32_t kib)
{
    uint32_t bytes = (uint32_t)kib * 1024;
    int old = (int)__builtin_wasm_memory_grow(0, bytes / WASM_PAGE);
    if (old < 0)
        return -1;
    image = (uint8_t *)((uintptr_t)old * WASM_PAGE);
    image_pages = bytes / PAGE;
    for (uint32_t i = 0; i < bytes; i += 64)
        image[i] = (uint8_t)(i >> 6 | 1);
    return 0;
}

__attribute__((export_name("nothing"))) int32_t nothing(void)
{
    return 42;
}

/* Writes one byte in each of `count` pages, spread evenly over the image. */
__attribute__((export_name("touch"))) int32_t touch(int32_t count)
{
    int32_t sum = 0;
    for (int32_t i = 0; i < count; i++) {
        uint32_t page = (uint32_t)((uint64_t)i * image_pages / (uint32_t)count);
        sum += ++image[(uintptr_t)page * PAGE];
    }
    return sum;
}

/* Writes every page of the image, over and over. */
__attribute__((export_name("churn"))) int32_t churn(int32_t rounds)
{
    for (int32_t r = 0; r != rounds; r++)
        for (uint32_t page = 0; page < image_pages; page++)
            ++*(volatile uint8_t *)(image + page * PAGE);
    return image[0];
}
