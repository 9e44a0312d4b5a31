/* Fails in the way its first argument names. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile int zero;

__attribute__((noinline)) int divide_by(int divisor)
{
    return 100 / divisor;
}

__attribute__((noinline)) int recurse(int depth)
{
    volatile char frame[64];
    frame[depth % 64] = (char)depth;
    return recurse(depth + 1) + frame[depth % 64];
}

__attribute__((noinline)) void spin(void)
{
    for (;;)
        zero = 0;
}

int main(int argc, char **argv)
{
    const char *how = argc > 1 ? argv[1] : "";
    if (strcmp(how, "divide") == 0)
        return divide_by(zero) + 1;
    if (strcmp(how, "bounds") == 0)
        return ((volatile int *)0x7fffff00)[zero];
    if (strcmp(how, "recurse") == 0)
        return recurse(zero);
    if (strcmp(how, "abort") == 0)
        abort();
    if (strcmp(how, "spin") == 0)
        spin();
    if (strcmp(how, "wait") == 0)
        return getchar();
    if (strcmp(how, "memory") == 0) {
        size_t total = 0;
        /* Through a pointer, lest the compiler know what malloc returns. */
        void *(*volatile allocate)(size_t) = malloc;
        while (allocate(1 << 20))
            total++;
        printf("%zu MiB\n", total);
        return 0;
    }
    return 7;
}
