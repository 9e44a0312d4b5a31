/*
 * CRC-32C. The processor's crc32 instruction takes three cycles and another can begin in each, so
 * long inputs are cut into three lanes that run side by side. Their sums meet by moving a sum over
 * the zero bytes that stand for the lane behind it: a linear map of 32 bits, kept as four tables.
 */
#include "store/checksum.h"

#include "base/bytes.h"

#include <nmmintrin.h>
#include <pthread.h>

#define POLYNOMIAL 0x82f63b78u /* reflected */
#define LANE_BYTES 1024        /* a multiple of 8 */

static uint32_t byte_table[256];    /* one byte more */
static uint32_t lane_table[4][256]; /* LANE_BYTES zero bytes more, by the sum's byte */
static bool instruction_there;
static pthread_once_t tables_once = PTHREAD_ONCE_INIT;

static uint32_t byte_add(uint32_t crc, uint8_t byte)
{
    return crc >> 8 ^ byte_table[(crc ^ byte) & 0xff];
}

static void tables_make(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t crc = i;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? POLYNOMIAL : 0);
        byte_table[i] = crc;
    }
    for (int byte = 0; byte < 4; byte++) {
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t crc = i << 8 * byte;
            for (int k = 0; k < LANE_BYTES; k++)
                crc = byte_add(crc, 0);
            lane_table[byte][i] = crc;
        }
    }
    __builtin_cpu_init();
    instruction_there = __builtin_cpu_supports("sse4.2");
}

static uint32_t lane_skip(uint32_t crc)
{
    return lane_table[0][crc & 0xff] ^ lane_table[1][crc >> 8 & 0xff] ^
           lane_table[2][crc >> 16 & 0xff] ^ lane_table[3][crc >> 24];
}

__attribute__((target("sse4.2"))) static uint32_t crc_fast(uint32_t crc, const uint8_t *p,
                                                           size_t len)
{
    uint64_t a = crc;
    for (; len >= 3 * LANE_BYTES; p += 3 * LANE_BYTES, len -= 3 * LANE_BYTES) {
        uint64_t b = 0, c = 0;
        for (size_t i = 0; i < LANE_BYTES; i += 8) {
            a = _mm_crc32_u64(a, load_u64(p + i));
            b = _mm_crc32_u64(b, load_u64(p + LANE_BYTES + i));
            c = _mm_crc32_u64(c, load_u64(p + 2 * LANE_BYTES + i));
        }
        a = lane_skip(lane_skip((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
    }
    for (; len >= 8; p += 8, len -= 8)
        a = _mm_crc32_u64(a, load_u64(p));
    uint32_t sum = (uint32_t)a;
    for (; len > 0; p++, len--)
        sum = _mm_crc32_u8(sum, *p);
    return sum;
}

uint32_t checksum_crc32c_portable(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;
    pthread_once(&tables_once, tables_make);
    crc = ~crc;
    for (size_t i = 0; i < len; i++)
        crc = byte_add(crc, p[i]);
    return ~crc;
}

uint32_t checksum_crc32c(uint32_t crc, const void *data, size_t len)
{
    pthread_once(&tables_once, tables_make);
    if (!instruction_there)
        return checksum_crc32c_portable(crc, data, len);
    return ~crc_fast(~crc, data, len);
}
