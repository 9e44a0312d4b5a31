/* Fifty steps of the game of life. */
#include <stdio.h>
#include <string.h>
#define SIDE 48
int main(void)
{
    static char now[SIDE][SIDE], next[SIDE][SIDE];
    int c;
    for (int i = 0; (c = getchar()) != EOF && i < SIDE * SIDE; i++)
        now[i / SIDE][i % SIDE] = c % 3 == 0;
    for (int step = 0; step < 50; step++) {
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                int n = 0;
                for (int dy = -1; dy <= 1; dy++)
                    for (int dx = -1; dx <= 1; dx++)
                        if (dx || dy)
                            n += now[(y + dy + SIDE) % SIDE][(x + dx + SIDE) % SIDE];
                next[y][x] = n == 3 || (n == 2 && now[y][x]);
            }
        memcpy(now, next, sizeof now);
    }
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++)
            putchar(now[y][x] ? '#' : '.');
        putchar('\n');
    }
    return 0;
}
