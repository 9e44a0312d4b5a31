/* CRC-32 (IEEE 802.3), one table look-up per byte: a chain of dependent loads. */
#include "kernel.h"

enum { LENGTH = 1 << 20 };
static uint8_t message[LENGTH];
static uint32_t table[256];

static void table_fill(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
        table[byte] = crc;
    }
}

static uint32_t crc_update(uint32_t crc, const uint8_t *data, int length)
{
    crc = ~crc;
    for (int i = 0; i < length; i++)
        crc = table[(crc ^ data[i]) & 0xFF] ^ crc >> 8;
    return ~crc;
}

double run(int repeat)
{
    table_fill();
    uint64_t random = 3;
    for (int i = 0; i < LENGTH; i++)
        message[i] = (uint8_t)random_next(&random);
    uint32_t crc = 0;
    for (int r = 0; r < repeat; r++)
        crc = crc_update(crc, message, LENGTH);
    return (double)crc;
}
