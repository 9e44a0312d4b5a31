/* Primes up to the number of bytes of its input. */
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    size_t n = 0;
    while (getchar() != EOF)
        n++;
    char *composite = calloc(n + 1, 1);
    for (size_t i = 2; i <= n; i++) {
        if (composite[i])
            continue;
        printf("%zu ", i);
        for (size_t k = i * i; k <= n; k += i)
            composite[k] = 1;
    }
    putchar('\n');
    free(composite);
    return 0;
}
