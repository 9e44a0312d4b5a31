/* Shows what a program sees: arguments, environment, a file in /data, standard input. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv)
{
    char line[256];
    if (argc > 1 && strcmp(argv[1], "exit") == 0)
        return atoi(argv[2]);
    if (argc > 1 && strcmp(argv[1], "cat") == 0) {
        FILE *file = fopen(argv[2], "r");
        if (!file) {
            perror(argv[2]);
            return 1;
        }
        while (fgets(line, sizeof line, file))
            fputs(line, stdout);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "write") == 0) {
        FILE *file = fopen(argv[2], "w");
        if (!file || fputs("written\n", file) < 0 || fclose(file) != 0) {
            perror(argv[2]);
            return 1;
        }
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "stdin") == 0) {
        while (fgets(line, sizeof line, stdin))
            printf("got %s", line);
        return 0;
    }
    for (int i = 1; i < argc; i++)
        printf("argument %s\n", argv[i]);
    for (char **variable = environ; *variable; variable++)
        printf("variable %s\n", *variable);
    return 0;
}
