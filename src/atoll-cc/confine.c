/*
 * The filter is an allow-list; any other system call kills the process. It was found by running
 * both pipelines: besides input and output on pipes LLVM only manages memory (glibc's qsort asks
 * sysinfo, stream objects ask newfstatat for the kind of their descriptor). Memory cannot be made
 * executable. The filter is compiled once and loaded by every child, because building it costs more
 * than forking.
 */
#define _GNU_SOURCE
#include "atoll-cc/confine.h"

#include "base/bytes.h"
#include "base/file.h"
#include "base/sanitized.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct sock_fprog filter;

/* What both need. */
static const int allowed_to_all[] = {
    SCMP_SYS(read),       SCMP_SYS(write),   SCMP_SYS(munmap),       SCMP_SYS(mremap),
    SCMP_SYS(brk),        SCMP_SYS(madvise), SCMP_SYS(futex),        SCMP_SYS(exit),
    SCMP_SYS(exit_group), SCMP_SYS(sysinfo), SCMP_SYS(rt_sigreturn), SCMP_SYS(newfstatat),
};

/* What the parent needs besides: its socket, pipes and memory files, and processes like itself. */
static const int allowed_to_parent[] = {
    SCMP_SYS(sendmsg),
    SCMP_SYS(recvmsg),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(close),
    SCMP_SYS(close_range),
    SCMP_SYS(pipe2),
    SCMP_SYS(dup2),
    SCMP_SYS(dup3),
    SCMP_SYS(fcntl),
    SCMP_SYS(lseek),
    SCMP_SYS(fstat),
    SCMP_SYS(pwrite64),
    SCMP_SYS(pread64),
    SCMP_SYS(ftruncate),
    SCMP_SYS(memfd_create),
    SCMP_SYS(clone),
    SCMP_SYS(clone3),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(wait4),
    SCMP_SYS(kill),
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(getppid),
    SCMP_SYS(tgkill),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(getrandom),
    SCMP_SYS(prctl),
    SCMP_SYS(seccomp),
    SCMP_SYS(prlimit64),
    SCMP_SYS(getrlimit),
    SCMP_SYS(setrlimit),
    SCMP_SYS(sched_yield),
};

static int rules_add(scmp_filter_ctx context, const int *allowed, size_t count)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = seccomp_rule_add(context, SCMP_ACT_ALLOW, allowed[i], 0);
    return rc;
}

/* A filter with the rules that both have; NULL on failure. */
static scmp_filter_ctx filter_create(uint32_t otherwise)
{
    scmp_filter_ctx context = seccomp_init(otherwise);
    if (!context)
        return NULL;
    if (rules_add(context, allowed_to_all, sizeof allowed_to_all / sizeof *allowed_to_all) == 0 &&
        seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
                         SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0)
        return context;
    seccomp_release(context);
    return NULL;
}

static int filter_export(scmp_filter_ctx context, struct error *e)
{
    struct buffer program = {0};
    int fd = memory_file("filter", NULL, 0, 0, false, false, e);
    if (fd < 0)
        return fd;
    int rc = seccomp_export_bpf(context, fd);
    if (rc < 0)
        rc = error_set(e, ATOLL_EUNAVAIL, "cannot build the system call filter");
    else if (lseek(fd, 0, SEEK_SET) < 0)
        rc = error_set_errno(e, 0, "cannot read the system call filter");
    else
        rc = file_read_fd(fd, "the system call filter", 1u << 20, &program, e);
    close(fd);
    if (rc < 0) {
        buffer_free(&program);
        return rc;
    }
    filter.len = (unsigned short)(program.len / sizeof *filter.filter);
    filter.filter = (struct sock_filter *)(void *)program.data; /* kept as long as the process */
    return 0;
}

int confine_parent(struct error *e)
{
    scmp_filter_ctx child = filter_create(SCMP_ACT_KILL_PROCESS);
    scmp_filter_ctx parent = filter_create(SCMP_ACT_ERRNO(EPERM));
    int rc = 0;
    if (!child || !parent ||
        rules_add(parent, allowed_to_parent, sizeof allowed_to_parent / sizeof *allowed_to_parent) <
            0)
        rc = error_set(e, ATOLL_EUNAVAIL, "cannot build the system call filters");
    if (rc == 0)
        rc = filter_export(child, e);
    if (rc == 0 && !SANITIZED && seccomp_load(parent) < 0)
        rc =
            error_set(e, ATOLL_EUNAVAIL,
                      "the kernel refuses a system call filter; the compiler does not run without");
    seccomp_release(child);
    seccomp_release(parent);
    return rc;
}

static bool limit_set(int resource, rlim_t most)
{
    struct rlimit limit;
    if (getrlimit((__rlimit_resource_t)resource, &limit) < 0)
        return false;
    if (limit.rlim_max == RLIM_INFINITY || limit.rlim_max > most)
        limit.rlim_max = most;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit((__rlimit_resource_t)resource, &limit) == 0;
}

int confine_enter(pid_t parent, unsigned descriptors)
{
    /* A parent that died before it was asked for would never be noticed. */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        return 1;
    if (close_range(descriptors, ~0u, 0) < 0)
        return 2;
    /* Deep recursion inside LLVM is usual; the stack grows on demand up to this. */
    if (!limit_set(RLIMIT_CORE, 0) || !limit_set(RLIMIT_CPU, CONFINE_CPU_SECONDS) ||
        !limit_set(RLIMIT_STACK, CONFINE_STACK_BYTES))
        return 3;
    if (SANITIZED) /* the sanitizers reserve terabytes and use more system calls */
        return 0;
    if (!limit_set(RLIMIT_AS, CONFINE_MEMORY_BYTES))
        return 4;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return 5;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &filter) == 0 ? 0 : 6;
}
