/* A function of about 1 MiB of code that does nothing: what it costs is to be brought in. */
#include <atoll.h>

#define STEP(x, k, n) \
    x = (x ^ (0x9e3779b1u * (n + 0x10001u * k))) * (2 * n + k + 0x85ebca6bu) + (x >> (n + k) % 31)
#define BODY(x, n)                                                                            \
    STEP(x, 1, n), STEP(x, 2, n), STEP(x, 3, n), STEP(x, 4, n), STEP(x, 5, n), STEP(x, 6, n), \
        STEP(x, 7, n), STEP(x, 8, n), STEP(x, 9, n)
#define FUNCTION(n)                                            \
    static __attribute__((noinline)) uint32_t f##n(uint32_t x) \
    {                                                          \
        return BODY(x, 0##n##u), x;                            \
    }
#define EIGHT(M, n) M(n##0) M(n##1) M(n##2) M(n##3) M(n##4) M(n##5) M(n##6) M(n##7)
#define MANY8(M, n) \
    EIGHT(M, n##0)  \
    EIGHT(M, n##1)  \
    EIGHT(M, n##2) EIGHT(M, n##3) EIGHT(M, n##4) EIGHT(M, n##5) EIGHT(M, n##6) EIGHT(M, n##7)
#define MANY64(M, n) \
    MANY8(M, n##0)   \
    MANY8(M, n##1)   \
    MANY8(M, n##2) MANY8(M, n##3) MANY8(M, n##4) MANY8(M, n##5) MANY8(M, n##6) MANY8(M, n##7)
#define ALL(M)   \
    MANY64(M, 1) \
    MANY64(M, 2) \
    MANY64(M, 3) \
    MANY64(M, 4) MANY64(M, 5) MANY64(M, 6) MANY64(M, 7) MANY64(M, 10) MANY64(M, 11) MANY64(M, 12)

ALL(FUNCTION)

#define ENTRY(n) f##n,
static uint32_t (*const functions[])(uint32_t) = {ALL(ENTRY)};

ATOLL_FUNCTION(large)
{
    return atoll_input_size() == 1 ? (int32_t)functions[atoll_input_size() % 64](1) : 0;
}
