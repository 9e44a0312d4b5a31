/* The service whose objects the tests of src/ledger/object make, and what refusing one looks like.
 */
#ifndef TESTS_LEDGER_OBJECT_SERVICE_H
#define TESTS_LEDGER_OBJECT_SERVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ledger_objects.h"

#include <string.h>

static struct service service;

static inline int service_setup(void **state)
{
    (void)state;
    service_make(&service, 4);
    return 0;
}

static inline int service_teardown(void **state)
{
    (void)state;
    service_free(&service);
    return 0;
}

/* With its code and with words that say why. */
static inline void refused(int code, int result, const struct error *e)
{
    assert_int_equal(result, -code);
    assert_int_equal(e->code, -code);
    assert_true(strlen(e->text) > 10);
}

#endif
