/*
 * An ordinary program on a tenant's shared files: "get PATH", "put PATH TEXT", "ls DIR",
 * "half PATH TEXT" (writes without closing), "local TEXT" (writes a private file and reads it).
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int get(const char *path)
{
    char text[256];
    FILE *f = fopen(path, "r");
    if (!f)
        return perror(path), 1;
    for (size_t n; (n = fread(text, 1, sizeof text, f)) > 0;)
        fwrite(text, 1, n, stdout);
    return fclose(f) != 0;
}

static int put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    if (!f || fputs(text, f) < 0 || fclose(f) != 0)
        return perror(path), 1;
    return 0;
}

static int list(const char *path)
{
    DIR *d = opendir(path);
    if (!d)
        return perror(path), 1;
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (e->d_name[0] != '.')
            puts(e->d_name);
    }
    return closedir(d) != 0;
}

int main(void)
{
    static char line[512], act[16], path[128], text[256];
    if (!fgets(line, sizeof line, stdin))
        return 1;
    int n = sscanf(line, "%15s %127s %255[^\n]", act, path, text);
    if (n >= 2 && strcmp(act, "get") == 0)
        return get(path);
    if (n == 3 && strcmp(act, "put") == 0)
        return put(path, text);
    if (n >= 2 && strcmp(act, "ls") == 0)
        return list(path);
    if (n == 3 && strcmp(act, "half") == 0) {
        FILE *f = fopen(path, "w");
        if (!f || fputs(text, f) < 0 || fflush(f) != 0)
            return 1;
        _Exit(0);
    }
    if (n >= 2 && strcmp(act, "local") == 0)
        return put("/private", path) || get("/private");
    return 2;
}
