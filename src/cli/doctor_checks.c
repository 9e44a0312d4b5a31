/*
 * What Atoll needs of a machine, tried one by one. A check must leave nothing behind and survive
 * kernels that lack what it asks for.
 */
#define _GNU_SOURCE
#include "cli/doctor_checks.h"

#include "base/file.h"
#include "crypto/key.h"
#include "engine/compile.h"
#include "engine/cpu.h"
#include "engine/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

static void found(struct finding *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void found(struct finding *f, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(f->found, sizeof f->found, format, arguments);
    va_end(arguments);
}

static void advise(struct finding *f, enum finding_state state, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void advise(struct finding *f, enum finding_state state, const char *format, ...)
{
    f->state = state;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(f->advice, sizeof f->advice, format, arguments);
    va_end(arguments);
}

/* The number in a file of /proc, or -1. */
static long long kernel_number(const char *path)
{
    char text[32] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    return got > 0 ? atoll(text) : -1;
}

/* ---- processor and kernel ---- */

static void features_missing(enum cpu_level level, char *out, size_t cap)
{
    uint64_t missing = cpu_level_features(level) & ~cpu_features();
    size_t used = 0;
    out[0] = '\0';
    for (enum cpu_feature feature = 0; feature < CPU_FEATURE_COUNT && used < cap; feature++) {
        if (missing >> feature & 1)
            used += (size_t)snprintf(out + used, cap - used, "%s%s", used ? " " : "",
                                     cpu_feature_name(feature));
    }
}

static void processor_examine(struct finding *f)
{
    static const enum cpu_level levels[] = {CPU_V4, CPU_V3, CPU_V2};
    char missing[200];
    for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++) {
        if (cpu_level_features(levels[i]) & ~cpu_features())
            continue;
        found(f, "x86-64-%s", cpu_level_name(levels[i]));
        if (levels[i] == CPU_V2) {
            features_missing(CPU_V3, missing, sizeof missing);
            advise(f, FINDING_LACKING, "lacks %s: use --cpu v2 (slower code)", missing);
        }
        return;
    }
    features_missing(CPU_V2, missing, sizeof missing);
    found(f, "older than x86-64-v2");
    advise(f, FINDING_BROKEN, "lacks %s: no code can be made for it", missing);
}

static void kernel_examine(struct finding *f)
{
    struct utsname name;
    uname(&name);
    found(f, "%s %s", name.sysname, name.release);
}

/* Stopped programs are continued by loading registers; a shadow stack would not agree. */
static void shadow_stack_examine(struct finding *f)
{
    struct buffer status = {0};
    struct error e;
    bool on = false;
    int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    if (fd >= 0 && file_read_fd(fd, "/proc/self/status", 1 << 16, &status, &e) == 0)
        on = memmem(status.data, status.len, "x86_Thread_features:\tshstk", 26) != NULL;
    if (fd >= 0)
        close(fd);
    buffer_free(&status);
    found(f, on ? "on" : "off, as it must be");
    if (on)
        advise(f, FINDING_BROKEN, "start with GLIBC_TUNABLES=glibc.cpu.x86_shstk=off");
}

/* ---- memory ---- */

static void executable_examine(struct finding *f)
{
    static const uint8_t code[] = {0xc3};
    struct error e;
    long long setting = kernel_number("/proc/sys/vm/memfd_noexec");
    int fd = memory_file("doctor", code, sizeof code, 4096, true, true, &e);
    void *at = fd < 0 ? MAP_FAILED : mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    if (setting < 0)
        found(f, "memory files can%s hold code", at == MAP_FAILED ? "not" : "");
    else
        found(f, "memory files can%s hold code (vm.memfd_noexec = %lld)",
              at == MAP_FAILED ? "not" : "", setting);
    if (at == MAP_FAILED)
        advise(f, FINDING_BROKEN,
               "as root: sysctl vm.memfd_noexec=1; or a security module forbids it");
    else
        munmap(at, 4096);
    if (fd >= 0)
        close(fd);
}

static void address_space_examine(struct finding *f)
{
    struct rlimit limit;
    getrlimit(RLIMIT_AS, &limit);
    unsigned slots = 0;
    /* Reserve up to 64 slots where arenas will lie, then give them back. */
    for (; slots < 64; slots++) {
        void *wanted = (void *)((uintptr_t)(SLOT_FIRST + slots) << SLOT_BITS);
        void *got = mmap(wanted, SLOT_SIZE, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (got != wanted) {
            if (got != MAP_FAILED)
                munmap(got, SLOT_SIZE);
            break;
        }
    }
    for (unsigned i = 0; i < slots; i++)
        munmap((void *)((uintptr_t)(SLOT_FIRST + i) << SLOT_BITS), SLOT_SIZE);
    if (slots == 64) {
        found(f, "room for arenas of 16 GiB each");
        return;
    }
    found(f, "%u of 64 arenas of 16 GiB could be reserved", slots);
    if (limit.rlim_cur != RLIM_INFINITY)
        advise(f, slots ? FINDING_LACKING : FINDING_BROKEN, "lift the limit: ulimit -v unlimited");
    else
        advise(f, slots ? FINDING_LACKING : FINDING_BROKEN,
               "something else occupies addresses from 0x101000000000 on");
}

static void maps_examine(struct finding *f)
{
    long long count = kernel_number("/proc/sys/vm/max_map_count");
    found(f, "vm.max_map_count = %lld: about %lld idle instances in one process", count,
          count > 1000 ? (count - 1000) / 8 : 0);
    if (count < 65530)
        advise(f, FINDING_LACKING, "as root: sysctl vm.max_map_count=262144");
}

static void overcommit_examine(struct finding *f)
{
    long long setting = kernel_number("/proc/sys/vm/overcommit_memory");
    found(f, "vm.overcommit_memory = %lld", setting);
    if (setting == 2)
        advise(f, FINDING_LACKING,
               "every instance's memory counts as used in full; as root: sysctl "
               "vm.overcommit_memory=0");
}

static void limits_examine(struct finding *f)
{
    struct rlimit files, processes;
    getrlimit(RLIMIT_NOFILE, &files);
    getrlimit(RLIMIT_NPROC, &processes);
    found(f, "%llu open files", (unsigned long long)files.rlim_cur);
    if (files.rlim_cur < 1024)
        advise(f, FINDING_LACKING, "allow more: ulimit -n 4096");
    else if (processes.rlim_cur < 64)
        advise(f, FINDING_LACKING, "only %llu processes are allowed: ulimit -u 1024",
               (unsigned long long)processes.rlim_cur);
}

static void signal_stack_examine(struct finding *f)
{
    found(f, "%lu bytes of registers in a signal frame", getauxval(AT_MINSIGSTKSZ));
}

/* ---- kernel features ---- */

#ifndef PAGEMAP_SCAN
struct pm_scan_arg {
    uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages, category_inverted,
        category_mask, category_anyof_mask, return_mask;
};
struct page_region {
    uint64_t start, end, categories;
};
#define PAGEMAP_SCAN        _IOWR('f', 16, struct pm_scan_arg)
#define PM_SCAN_WP_MATCHING (1 << 0)
#define PAGE_IS_WRITTEN     (1 << 1)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif

/* Arms write tracking on two pages, writes the second, and expects to see just that one. */
static bool tracking_tells_the_truth(int faults, int pagemap, uint8_t *pages)
{
    struct uffdio_api api = {.api = UFFD_API,
                             .features = UFFD_FEATURE_WP_ASYNC | UFFD_FEATURE_WP_UNPOPULATED |
                                         UFFD_FEATURE_PAGEFAULT_FLAG_WP};
    struct uffdio_register range = {.range = {(uintptr_t)pages, 8192},
                                    .mode = UFFDIO_REGISTER_MODE_WP};
    struct page_region seen[4];
    struct pm_scan_arg scan = {.size = sizeof scan,
                               .flags = PM_SCAN_WP_MATCHING,
                               .start = (uintptr_t)pages,
                               .end = (uintptr_t)pages + 8192,
                               .vec = (uintptr_t)seen,
                               .vec_len = 4,
                               .category_mask = PAGE_IS_WRITTEN,
                               .return_mask = PAGE_IS_WRITTEN};
    pages[0] = pages[4096] = 1;
    if (ioctl(faults, UFFDIO_API, &api) < 0 || ioctl(faults, UFFDIO_REGISTER, &range) < 0 ||
        ioctl(pagemap, PAGEMAP_SCAN, &scan) < 0)
        return false;
    ((volatile uint8_t *)pages)[4096] = 2;
    return ioctl(pagemap, PAGEMAP_SCAN, &scan) == 1 && seen[0].start == (uintptr_t)pages + 4096;
}

static void tracking_examine(struct finding *f)
{
    int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
    int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    uint8_t *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    bool good = faults >= 0 && pagemap >= 0 && pages != MAP_FAILED &&
                tracking_tells_the_truth(faults, pagemap, pages);
    if (good) {
        found(f, "userfaultfd and PAGEMAP_SCAN see written pages");
    } else {
        found(f, faults < 0 ? "no userfaultfd" : "no PAGEMAP_SCAN (Linux 6.7)");
        advise(f, FINDING_LACKING, "resets and checkpoints compare whole memories instead");
    }
    if (pages != MAP_FAILED)
        munmap(pages, 8192);
    if (faults >= 0)
        close(faults);
    if (pagemap >= 0)
        close(pagemap);
}

static void paths_examine(struct finding *f)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, ".", &how, sizeof how);
    if (fd >= 0) {
        found(f, "openat2 keeps programs inside their directories");
        close(fd);
        return;
    }
    found(f, "no openat2: %s", strerror(errno));
    advise(f, FINDING_LACKING, "paths are walked component by component instead, which is slower");
}

static void seccomp_examine(struct finding *f)
{
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0) {
        found(f, "seccomp locks the compiler's children down");
        return;
    }
    found(f, "no seccomp: %s", strerror(errno));
    advise(f, FINDING_BROKEN,
           "the compiler does not run without it; use a kernel with CONFIG_SECCOMP_FILTER");
}

/* ---- directories and programs ---- */

static void directory_examine(struct finding *f, const char *variable,
                              int (*locate)(char *, size_t, struct error *))
{
    char path[PATH_MAX - 16], probe[PATH_MAX];
    struct error e;
    if (locate(path, sizeof path, &e) < 0) {
        found(f, "%.390s", e.text);
        advise(f, FINDING_BROKEN, "set %s to a directory of yours", variable);
        return;
    }
    found(f, "%.390s", path);
    snprintf(probe, sizeof probe, "%s/doctor", path);
    if (file_replace(probe, "", 0, 0600, &e) < 0) {
        found(f, "%.390s", e.text);
        advise(f, FINDING_BROKEN, "make it writable, or set %s to a directory of yours", variable);
    }
    unlink(probe);
}

static void home_examine(struct finding *f)
{
    directory_examine(f, "ATOLL_HOME", home_directory);
}

static void cache_examine(struct finding *f)
{
    directory_examine(f, "ATOLL_CACHE", cache_directory);
}

static bool program_found(const char *name)
{
    const char *path = getenv("PATH");
    char candidate[PATH_MAX];
    while (path && *path) {
        size_t len = strcspn(path, ":");
        snprintf(candidate, sizeof candidate, "%.*s/%s", (int)len, path, name);
        if (access(candidate, X_OK) == 0)
            return true;
        path += len + (path[len] == ':');
    }
    return false;
}

static void build_tools_examine(struct finding *f)
{
    bool library = getenv("WASI_SYSROOT") || access("/usr/include/wasm32-wasi/stdio.h", R_OK) == 0;
    char missing[200] = "";
    if (!getenv("WASI_CC") && !program_found("clang-19"))
        strcat(missing, " clang-19");
    if (!program_found("wasm-ld-19") && !program_found("wasm-ld"))
        strcat(missing, " lld-19");
    if (!library)
        strcat(missing, " wasi-libc libclang-rt-19-dev-wasm32");
    if (!missing[0]) {
        found(f, "clang-19, wasm-ld and wasi-libc: `atoll build` works");
        return;
    }
    found(f, "`atoll build` does not work");
    advise(f, FINDING_LACKING, "install:%s", missing);
}

/* ---- all of it together ---- */

/* (module (func (export "answer") (result i32) i32.const 42)) */
static const uint8_t answer_module[] = {0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00, 0x01, 0x05,
                                        0x01, 0x60, 0x00, 0x01, 0x7f, 0x03, 0x02, 0x01, 0x00, 0x07,
                                        0x0a, 0x01, 0x06, 'a',  'n',  's',  'w',  'e',  'r',  0x00,
                                        0x00, 0x0a, 0x06, 0x01, 0x04, 0x00, 0x41, 0x2a, 0x0b};

static int answer_compile(struct artefact **out, struct error *e)
{
    struct compiler_settings settings = {.cache = ""};
    struct compile_options options = {
        .tier = TIER_OPT, .cpu = cpu_level_features(CPU_V3) & ~cpu_features() ? CPU_V2 : CPU_V3};
    struct compiler *compiler = NULL;
    int result = compiler_create(&settings, &compiler, e);
    if (result == 0)
        result =
            compiler_load(compiler, answer_module, sizeof answer_module, &options, out, NULL, e);
    compiler_destroy(compiler);
    return result;
}

static int answer_run(struct artefact *artefact, int32_t *answer, struct error *e)
{
    struct arena_limits limits = {0};
    struct arena *arena = NULL;
    struct instance *instance = NULL;
    struct run_result run;
    union host_slot slot = {.u64 = 0};
    uint32_t function;
    int result = engine_initialize(e);
    if (result == 0)
        result = arena_create(SLOT_ANY, &limits, &arena, e);
    if (result == 0)
        result = instance_create(arena, artefact, NULL, 0, &instance, e);
    if (result == 0 && instance_export(instance, "answer", 6, &function) == WASM_KIND_FUNC)
        result = instance_invoke(instance, function, &slot, &run, e);
    *answer = slot.i32;
    if (arena)
        arena_destroy(arena);
    return result;
}

static void whole_examine(struct finding *f)
{
    struct artefact *artefact = NULL;
    struct error e = {.text = "a wrong result"};
    int32_t answer = 0;
    int result = answer_compile(&artefact, &e);
    if (result < 0) {
        found(f, "a module does not compile: %.360s", e.text);
        advise(f, FINDING_BROKEN, "atoll-cc must lie beside atoll or in ../libexec/atoll");
        return;
    }
    result = answer_run(artefact, &answer, &e);
    artefact_release(artefact);
    if (result == 0 && answer == 42) {
        found(f, "a module was compiled and run");
        return;
    }
    found(f, "a compiled module does not run: %.360s", e.text);
    advise(f, FINDING_BROKEN, "mend what is marked above first");
}

const struct doctor_check doctor_checks[] = {
    {"processor", processor_examine},
    {"kernel", kernel_examine},
    {"shadow stacks", shadow_stack_examine},
    {"executable memory", executable_examine},
    {"address space", address_space_examine},
    {"mappings", maps_examine},
    {"overcommit", overcommit_examine},
    {"limits", limits_examine},
    {"signal frames", signal_stack_examine},
    {"write tracking", tracking_examine},
    {"path resolution", paths_examine},
    {"seccomp", seccomp_examine},
    {"keys", home_examine},
    {"cache", cache_examine},
    {"build tools", build_tools_examine},
    {"whole pipeline", whole_examine},
};
const size_t doctor_check_count = sizeof doctor_checks / sizeof doctor_checks[0];
