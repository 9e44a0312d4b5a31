/* Looks whether brackets match. */
#include <stdio.h>
#include <string.h>
int main(void)
{
    static char stack[65536];
    size_t depth = 0;
    int c, good = 1;
    while ((c = getchar()) != EOF) {
        const char *open = "([{", *close = ")]}", *p;
        if (c && (p = strchr(open, c)) && depth < sizeof stack)
            stack[depth++] = close[p - open];
        else if (c && strchr(close, c))
            good &= depth > 0 && stack[--depth] == c;
    }
    puts(good && depth == 0 ? "match" : "do not match");
    return 0;
}
