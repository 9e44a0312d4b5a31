/* Large pages for memory files that workers get (src/node/large_pages.c). */
#define _GNU_SOURCE
#include "node/large_pages.h"

#include "base/clock.h"
#include "base/file.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define LEN     (8u << 20)
#define WAIT_NS 10000000000ll

static struct large_pages *pages;

static int begin(void **state)
{
    struct error e;
    (void)state;
    return large_pages_create(&pages, &e);
}

static int end(void **state)
{
    (void)state;
    large_pages_destroy(pages);
    return 0;
}

static int file_make(void)
{
    struct error e;
    int fd = memory_file("test", NULL, 0, LEN, false, false, &e);
    assert_true(fd >= 0);
    return fd;
}

static uint32_t *file_map(int fd)
{
    uint32_t *words = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(words != MAP_FAILED);
    return words;
}

/* KiB of large pages in the memory files of the system, all of them. */
static uint64_t large_kib(void)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    while (f && fgets(line, sizeof line, f))
        (void)sscanf(line, "ShmemHugePages: %llu", &kib);
    if (f)
        fclose(f);
    return kib;
}

static bool large_pages_appear(uint64_t more_than_kib)
{
    for (int64_t until = clock_monotonic_ns() + WAIT_NS; clock_monotonic_ns() < until;) {
        if (large_kib() > more_than_kib)
            return true;
        usleep(20000);
    }
    return false;
}

static bool kernel_exchanges(void)
{
    int fd = file_make();
    uint8_t *room = mmap(NULL, LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    uint8_t *at = room + (0x200000 - (uintptr_t)room % 0x200000) % 0x200000;
    assert_true(mmap(at, 2u << 20, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == at);
    memset(at, 1, 2u << 20);
    bool can = madvise(at, 2u << 20, 25 /* MADV_COLLAPSE */) == 0;
    munmap(room, LEN);
    close(fd);
    return can;
}

static void a_full_file_gets_large_pages_and_keeps_its_bytes(void **state)
{
    (void)state;
    if (!kernel_exchanges()) {
        print_message("skipped: this kernel gives no large pages on request\n");
        skip();
    }
    int fd = file_make();
    uint32_t *words = file_map(fd);
    for (uint32_t k = 0; k < LEN / 4; k++)
        words[k] = k * 2654435761u;
    uint64_t before = large_kib();
    large_pages_offer(pages, fd);
    assert_true(large_pages_appear(before));
    for (uint32_t k = 0; k < LEN / 4; k++)
        assert_int_equal(words[k], k * 2654435761u);
    munmap(words, LEN);
    close(fd);
}

static void writes_meanwhile_are_not_lost(void **state)
{
    (void)state;
    int fd = file_make();
    uint32_t *words = file_map(fd);
    memset(words, 0xff, LEN);
    large_pages_offer(pages, fd);
    for (uint32_t round = 0; round < 40; round++)
        for (uint32_t k = 0; k < LEN / 4; k += 7)
            words[k] = round ^ k;
    for (uint32_t k = 0; k < LEN / 4; k++)
        assert_int_equal(words[k], k % 7 ? UINT32_MAX : (39 ^ k));
    munmap(words, LEN);
    close(fd);
}

static void holes_are_not_filled_and_small_files_not_kept(void **state)
{
    struct error e;
    struct stat status;
    (void)state;
    int fd = file_make(), small = memory_file("test", NULL, 0, 4096, false, false, &e);
    assert_int_equal(pwrite(fd, "x", 1, 1 << 20), 1);
    large_pages_offer(pages, fd);
    large_pages_offer(pages, small);
    usleep(700000); /* it has looked at least once */
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(status.st_blocks * 512 < 2 << 20);
    close(fd);
    close(small);
}

static void more_files_than_are_looked_at_do_no_harm(void **state)
{
    (void)state;
    int fds[2 * LARGE_PAGES_FILES];
    for (uint32_t k = 0; k < 2 * LARGE_PAGES_FILES; k++)
        large_pages_offer(pages, fds[k] = file_make());
    large_pages_offer(pages, fds[0]);
    large_pages_offer(NULL, fds[0]);
    for (uint32_t k = 0; k < 2 * LARGE_PAGES_FILES; k++)
        close(fds[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_full_file_gets_large_pages_and_keeps_its_bytes, begin,
                                        end),
        cmocka_unit_test_setup_teardown(writes_meanwhile_are_not_lost, begin, end),
        cmocka_unit_test_setup_teardown(holes_are_not_filled_and_small_files_not_kept, begin, end),
        cmocka_unit_test_setup_teardown(more_files_than_are_looked_at_do_no_harm, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
