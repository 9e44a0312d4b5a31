/* A loop with nothing in it, which only an interruption ends. */
__attribute__((export_name("endless"))) void endless(void)
{
    /* Volatile assembly: the loop is not "assumed to end". */
    for (;;)
        __asm__ volatile("");
}
