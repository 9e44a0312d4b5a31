/* Counts how often each letter occurs. */
#include <ctype.h>
#include <stdio.h>
int main(void)
{
    long counts[26] = {0};
    int c;
    while ((c = getchar()) != EOF)
        if (isalpha(c))
            counts[tolower(c) - 'a']++;
    for (int i = 0; i < 26; i++)
        printf("%c %ld\n", 'a' + i, counts[i]);
    return 0;
}
