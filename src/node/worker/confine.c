/*
 * See confine.h. Three lists: what a worker needs, what it needs with certain arguments, and what
 * only an intruder calls. All else is what a library may try and can do without (opening a
 * configuration file, a socket of another family), and is refused with EPERM.
 *
 * The kernel knows by a bit which system calls of the first list are allowed; for those of the
 * second it runs the filter, some tens of nanoseconds. What a call makes many times stands in the
 * first list where its arguments give nothing away.
 *
 * A filter cannot follow pointers: it does not see the address in connect, nor the one in a message
 * for sendmsg, which a datagram socket would go by even if it is connected. So sockets are neither
 * made nor connected here (the supervisor does, node/network.h), sendto is for no address, and
 * sendmsg for one descriptor only: the link's, which passes descriptors on and cannot be closed.
 *
 * Sanitizers open files and make threads of their own, so a sanitized worker has no filter.
 */
#define _GNU_SOURCE
#include "node/worker/confine.h"

#include "base/sanitized.h"
#include "sandbox/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define COUNT(list) (sizeof(list) / sizeof *(list))
#define WORD        0xffffffffull
/* PAGEMAP_SCAN of linux/fs.h, which older headers lack. */
#define PAGEMAP_SCAN_REQUEST _IOWR('f', 16, uint64_t[12])

static const int allowed[] = {
    /* memory, time, threads that there are */
    SCMP_SYS(munmap),
    SCMP_SYS(mremap),
    SCMP_SYS(madvise),
    SCMP_SYS(process_madvise), /* a descriptor of another process is not to be had */
    SCMP_SYS(brk),
    SCMP_SYS(membarrier),
    SCMP_SYS(futex),
    SCMP_SYS(set_robust_list),
    SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),
    SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getcpu),
    SCMP_SYS(sysinfo),
    SCMP_SYS(exit),
    SCMP_SYS(exit_group),
    SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres),
    SCMP_SYS(gettimeofday),
    SCMP_SYS(getrandom),
    SCMP_SYS(restart_syscall),
    /* signals */
    SCMP_SYS(getpid),
    SCMP_SYS(gettid),
    SCMP_SYS(sigaltstack),
    SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn),
    /* descriptors that it has, memory files */
    SCMP_SYS(read),
    SCMP_SYS(readv),
    SCMP_SYS(pread64),
    SCMP_SYS(preadv),
    SCMP_SYS(write),
    SCMP_SYS(writev),
    SCMP_SYS(pwrite64),
    SCMP_SYS(pwritev),
    SCMP_SYS(sendfile),
    SCMP_SYS(lseek),
    SCMP_SYS(dup),
    SCMP_SYS(fstat),
    SCMP_SYS(ftruncate),
    SCMP_SYS(fallocate),
    SCMP_SYS(memfd_create),
    SCMP_SYS(poll),
    SCMP_SYS(ppoll),
    SCMP_SYS(epoll_ctl),
    SCMP_SYS(epoll_wait),
    SCMP_SYS(epoll_pwait),
    SCMP_SYS(epoll_pwait2),
    /* the link, and sockets of guests */
    SCMP_SYS(shutdown),
    SCMP_SYS(recvfrom),
    SCMP_SYS(recvmsg),
};

/* Allowed when both comparisons hold: argument & mask == value. mask 0 always does. */
struct narrowed {
    int call;
    struct comparison {
        uint32_t argument;
        uint64_t mask, value;
    } all[2];
};
#define OPTION(level, name)   \
    {                         \
        SCMP_SYS(setsockopt), \
        {                     \
            {1, WORD, level}, \
            {                 \
                2, WORD, name \
            }                 \
        }                     \
    }
#define FCNTL(command)           \
    {                            \
        SCMP_SYS(fcntl),         \
        {                        \
            {                    \
                1, WORD, command \
            }                    \
        }                        \
    }
#define IOCTL(request)           \
    {                            \
        SCMP_SYS(ioctl),         \
        {                        \
            {                    \
                1, WORD, request \
            }                    \
        }                        \
    }

static const struct narrowed narrowed[] = {
    {SCMP_SYS(mmap), {{2, PROT_EXEC, 0}}},
    {SCMP_SYS(mmap), {{2, PROT_EXEC | PROT_WRITE, PROT_EXEC}}},
    {SCMP_SYS(mprotect), {{2, PROT_EXEC, 0}}},
    {SCMP_SYS(prlimit64), {{2, UINT64_MAX, 0}}}, /* reads a limit, sets none */
    {SCMP_SYS(newfstatat), {{3, WORD, AT_EMPTY_PATH}}},
    FCNTL(F_DUPFD_CLOEXEC),
    FCNTL(F_GETFD),
    FCNTL(F_GETFL),
    FCNTL(F_SETFL),
    FCNTL(F_ADD_SEALS),
    FCNTL(F_GET_SEALS),
    FCNTL(F_GETPIPE_SZ),
    IOCTL(PAGEMAP_SCAN_REQUEST),
    IOCTL(FIONREAD),
    IOCTL(SIOCOUTQ),
    {SCMP_SYS(sendto), {{4, UINT64_MAX, 0}, {3, MSG_FASTOPEN, 0}}}, /* to its peer */
    OPTION(SOL_SOCKET, SO_KEEPALIVE),
    OPTION(SOL_SOCKET, SO_SNDBUF),
    OPTION(SOL_SOCKET, SO_RCVBUF),
    OPTION(IPPROTO_TCP, TCP_NODELAY),
    {SCMP_SYS(getsockopt), {{1, WORD, SOL_SOCKET}}},
};

/* No library that a worker links makes one of these by itself, so whoever does has got in. */
static const int fatal[] = {
    /* programs, processes and threads */
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(clone),
    SCMP_SYS(clone3),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(kill),
    SCMP_SYS(tkill),
    SCMP_SYS(rt_sigqueueinfo),
    SCMP_SYS(rt_tgsigqueueinfo),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(pidfd_send_signal),
    SCMP_SYS(kcmp),
    /* who it is, and what it sees */
    SCMP_SYS(setuid),
    SCMP_SYS(setgid),
    SCMP_SYS(setreuid),
    SCMP_SYS(setregid),
    SCMP_SYS(setresuid),
    SCMP_SYS(setresgid),
    SCMP_SYS(setgroups),
    SCMP_SYS(setfsuid),
    SCMP_SYS(setfsgid),
    SCMP_SYS(capset),
    SCMP_SYS(personality),
    SCMP_SYS(seccomp),
    SCMP_SYS(unshare),
    SCMP_SYS(setns),
    SCMP_SYS(chroot),
    SCMP_SYS(pivot_root),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(open_tree),
    SCMP_SYS(move_mount),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(open_by_handle_at),
    /* large parts of the kernel */
    SCMP_SYS(bpf),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(io_uring_enter),
    SCMP_SYS(io_uring_register),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(keyctl),
    SCMP_SYS(init_module),
    SCMP_SYS(finit_module),
    SCMP_SYS(delete_module),
    SCMP_SYS(kexec_load),
    SCMP_SYS(kexec_file_load),
    SCMP_SYS(iopl),
    SCMP_SYS(ioperm),
    SCMP_SYS(modify_ldt),
    SCMP_SYS(reboot),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
};

/* Memory both writable and executable, or made executable afterwards: foreign code. */
static const struct narrowed foreign_code[] = {
    {SCMP_SYS(mmap), {{2, PROT_EXEC | PROT_WRITE, PROT_EXEC | PROT_WRITE}}},
    {SCMP_SYS(mprotect), {{2, PROT_EXEC, PROT_EXEC}}},
    {SCMP_SYS(pkey_mprotect), {{2, PROT_EXEC, PROT_EXEC}}},
};

/* ---- the filter ---- */

static int calls_add(scmp_filter_ctx context, uint32_t action, const int *calls, size_t count)
{
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < count; k++)
        rc = seccomp_rule_add(context, action, calls[k], 0);
    return rc;
}

static int narrowed_add(scmp_filter_ctx context, uint32_t action, const struct narrowed *calls,
                        size_t count)
{
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < count; k++) {
        const struct comparison *all = calls[k].all;
        const struct scmp_arg_cmp compared[] = {
            {all[0].argument, SCMP_CMP_MASKED_EQ, all[0].mask, all[0].value},
            {all[1].argument, SCMP_CMP_MASKED_EQ, all[1].mask, all[1].value},
        };
        rc = seccomp_rule_add_array(context, action, calls[k].call, all[1].mask ? 2 : 1, compared);
    }
    return rc;
}

static int rules_add(scmp_filter_ctx context, int link)
{
    const struct narrowed own[] = {
        {SCMP_SYS(tgkill), {{0, WORD, (uint64_t)getpid()}}},
        {SCMP_SYS(sendmsg), {{0, WORD, (uint64_t)link}}},
    };
    int rc = calls_add(context, SCMP_ACT_ALLOW, allowed, COUNT(allowed));
    if (rc == 0)
        rc = narrowed_add(context, SCMP_ACT_ALLOW, narrowed, COUNT(narrowed));
    if (rc == 0)
        rc = narrowed_add(context, SCMP_ACT_ALLOW, own, COUNT(own));
    if (rc == 0)
        rc = seccomp_rule_add(context, SCMP_ACT_ALLOW, SCMP_SYS(close), 1,
                              SCMP_A0_32(SCMP_CMP_NE, (uint32_t)link, 0));
    if (rc == 0)
        rc = calls_add(context, SCMP_ACT_KILL_PROCESS, fatal, COUNT(fatal));
    if (rc == 0)
        rc = narrowed_add(context, SCMP_ACT_KILL_PROCESS, foreign_code, COUNT(foreign_code));
    return rc;
}

static int filter_load(int link, struct error *e)
{
    scmp_filter_ctx context = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    int rc = context ? rules_add(context, link) : -ENOMEM;
    if (rc == 0)
        rc = seccomp_attr_set(context, SCMP_FLTATR_CTL_TSYNC, 1);
    if (rc == 0)
        rc = seccomp_attr_set(context, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
    if (rc == 0)
        rc = seccomp_load(context);
    if (context)
        seccomp_release(context);
    return rc == 0 ? 0
                   : error_set(e, ATOLL_EUNAVAIL,
                               "a worker cannot limit its system calls (seccomp: %d); it needs a "
                               "kernel with CONFIG_SECCOMP_FILTER, and to be let use it",
                               rc);
}

int worker_confine(int link, struct error *e)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_errno(e, ATOLL_EUNAVAIL, "a worker cannot give up its privileges");
    /* What looks at /proc and /sys does so once. */
    (void)pages_scan_available();
    pages_refuse_huge(NULL, 0);
    return SANITIZED ? 0 : filter_load(link, e);
}
