/* The guest: a library of functions for embed.c to call. It keeps a total from call to call. */
#define EXPORT(name) __attribute__((export_name(name)))
#define IMPORT(name) __attribute__((import_module("host"), import_name(name)))

IMPORT("report") void report(int number);

static int total;
static int table[8] = {1, 1, 2, 3, 5, 8, 13, 21};

EXPORT("add_to_total") int add_to_total(int number)
{
    total += number;
    if (total == 1000)
        report(total);
    return total;
}

__attribute__((noinline)) static int element_of(const int *numbers, int index)
{
    return *(volatile const int *)&numbers[index * 100000000]; /* far outside for all but 0 */
}

EXPORT("element") int element(int index)
{
    return element_of(table, index) + 1;
}

EXPORT("loop_forever") int loop_forever(int unused)
{
    for (;;)
        *(volatile int *)&table[0] = unused;
}
