/* Computes the CRC-32. */
#include <stdint.h>
#include <stdio.h>
int main(void)
{
    uint32_t crc = ~0u;
    int c;
    while ((c = getchar()) != EOF) {
        crc ^= (uint32_t)c;
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (0xEDB88320u & -(crc & 1));
    }
    printf("%08x\n", ~crc);
    return 0;
}
