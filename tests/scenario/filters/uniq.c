/* Drops lines that repeat the one before. */
#include <stdio.h>
#include <string.h>
int main(void)
{
    char line[1024], last[1024] = "";
    while (fgets(line, sizeof line, stdin)) {
        if (strcmp(line, last) != 0)
            fputs(line, stdout);
        strcpy(last, line);
    }
    return 0;
}
