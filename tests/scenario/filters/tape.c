/* Runs a small program of eight commands on its input. */
#include <stdio.h>
int main(void)
{
    static const char program[] = ",[>+>+<<-]>[<+>-]>[-<<.>>]";
    static unsigned char tape[256];
    const char *at = program;
    unsigned char *cell = tape;
    for (long steps = 0; *at && steps < 1000000; at++, steps++) {
        switch (*at) {
        case '>': cell++; break;
        case '<': cell--; break;
        case '+': ++*cell; break;
        case '-': --*cell; break;
        case '.': putchar(*cell); break;
        case ',': {
            int c = getchar();
            *cell = (unsigned char)(c == EOF ? 0 : c);
            break;
        }
        case '[':
            if (!*cell)
                for (int d = 1; d;) {
                    at++;
                    d += (*at == '[') - (*at == ']');
                }
            break;
        case ']':
            if (*cell)
                for (int d = 1; d;) {
                    at--;
                    d += (*at == ']') - (*at == '[');
                }
            break;
        }
    }
    return 0;
}
