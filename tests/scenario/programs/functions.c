/* A reactor: functions for `atoll run --invoke`. */
#include <stdint.h>

static int32_t ready;

__attribute__((constructor)) static void construct(void)
{
    ready = 40;
}

__attribute__((export_name("ready"))) int32_t get_ready(void)
{
    return ready + 2;
}

__attribute__((export_name("add"))) int32_t add(int32_t a, int32_t b)
{
    return (int32_t)((uint32_t)a + (uint32_t)b);
}

__attribute__((export_name("scale"))) double scale(int64_t count, double factor, float offset)
{
    return (double)count * factor + (double)offset;
}

__attribute__((export_name("fibonacci"))) int64_t fibonacci(int32_t n)
{
    return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}
