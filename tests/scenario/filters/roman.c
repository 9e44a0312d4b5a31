/* Roman numerals of line numbers. */
#include <stdio.h>
int main(void)
{
    static const struct {
        int value;
        const char *text;
    } steps[] = {{50, "L"}, {40, "XL"}, {10, "X"}, {9, "IX"}, {5, "V"}, {4, "IV"}, {1, "I"}};
    char line[1024];
    for (int n = 1; fgets(line, sizeof line, stdin); n++) {
        int left = n;
        for (int i = 0; i < 7; i++)
            for (; left >= steps[i].value; left -= steps[i].value)
                fputs(steps[i].text, stdout);
        putchar('\n');
    }
    return 0;
}
