/* Sorts lines. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}
int main(void)
{
    char line[1024], **lines = NULL;
    size_t n = 0;
    while (fgets(line, sizeof line, stdin)) {
        lines = realloc(lines, (n + 1) * sizeof *lines);
        lines[n++] = strdup(line);
    }
    if (n)
        qsort(lines, n, sizeof *lines, compare);
    for (size_t i = 0; i < n; i++)
        fputs(lines[i], stdout);
    return 0;
}
