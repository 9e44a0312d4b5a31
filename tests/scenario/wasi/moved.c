/* In the middle of a file, of a directory and of waiting when it is stopped; then it goes on. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int compare(const void *a, const void *b)
{
    return strcmp(a, b);
}

int main(void)
{
    static char names[40][64];
    char line[100];
    int count = 0;
    FILE *file = fopen("/data/lines", "r");
    DIR *directory = opendir("/data/many");
    struct timespec before, after;
    setvbuf(file, NULL, _IONBF, 0);
    fgets(line, sizeof line, file);
    printf("%s", line);
    for (struct dirent *e; count < 15 && (e = readdir(directory)) != NULL;) {
        snprintf(names[count++], sizeof names[0], "%s", e->d_name);
    }
    clock_gettime(CLOCK_MONOTONIC, &before);
    printf("ready\n");
    fflush(stdout);
    ssize_t len = read(0, line, sizeof line);
    printf("input: %.*s", (int)len, line);
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("time went %s\n", after.tv_sec > before.tv_sec || (after.tv_sec == before.tv_sec &&
                                                              after.tv_nsec >= before.tv_nsec)
                                 ? "on"
                                 : "back");
    fgets(line, sizeof line, file);
    printf("%s", line);
    for (struct dirent *e; count < 40 && (e = readdir(directory)) != NULL;) {
        snprintf(names[count++], sizeof names[0], "%s", e->d_name);
    }
    qsort(names, (size_t)count, sizeof names[0], compare);
    for (int i = 0; i < count; i++) {
        printf("%s%s", names[i], i + 1 < count ? " " : "\n");
    }
    return 0;
}
