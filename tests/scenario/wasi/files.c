/* Files through the C library: what is written is there, where and as long as it should be. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static void show(const char *path)
{
    char text[200];
    FILE *f = fopen(path, "r");
    if (f == NULL) {
        printf("%s: %s\n", path, strerror(errno));
        return;
    }
    size_t len = fread(text, 1, sizeof text, f);
    printf("%s holds \"%.*s\"\n", path, (int)len, text);
    fclose(f);
}

static void say(const char *what, int result)
{
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
}

static void sizes_and_times(int fd)
{
    struct stat status;
    struct timespec times[2] = {{.tv_sec = 86400, .tv_nsec = 5}, {.tv_sec = 172800, .tv_nsec = 6}};
    say("truncate", ftruncate(fd, 4));
    show("/data/a");
    say("extend", ftruncate(fd, 100));
    say("set times", futimens(fd, times));
    fstat(fd, &status);
    printf("size %lld, accessed %lld.%09ld, modified %lld.%09ld, %s\n", (long long)status.st_size,
           (long long)status.st_atim.tv_sec, status.st_atim.tv_nsec,
           (long long)status.st_mtim.tv_sec, status.st_mtim.tv_nsec,
           S_ISREG(status.st_mode) ? "a regular file" : "something else");
}

int main(void)
{
    char text[16];
    FILE *f = fopen("/data/a", "w");
    fputs("first line\n", f);
    fclose(f);
    f = fopen("/data/a", "a");
    fputs("second", f);
    fclose(f);
    show("/data/a");

    int fd = open("/data/a", O_RDWR);
    printf("position %lld\n", (long long)lseek(fd, 6, SEEK_SET));
    printf("written %zd\n", write(fd, "LINE", 4));
    printf("read back %zd\n", pread(fd, text, 10, 0));
    printf("\"%.10s\"\n", text);
    printf("written ahead %zd\n", pwrite(fd, "S", 1, 11));
    printf("position %lld\n", (long long)lseek(fd, 0, SEEK_CUR));
    struct iovec parts[2] = {{text, 3}, {text + 8, 4}};
    lseek(fd, 0, SEEK_SET);
    printf("scattered %zd: \"%.3s\" and \"%.4s\"\n", readv(fd, parts, 2), text, text + 8);
    show("/data/a");
    sizes_and_times(fd);
    say("sync", fsync(fd));
    say("close", close(fd));
    say("close again", close(fd));
    say("read closed", (int)read(fd, text, 1));

    say("exclusive over a file", open("/data/a", O_CREAT | O_EXCL | O_WRONLY, 0666));
    say("open what is not there", open("/data/none", O_RDONLY));
    say("open a directory to write", open("/data", O_WRONLY));
    say("rename", rename("/data/a", "/data/b"));
    show("/data/a");
    say("unlink", unlink("/data/b"));
    say("unlink again", unlink("/data/b"));
    say("write into a read-only directory", open("/fixed/new", O_CREAT | O_WRONLY, 0666));
    show("/fixed/file");
    return 0;
}
