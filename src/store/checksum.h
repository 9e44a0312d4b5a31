/* CRC-32C (Castagnoli; RFC 3720 appendix B.4), which finds damage, not forgery. */
#ifndef STORE_CHECKSUM_H
#define STORE_CHECKSUM_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 at first) over these bytes. Any thread. About 20 GB/s with SSE 4.2. */
uint32_t checksum_crc32c(uint32_t crc, const void *data, size_t len);

/* The same without processor support; for processors that have none, and to test against. */
uint32_t checksum_crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
