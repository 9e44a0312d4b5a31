/* Symbolic and hard links through the C library. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void say(const char *what, int result)
{
    printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
}

static void show(const char *path)
{
    char target[64];
    struct stat itself, end;
    ssize_t len = readlink(path, target, sizeof target);
    printf("%s: ", path);
    if (len >= 0) {
        printf("a link to %.*s, ", (int)len, target);
    }
    if (lstat(path, &itself) < 0) {
        printf("%s\n", strerror(errno));
        return;
    }
    printf("%s, at its end ", S_ISLNK(itself.st_mode) ? "itself a link" : "no link");
    if (stat(path, &end) < 0) {
        printf("%s\n", strerror(errno));
    } else {
        printf("%s of %d names\n", S_ISDIR(end.st_mode) ? "a directory" : "a file",
               S_ISDIR(end.st_mode) ? 0 : (int)end.st_nlink);
    }
}

int main(void)
{
    mkdir("/data/d", 0777);
    fclose(fopen("/data/d/file", "w"));
    say("link", symlink("d/file", "/data/link"));
    say("link up and down", symlink("../d", "/data/d/self"));
    say("link to nothing", symlink("none", "/data/dangling"));
    say("link to itself", symlink("loop", "/data/loop"));
    say("link over a name", symlink("x", "/data/link"));
    say("absolute link", symlink("/data/d", "/data/absolute"));
    say("hard link", link("/data/d/file", "/data/hard"));
    say("hard link of a directory", link("/data/d", "/data/hard-d"));
    show("/data/link");
    show("/data/d/self");
    show("/data/d/self/self/file");
    show("/data/dangling");
    show("/data/loop");
    show("/data/hard");
    say("open a link", open("/data/link", O_RDONLY));
    say("open without following", open("/data/link", O_RDONLY | O_NOFOLLOW));
    say("open a loop", open("/data/loop", O_RDONLY));
    say("create through a dangling link", open("/data/dangling", O_CREAT | O_WRONLY, 0666));
    show("/data/none");
    say("unlink the link", unlink("/data/link"));
    show("/data/d/file");
    return 0;
}
