/* Reading forms (src/net/multipart.c). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/multipart.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORM       "multipart/form-data; boundary=xyz"
#define PART(name) "--xyz\r\nContent-Disposition: form-data; name=\"" name "\"\r\n\r\n"
#define LAST       "\r\n--xyz--"

/* "name(filename,type)=bytes|…|end" or "…!": the reading of a form as text. */
static void trace(char *out, size_t cap, const char *type, const char *bytes, size_t len,
                  size_t cut, size_t step)
{
    struct multipart m;
    struct multipart_event event;
    struct error e;
    size_t used_out = 0;
    out[0] = 0;
    if (multipart_init(&m, type, &e) < 0) {
        snprintf(out, cap, "type");
        return;
    }
    for (size_t at = 0; at < len;) {
        size_t piece = len - at < step ? len - at : step, used = 0;
        if (at < cut && piece > cut - at)
            piece = cut - at;
        char *copy = malloc(piece);
        memcpy(copy, bytes + at, piece);
        do {
            used += multipart_read(&m, copy + used, piece - used, &event);
            if (event.kind == MULTIPART_PART)
                used_out +=
                    (size_t)snprintf(out + used_out, cap - used_out, "%s(%s,%s)=", m.part.name,
                                     m.part.filename, m.part.type);
            if (event.kind == MULTIPART_DATA)
                used_out += (size_t)snprintf(out + used_out, cap - used_out, "%.*s", (int)event.len,
                                             (const char *)event.data);
            if (event.kind == MULTIPART_PART_END)
                used_out += (size_t)snprintf(out + used_out, cap - used_out, "|");
            if (event.kind == MULTIPART_END)
                used_out += (size_t)snprintf(out + used_out, cap - used_out, "end");
        } while (event.kind != MULTIPART_NONE && event.kind != MULTIPART_ERROR);
        free(copy);
        if (event.kind == MULTIPART_ERROR) {
            assert_true(strlen(event.reason) > 10);
            snprintf(out + used_out, cap - used_out, "!");
            return;
        }
        at += piece;
    }
    if (!multipart_complete(&m))
        snprintf(out + used_out, cap - used_out, "...");
}

static void reads_as(const char *type, const char *bytes, size_t len, const char *expected)
{
    static char out[8192];
    for (size_t cut = 0; cut <= len + 2; cut++) {
        size_t step = cut > len ? cut - len : SIZE_MAX; /* cuts, then pieces of 1 and 2 */
        trace(out, sizeof out, type, bytes, len, cut > len ? 0 : cut, step);
        if (strcmp(out, expected) != 0)
            fail_msg("cut at %zu: \"%s\", not \"%s\"", cut, out, expected);
    }
}
#define READS_AS(bytes, expected) reads_as(FORM, bytes, sizeof(bytes) - 1, expected)

static void parts_are_told_with_their_names(void **state)
{
    (void)state;
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=\"module\"; filename=\"f.wasm\"\r\n"
             "Content-Type: application/wasm\r\n\r\nbytes\r\nmore\r\n" PART(
                 "manifest") "name: a\n" LAST "\r\n",
             "module(f.wasm,application/wasm)=bytes\r\nmore|manifest(,)=name: a\n|end");
    READS_AS("--xyz\r\ncontent-disposition:form-data;NAME=\"a\"\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\ncontent-disposition:form-data;name=a\r\nX-Other: b\r\n"
             "Content-Transfer-Encoding: binary\r\n\r\nb" LAST,
             "a(,)=b|end");
}

static void what_only_resembles_the_boundary_is_data(void **state)
{
    (void)state;
    READS_AS(PART("a") "\r\n--xy\r\n--xyy\r\n-\r\n\r\r\n--xz\r-xyz" LAST,
             "a(,)=\r\n--xy\r\n--xyy\r\n-\r\n\r\r\n--xz\r-xyz|end");
    READS_AS(PART("a") "--xyy" LAST, "a(,)=--xyy|end");
    READS_AS(PART("a") "-\r\n" LAST, "a(,)=-\r\n|end");
    READS_AS(PART("a") "\r" LAST, "a(,)=\r|end");
    READS_AS(PART("a") "\n--xyz--" LAST, "a(,)=\n--xyz--|end");
}

static void parts_may_be_empty(void **state)
{
    (void)state;
    READS_AS(PART("a") LAST, "a(,)=|end");
    READS_AS(PART("a") "--xyz--", "a(,)=|end");
    READS_AS(PART("a") "\r\n" PART("b") LAST, "a(,)=|b(,)=|end");
}

static void forms_that_are_cut_off_are_not_complete(void **state)
{
    (void)state;
    READS_AS("--xy", "...");
    READS_AS(PART("a"), "a(,)=...");
    READS_AS(PART("a") "b\r\n--xyz", "a(,)=b|...");
    READS_AS(PART("a") "b\r\n--xyz-", "a(,)=b|...");
    READS_AS(PART("a") "b" LAST "\r", "a(,)=b|end");
}

static void malformed_forms_are_refused(void **state)
{
    (void)state;
    READS_AS("preamble\r\n" PART("a") "b" LAST, "!");
    READS_AS("\r\n" PART("a") "b" LAST, "!");
    READS_AS("--xyz--", "!");
    READS_AS(PART("a") "b" LAST "\r\nepilogue", "a(,)=b|end!");
    READS_AS(PART("a") "b" LAST "\r\n\r\n", "a(,)=b|end!");
    READS_AS(PART("a") "b\r\n--xyzz", "a(,)=b|!");
    READS_AS(PART("a") "b\r\n--xyz \r\n", "a(,)=b|!");
    READS_AS(PART("a") "b\r\n--xyz\r\r", "a(,)=b|!");
    READS_AS(PART("a") "b\r\n--xyz-x", "a(,)=b|!");
    READS_AS("--xyz\nContent-Disposition: form-data; name=\"a\"\r\n\r\n", "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=\"a\"\n\r\n", "!");
    READS_AS("--xyz\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Type: a\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: attachment; name=\"a\"\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=\"\"\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=\"a\"; name=\"b\"\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=\"a\\\"b\"\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=\"a\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=\"a\"; filename*=UTF-8''x\r\n\r\n",
             "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=\"a\" x\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition : form-data; name=\"a\"\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data;\r\n name=\"a\"\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=\"a\0b\"\r\n\r\nb" LAST, "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=a\r\n"
             "Content-Disposition: form-data; name=b\r\n\r\nb" LAST,
             "!");
    READS_AS("--xyz\r\nContent-Disposition: form-data; name=a\r\n"
             "Content-Transfer-Encoding: base64\r\n\r\nYQ==" LAST,
             "!");
}

static void content_types_without_a_good_boundary_are_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "application/json",
        "multipart/mixed; boundary=xyz",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\"\"",
        "multipart/form-data; boundary=a b",
        "multipart/form-data; boundary=\"a b\"",
        "multipart/form-data; boundary=x; boundary=y",
        "multipart/form-data, boundary=x",
        "multipart/form-data; boundary=\"x",
        "multipart/form-data; boundary",
        ("multipart/form-data; boundary="
         "12345678901234567890123456789012345678901234567890123456789012345678901")};
    char out[64];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        trace(out, sizeof out, bad[i], "", 0, 0, 1);
        if (strcmp(out, "type") != 0)
            fail_msg("\"%s\" was taken", bad[i]);
    }
    struct multipart m;
    struct error e;
    assert_int_equal(multipart_init(&m, NULL, &e), -ATOLL_ETYPE);
    static const char form[] = PART("a") "b" LAST;
    reads_as("Multipart/Form-Data; charset=x; Boundary=\"xyz\"", form, sizeof form - 1,
             "a(,)=b|end");
}

static void parts_and_their_headers_have_bounds(void **state)
{
    (void)state;
    static char form[8192];
    static char out[8192];
    for (int count = MULTIPART_PARTS_MAX; count <= MULTIPART_PARTS_MAX + 1; count++) {
        form[0] = 0;
        for (int i = 0; i < count; i++)
            strcat(form, i ? "\r\n" PART("a") : PART("a"));
        strcat(form, LAST);
        trace(out, sizeof out, FORM, form, strlen(form), 0, SIZE_MAX);
        const char *end = strrchr(out, '|') + 1;
        assert_string_equal(end, count > MULTIPART_PARTS_MAX ? "!" : "end");
    }
    /* A part's header lines: "X: …", CR, LF, the disposition, CR, LF. */
    static const char disposition[] = "Content-Disposition: form-data; name=a\r\n\r\n";
    for (int over = 0; over < 2; over++) {
        size_t filler = MULTIPART_HEADERS_MAX - (sizeof disposition - 1) - 5 + (size_t)over;
        int len = snprintf(form, sizeof form, "--xyz\r\nX: %0*d\r\n%sb" LAST, (int)filler, 0,
                           disposition);
        trace(out, sizeof out, FORM, form, (size_t)len, 0, SIZE_MAX);
        assert_string_equal(out, over ? "!" : "a(,)=b|end");
        len = snprintf(form, sizeof form,
                       "--xyz\r\nContent-Disposition: form-data; name=%0*d\r\n\r\nb" LAST,
                       MULTIPART_NAME_MAX + over, 0);
        trace(out, sizeof out, FORM, form, (size_t)len, 0, SIZE_MAX);
        assert_int_equal(strcmp(out, "!") == 0, over);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_told_with_their_names),
        cmocka_unit_test(what_only_resembles_the_boundary_is_data),
        cmocka_unit_test(parts_may_be_empty),
        cmocka_unit_test(forms_that_are_cut_off_are_not_complete),
        cmocka_unit_test(malformed_forms_are_refused),
        cmocka_unit_test(content_types_without_a_good_boundary_are_refused),
        cmocka_unit_test(parts_and_their_headers_have_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
