/* Adds and multiplies what looks like numbers. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    char word[64];
    unsigned long long sum = 0, product = 1;
    int numbers = 0;
    while (scanf("%63s", word) == 1) {
        char *end;
        unsigned long long v = strtoull(word, &end, 0);
        if (end == word || !isdigit((unsigned char)word[0]))
            continue;
        sum += v;
        product = product * (v | 1);
        numbers++;
    }
    printf("%d %llu %llu\n", numbers, sum, product);
    return 0;
}
