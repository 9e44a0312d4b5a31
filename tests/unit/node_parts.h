/* A node in this process, without workers: its parts can be called, its loop is turned by hand. */
#ifndef TESTS_NODE_PARTS_H
#define TESTS_NODE_PARTS_H

#include "node/node.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

/* The node with its data in $ATOLL_HOME/data, the scratch directory; again after node_parts_close:
 * what a restart finds. */
struct node *node_parts_open(void);
void node_parts_close(struct node *);

/* What a callback said; the fixture's own callback waits for it. */
struct said {
    bool done;
    int code;
    char text[512];
};
/* For access_done and registry_done. */
void said_note(void *context, int code, const struct error *);
/* Turns the loop until it was said; the code. */
int said_wait(struct node *, struct said *);

#endif
