/* Arguments, environment, clocks, randomness, and ways to end. */
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void clocks(void)
{
    static const char *const names[] = {"real time", "monotonic"};
    clockid_t ids[] = {CLOCK_REALTIME, CLOCK_MONOTONIC};
    for (int i = 0; i < 2; i++) {
        struct timespec first, second, step;
        int good = clock_getres(ids[i], &step) == 0 && clock_gettime(ids[i], &first) == 0;
        for (int n = 0; good && n < 1000; n++) {
            good = clock_gettime(ids[i], &second) == 0 &&
                   (second.tv_sec > first.tv_sec ||
                    (second.tv_sec == first.tv_sec && second.tv_nsec >= first.tv_nsec));
            first = second;
        }
        printf("%s: %s\n", names[i], good && step.tv_nsec > 0 ? "runs on" : "is broken");
    }
    printf("the century: %s\n", time(NULL) > 1600000000 ? "ours" : "another");
}

static void randomness(void)
{
    unsigned char a[200] = {0}, b[200] = {0};
    int good = getentropy(a, sizeof a) == 0 && getentropy(b, sizeof b) == 0;
    printf("randomness: %s\n", good && memcmp(a, b, sizeof a) != 0 ? "differs" : "does not");
    printf("too much at once: %s\n", getentropy(a, 257) < 0 ? strerror(errno) : "given");
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "exit") == 0) {
        printf("lost with the buffer, unless exit flushes it\n");
        exit(atoi(argv[2]));
    }
    if (argc == 2 && strcmp(argv[1], "abort") == 0) {
        abort();
    }
    for (int i = 1; i < argc; i++) {
        printf("argument %d: \"%s\"\n", i, argv[i]);
    }
    for (char **e = environ; *e != NULL; e++) {
        printf("variable %s\n", *e);
    }
    clocks();
    randomness();
    printf("yield: %d\n", sched_yield());
    printf("a terminal: %d %d\n", isatty(0), isatty(1));
    printf("a position: %s\n", lseek(1, 0, SEEK_CUR) < 0 ? strerror(errno) : "yes");
    fprintf(stderr, "to standard error\n");
    return 0;
}
