/* Ways out of /data that must not be any. The driver put links into it: up -> .., out -> ../secret,
 * etc -> /etc, and the file ../secret. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void say(const char *what, int result)
{
    printf("%s: %s\n", what, result < 0 ? "refused" : "NOT REFUSED");
}

int main(void)
{
    static const char *const paths[] = {
        "/data/../secret",    "/data/d/../../secret",
        "/data/out",          "/data/up/secret",
        "/data/etc/passwd",   "/etc/passwd",
        "/data/up",           "/data/up/",
        "../secret",          "/secret",
        "/data/d/up2/secret",
    };
    struct stat status;
    char text[100];
    for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++) {
        printf("%s\n", paths[i]);
        say("  open", open(paths[i], O_RDONLY));
        say("  create", open(paths[i], O_CREAT | O_WRONLY, 0666));
        say("  stat", stat(paths[i], &status));
        if (i != 2 && i != 6) { /* these are links that may be looked at */
            say("  read as a link", (int)readlink(paths[i], text, sizeof text));
            say("  unlink", unlink(paths[i]));
        }
    }
    say("make outside", mkdir("/data/../made", 0777));
    say("make over a link", mkdir("/data/up/made", 0777));
    say("link outside in", link("/data/../secret", "/data/mine"));
    say("link outside in over a link", link("/data/up/secret", "/data/mine"));
    say("rename outside in", rename("/data/up/secret", "/data/mine"));
    say("rename out", rename("/data/d", "/data/../d"));
    say("make an absolute link", symlink("/etc", "/data/other"));
    symlink("../../..", "/data/d/deep");
    say("over a link of its own making", open("/data/d/deep/etc/passwd", O_RDONLY));
    return 0;
}
