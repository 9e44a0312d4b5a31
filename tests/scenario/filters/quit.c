/* Ends with a code that its input decides. */
#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    int sum = 0, c;
    while ((c = getchar()) != EOF)
        sum += c;
    printf("%d\n", sum % 7);
    exit(sum % 7);
}
