/*
 * A function that connects: "tcp|udp HOST PORT". Sends "?" and puts out what comes back; its code
 * is that of the refusal, positive.
 */
#include <atoll.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char input[256];
static uint8_t found[8 * ATOLL_RESOLVED_BYTES];

/* The first address of version 4 of a name or in numbers. */
static int32_t address_find(const char *host, uint8_t address[static 4])
{
    if (inet_pton(AF_INET, host, address) == 1)
        return 0;
    int64_t count = atoll_resolve(host, (uint32_t)strlen(host), found, sizeof found);
    for (int64_t k = 0; k < count && k < 8; k++) {
        const uint8_t *one = found + k * ATOLL_RESOLVED_BYTES;
        if (one[0] != 4)
            continue;
        memcpy(address, one + 1, 4);
        return 0;
    }
    return count < 0 ? (int32_t)count : -ATOLL_ENOENT;
}

ATOLL_FUNCTION(reach)
{
    uint8_t address[4];
    int32_t fd;
    (void)atoll_input_read(0, input, sizeof input - 1);
    const char *kind = strtok(input, " "), *host = strtok(NULL, " "), *port = strtok(NULL, " ");
    if (!port)
        return 99;
    int32_t rc = address_find(host, address);
    if (rc == 0)
        rc = atoll_sock_open(ATOLL_SOCK_V4,
                             kind[0] == 'u' ? ATOLL_SOCK_DATAGRAM : ATOLL_SOCK_STREAM, &fd);
    if (rc == 0)
        rc = atoll_sock_connect(fd, address, 4, (uint32_t)atoi(port), 5000000000ull);
    if (rc < 0)
        return -rc;
    char answer[64];
    if (write(fd, "?", 1) != 1)
        return 98;
    ssize_t got = read(fd, answer, sizeof answer);
    return got < 0 ? 97 : atoll_output_write(answer, (uint64_t)got) < 0;
}
