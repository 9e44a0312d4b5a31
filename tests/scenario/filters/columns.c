/* The second word of each line. */
#include <stdio.h>
#include <string.h>
int main(void)
{
    char line[1024];
    while (fgets(line, sizeof line, stdin)) {
        strtok(line, " \t\n");
        char *second = strtok(NULL, " \t\n");
        puts(second ? second : "-");
    }
    return 0;
}
