/* Draws the Mandelbrot set. */
#include <stdio.h>
int main(void)
{
    for (int y = -12; y <= 12; y++) {
        for (int x = -40; x <= 20; x++) {
            double re = 0, im = 0, a = x / 20.0, b = y / 12.0;
            int n = 0;
            while (n < 60 && re * re + im * im < 4) {
                double t = re * re - im * im + a;
                im = 2 * re * im + b;
                re = t;
                n++;
            }
            putchar(" .:-=+*#%@"[n * 9 / 60]);
        }
        putchar('\n');
    }
    return 0;
}
