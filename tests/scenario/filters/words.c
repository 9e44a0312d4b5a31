/* Counts words in a tree. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
struct word {
    struct word *less, *more;
    long count;
    char text[32];
};
static void print(const struct word *w)
{
    if (!w)
        return;
    print(w->less);
    printf("%s %ld\n", w->text, w->count);
    print(w->more);
}
int main(void)
{
    struct word *root = NULL;
    char text[32];
    while (scanf("%31s", text) == 1) {
        struct word **at = &root;
        int order;
        while (*at && (order = strcmp(text, (*at)->text)) != 0)
            at = order < 0 ? &(*at)->less : &(*at)->more;
        if (!*at) {
            *at = calloc(1, sizeof **at);
            strcpy((*at)->text, text);
        }
        (*at)->count++;
    }
    print(root);
    return 0;
}
