/* Edit distance of neighbouring lines. */
#include <stdio.h>
#include <string.h>
static int least(int a, int b, int c)
{
    int m = a < b ? a : b;
    return m < c ? m : c;
}
int main(void)
{
    char last[256] = "", line[256];
    while (fgets(line, sizeof line, stdin)) {
        size_t n = strlen(last), m = strlen(line);
        int row[257];
        for (size_t j = 0; j <= m; j++)
            row[j] = (int)j;
        for (size_t i = 1; i <= n; i++) {
            int corner = row[0];
            row[0] = (int)i;
            for (size_t j = 1; j <= m; j++) {
                int above = row[j];
                row[j] = least(above + 1, row[j - 1] + 1, corner + (last[i - 1] != line[j - 1]));
                corner = above;
            }
        }
        printf("%d\n", row[m]);
        strcpy(last, line);
    }
    return 0;
}
