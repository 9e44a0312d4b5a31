/* The worker offers exactly the functions that the guest's header declares, with their types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "node/worker/worker.h"

#include <stdio.h>
#include <string.h>

static const struct import_entry *const tables[] = {
    imports_call,   imports_chain,  imports_batch,       imports_await,
    imports_result, imports_state,  imports_state_bytes, imports_state_entries,
    imports_object, imports_system, imports_net,
};
#define TABLES (sizeof tables / sizeof tables[0])

static const char *offered(const char *name)
{
    for (size_t i = 0; i < TABLES; i++) {
        for (const struct import_entry *entry = tables[i]; entry->name; entry++) {
            if (strcmp(entry->name, name) == 0)
                return entry->signature;
        }
    }
    return NULL;
}

/* "(i32 i64) -> (i32)" as "il:i". */
static void signature_make(const char *text, char out[32])
{
    for (; *text && strlen(out) < 30; text++) {
        if (*text == '>')
            strcat(out, ":");
        else if ((*text == 'i' || *text == 'f') && strncmp(text + 1, "64", 2) == 0)
            strcat(out, *text == 'i' ? "l" : "d");
        else if (*text == 'i' || *text == 'f')
            strcat(out, *text == 'i' ? "i" : "f");
    }
}

static void the_worker_offers_what_the_header_declares(void **state)
{
    (void)state;
    char line[256];
    size_t declared = 0, found = 0;
    FILE *file = fopen(SDK_IMPORTS, "r");
    assert_non_null(file);
    for (; fgets(line, sizeof line, file); declared++) {
        char wanted[32] = "", *types = strchr(line, ':');
        assert_non_null(types);
        *types = 0;
        signature_make(types + 1, wanted);
        if (!offered(line))
            fail_msg("%s is not offered", line);
        assert_string_equal(offered(line), wanted);
    }
    fclose(file);
    for (size_t i = 0; i < TABLES; i++) {
        for (const struct import_entry *entry = tables[i]; entry->name; entry++)
            found++;
    }
    assert_true(declared > 50);
    assert_int_equal(found, declared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worker_offers_what_the_header_declares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
