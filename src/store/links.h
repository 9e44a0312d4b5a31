/* A doubly linked list through its members: no allocation, constant time. A head is an unlinked
 * link; a link that is in no list points at itself. */
#ifndef STORE_LINKS_H
#define STORE_LINKS_H

#include <stdbool.h>
#include <stddef.h>

struct links {
    struct links *next, *previous;
};

#define LINKS_OWNER(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))

static inline void links_init(struct links *l)
{
    l->next = l->previous = l;
}

static inline bool links_alone(const struct links *l)
{
    return l->next == l;
}

static inline void links_append(struct links *head, struct links *l)
{
    l->previous = head->previous;
    l->next = head;
    head->previous->next = l;
    head->previous = l;
}

static inline void links_remove(struct links *l)
{
    l->previous->next = l->next;
    l->next->previous = l->previous;
    links_init(l);
}

/* The first member, or NULL. */
static inline struct links *links_first(const struct links *head)
{
    return links_alone(head) ? NULL : head->next;
}

#endif
