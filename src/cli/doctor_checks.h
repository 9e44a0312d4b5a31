/* The checks of `atoll doctor`. Each tries the real thing where it can, rather than read a version.
 */
#ifndef CLI_DOCTOR_CHECKS_H
#define CLI_DOCTOR_CHECKS_H

#include <stddef.h>

enum finding_state {
    FINDING_GOOD,
    FINDING_LACKING, /* something is slower, smaller or missing; Atoll works */
    FINDING_BROKEN,  /* Atoll does not work */
};

struct finding {
    enum finding_state state;
    char found[400];
    char advice[400];
};

struct doctor_check {
    const char *name;
    void (*examine)(struct finding *); /* state is FINDING_GOOD before */
};

extern const struct doctor_check doctor_checks[];
extern const size_t doctor_check_count;

#endif
