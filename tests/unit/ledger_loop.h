/* Tests of the ledger's processes turn their libuv loop themselves, until something holds. */
#ifndef TESTS_LEDGER_LOOP_H
#define TESTS_LEDGER_LOOP_H

#include <uv.h>

/* Does `turn`, which sleeps a little, again and again until the condition holds; fails the test
 * after a long time. */
#define TURN_UNTIL(condition, turn)                            \
    do {                                                       \
        uint64_t give_up_ = uv_hrtime() + 30000000000;         \
        while (!(condition)) {                                 \
            (void)(turn);                                      \
            if (uv_hrtime() > give_up_)                        \
                fail_msg("it never came that %s", #condition); \
        }                                                      \
    } while (0)

#endif
