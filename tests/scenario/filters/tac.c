/* Puts out the lines from the last to the first. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int main(void)
{
    char line[1024], **lines = NULL;
    size_t n = 0;
    while (fgets(line, sizeof line, stdin)) {
        lines = realloc(lines, (n + 1) * sizeof *lines);
        lines[n++] = strdup(line);
    }
    while (n)
        fputs(lines[--n], stdout);
    return 0;
}
