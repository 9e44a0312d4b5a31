/* Mean and deviation of the lengths of lines. */
#include <math.h>
#include <stdio.h>
#include <string.h>
int main(void)
{
    char line[1024];
    double sum = 0, squares = 0;
    int n = 0;
    while (fgets(line, sizeof line, stdin)) {
        double x = (double)strlen(line);
        sum += x;
        squares += x * x;
        n++;
    }
    double mean = sum / n;
    printf("%d %.6f %.6f\n", n, mean, sqrt(squares / n - mean * mean));
    return 0;
}
