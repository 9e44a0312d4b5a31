/* An ordinary WASI program: standard input in capitals to standard output, its arguments and
 * environment to standard error, and 3 as exit code when it is told so. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    const char *mode = getenv("MODE");
    fprintf(stderr, "%s has %d arguments, MODE=%s\n", argv[0], argc - 1, mode ? mode : "");
    for (int c; (c = getchar()) != EOF;)
        putchar(toupper(c));
    return argc > 1 && strcmp(argv[1], "fail") == 0 ? 3 : 0;
}
