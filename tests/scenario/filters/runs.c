/* Run-length code. */
#include <stdio.h>
int main(void)
{
    int last = EOF, count = 0, c;
    do {
        c = getchar();
        if (c == last && count < 255)
            count++;
        else {
            if (last != EOF)
                printf("%d %d\n", count, last);
            last = c;
            count = 1;
        }
    } while (c != EOF);
    return 0;
}
