/* Directories through the C library: made, listed whole and from the middle, and removed. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 300

static void say(const char *what, int result)
{
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Prints a directory's names in order, with a slash behind directories. */
static void list(const char *path)
{
    char *names[64];
    size_t count = 0;
    DIR *d = opendir(path);
    if (d == NULL) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    for (struct dirent *e; count < 64 && (e = readdir(d)) != NULL;) {
        char name[300];
        snprintf(name, sizeof name, "%s%s", e->d_name, e->d_type == DT_DIR ? "/" : "");
        names[count++] = strdup(name);
    }
    closedir(d);
    qsort(names, count, sizeof names[0], compare);
    printf("%s:", path);
    for (size_t i = 0; i < count; i++) {
        printf(" %s", names[i]);
    }
    printf("\n");
}

static int files_count(DIR *d)
{
    int count = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        count += e->d_name[0] == 'f';
    }
    return count;
}

/* More files than one buffer holds; positions stay good while files are removed. */
static void many(void)
{
    char path[64];
    mkdir("/data/many", 0777);
    for (int i = 0; i < FILES; i++) {
        snprintf(path, sizeof path, "/data/many/f-with-a-rather-long-name-%03d", i);
        fclose(fopen(path, "w"));
    }
    DIR *d = opendir("/data/many");
    printf("%d files\n", files_count(d));
    rewinddir(d);
    for (int i = 0; i < 100; i++) {
        readdir(d);
    }
    long middle = telldir(d);
    int after = files_count(d);
    seekdir(d, middle);
    printf("the same from the middle: %s\n", files_count(d) == after ? "yes" : "no");
    rewinddir(d);
    int removed = 0;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        snprintf(path, sizeof path, "/data/many/%s", e->d_name);
        removed += e->d_name[0] == 'f' && unlink(path) == 0;
    }
    printf("%d removed while reading\n", removed);
    closedir(d);
    say("remove the empty one", rmdir("/data/many"));
}

int main(void)
{
    struct stat status;
    say("make", mkdir("/data/d", 0777));
    say("make again", mkdir("/data/d", 0777));
    say("make in nothing", mkdir("/data/none/d", 0777));
    say("make deeper", mkdir("/data/d/e", 0777));
    fclose(fopen("/data/d/file", "w"));
    list("/data/d");
    list("/data/d/e");
    list("/data/d/file");
    list("/elsewhere");
    stat("/data/d/e", &status);
    printf("it is %s\n", S_ISDIR(status.st_mode) ? "a directory" : "something else");
    say("remove a full one", rmdir("/data/d"));
    say("remove a file as one", rmdir("/data/d/file"));
    say("unlink one", unlink("/data/d/e"));
    say("move one", rename("/data/d/e", "/data/moved"));
    list("/data");
    say("unlink file", unlink("/data/d/file"));
    say("remove", rmdir("/data/d"));
    say("remove moved", rmdir("/data/moved"));
    many();
    list("/data");
    return 0;
}
