/*
 * The processor's shares of tenants: their workers' weights (spec faaslets §10).
 *
 * With a cgroup that was delegated to the node (systemd: Delegate=yes) and has the controller
 * "cpu", each tenant's workers are in a group of their own with that weight, and the supervisor in
 * another. Otherwise the workers' nice values approximate the weights. Which of the two is logged
 * once.
 *
 * Loop thread only.
 */
#ifndef NODE_SHARES_H
#define NODE_SHARES_H

#include "base/error.h"

#include <stdint.h>

struct shares;

/* group: the cgroup's directory that is the node's own, or NULL: looked for. */
int shares_create(const char *group, struct shares **out, struct error *);
/* Its groups go once their processes have; the last of them are removed by the next start. */
void shares_destroy(struct shares *);
/* "cgroup" or "nice". */
const char *shares_means(const struct shares *);
/* Gives a worker its share: when it starts, and again when weights have changed. most: the largest
 * weight among the tenants with workers. */
void shares_set(struct shares *, int pid, const char *tenant, uint32_t weight, uint32_t most);

/* The nice value, 0 to 19, that stands for weight against most: one step is 1.25 times the share.
 */
int shares_nice(uint32_t weight, uint32_t most);

#endif
