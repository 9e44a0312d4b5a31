/* What a worker process can still ask of the kernel once it is confined
 * (src/node/worker/confine.c).
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../guest/supervisor.h"

#include "base/file.h"
#include "node/worker/confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#define PAGE     4096
#define NOTHING  100 /* exit status of a child whose deed had no effect */
#define UNLOCKED 101 /* of one that could not be confined */

/* What a worker has: a link that passes descriptors on, and sockets that it was given. */
static int link_ends[2], stream, datagram, listener;
static struct sockaddr_in listening;

static int sockets_open(void)
{
    socklen_t len = sizeof listening;
    listening.sin_family = AF_INET;
    listening.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    listener = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    stream = socket(AF_INET, SOCK_STREAM, 0);
    datagram = socket(AF_INET, SOCK_DGRAM, 0);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, link_ends) < 0 ||
        bind(listener, (struct sockaddr *)&listening, len) < 0 ||
        getsockname(listener, (struct sockaddr *)&listening, &len) < 0)
        return -1;
    return connect(datagram, (struct sockaddr *)&listening, len);
}

/* How a confined child ends that does this. */
static int confined_status(int (*deed)(void))
{
    struct error e;
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(sockets_open() < 0 || worker_confine(link_ends[0], &e) < 0 ? UNLOCKED : deed());
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

/* ---- what is refused ---- */

static long opens_a_file(void)
{
    return open("/etc/hostname", O_RDONLY);
}
static long makes_a_file(void)
{
    return open("/tmp/intruder", O_WRONLY | O_CREAT, 0600);
}
static long looks_at_a_file(void)
{
    struct stat st;
    return fstatat(AT_FDCWD, "/", &st, 0);
}
static long removes_a_file(void)
{
    return unlink("/tmp/intruder");
}
static long speaks_to_local_services(void)
{
    return socket(AF_UNIX, SOCK_STREAM, 0);
}
static long speaks_to_the_kernel(void)
{
    return socket(AF_NETLINK, SOCK_RAW, 0);
}
static long makes_a_socket(void)
{
    return socket(AF_INET, SOCK_STREAM, 0);
}
static long connects(void)
{
    return connect(stream, (struct sockaddr *)&listening, sizeof listening);
}
static long disconnects(void)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    return connect(datagram, &none, sizeof none);
}
static long sends_elsewhere(void)
{
    return sendto(datagram, "x", 1, 0, (struct sockaddr *)&listening, sizeof listening);
}
static long connects_by_sending(void)
{
    return sendto(stream, "x", 1, MSG_FASTOPEN, NULL, 0);
}
static long sends_a_message_elsewhere(void)
{
    struct iovec bytes = {(void *)(uintptr_t)"x", 1};
    struct msghdr m = {.msg_name = &listening,
                       .msg_namelen = sizeof listening,
                       .msg_iov = &bytes,
                       .msg_iovlen = 1};
    return sendmsg(datagram, &m, 0);
}
static long sends_messages_elsewhere(void)
{
    struct mmsghdr m = {.msg_hdr = {.msg_name = &listening, .msg_namelen = sizeof listening}};
    return sendmmsg(datagram, &m, 1, 0);
}
/* So that another socket gets the link's number, by which messages may be sent anywhere. */
static long gives_up_the_link(void)
{
    return close(link_ends[0]);
}
static long puts_a_socket_in_the_links_place(void)
{
    return dup2(datagram, link_ends[0]);
}
static long listens(void)
{
    struct sockaddr_in any = {.sin_family = AF_INET};
    return bind(stream, (struct sockaddr *)&any, sizeof any);
}
static long filters_a_socket(void)
{
    struct sock_filter pass = {BPF_RET | BPF_K, 0, 0, UINT32_MAX};
    struct sock_fprog program = {1, &pass};
    return setsockopt(datagram, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program);
}
static long has_signals_sent(void)
{
    return fcntl(datagram, F_SETOWN, getpid());
}
static long talks_to_a_device(void)
{
    struct termios t;
    return ioctl(1, TCSETS, &t);
}
static long raises_a_limit(void)
{
    struct rlimit limit = {1, 1};
    return setrlimit(RLIMIT_CORE, &limit);
}
static long signals_a_neighbour(void)
{
    return syscall(SYS_tgkill, getppid(), getppid(), 0);
}
static long hides_its_name(void)
{
    return prctl(PR_SET_NAME, "innocent");
}

static long (*const refused[])(void) = {
    opens_a_file,
    makes_a_file,
    looks_at_a_file,
    removes_a_file,
    listens,
    filters_a_socket,
    speaks_to_local_services,
    speaks_to_the_kernel,
    makes_a_socket,
    has_signals_sent,
    talks_to_a_device,
    raises_a_limit,
    hides_its_name,
    signals_a_neighbour,
    connects,
    disconnects,
    sends_elsewhere,
    connects_by_sending,
    sends_a_message_elsewhere,
    sends_messages_elsewhere,
    gives_up_the_link,
    puts_a_socket_in_the_links_place,
};
#define REFUSED (sizeof refused / sizeof *refused)

static int refused_try(void)
{
    for (size_t k = 0; k < REFUSED; k++) {
        errno = 0;
        if (refused[k]() != -1 || errno != EPERM)
            return (int)k + 1;
    }
    return NOTHING;
}

static void what_a_library_may_try_is_refused_and_the_process_goes_on(void **state)
{
    (void)state;
    int status = confined_status(refused_try);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) != NOTHING)
        fail_msg("number %d of those that are to be refused was not", WEXITSTATUS(status));
}

/* ---- what ends the process ---- */

static int runs_a_program(void)
{
    char *const arguments[] = {(char *)(uintptr_t)"true", NULL};
    execve("/bin/true", arguments, arguments + 1);
    return NOTHING;
}
static int forks(void)
{
    return syscall(SYS_fork) < 0 ? NOTHING : 0;
}
static int clones(void)
{
    return syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, 0) < 0 ? NOTHING : 0;
}
static void *thread_nothing(void *unused)
{
    return unused;
}
static int makes_a_thread(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, thread_nothing, NULL);
    return NOTHING;
}
static int traces(void)
{
    ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
    return NOTHING;
}
static int reads_its_neighbours_memory(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)PAGE, 1};
    process_vm_readv(getppid(), &here, 1, &there, 1, 0);
    return NOTHING;
}
static int kills(void)
{
    kill(getppid(), 0);
    return NOTHING;
}
static int changes_who_it_is(void)
{
    (void)!setresuid(getuid(), getuid(), getuid());
    return NOTHING;
}
static int leaves_its_namespaces(void)
{
    unshare(CLONE_NEWUSER);
    return NOTHING;
}
static int mounts(void)
{
    mount("none", "/tmp", "tmpfs", 0, NULL);
    return NOTHING;
}
static int loads_bpf(void)
{
    syscall(SYS_bpf, 0, NULL, 0);
    return NOTHING;
}
static int makes_an_io_ring(void)
{
    syscall(SYS_io_uring_setup, 1, NULL);
    return NOTHING;
}
static int handles_faults(void)
{
    syscall(SYS_userfaultfd, 0);
    return NOTHING;
}
static int filters_again(void)
{
    syscall(SYS_seccomp, 1, 0, NULL);
    return NOTHING;
}
static int maps_memory_to_write_and_execute(void)
{
    (void)mmap(NULL, PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return NOTHING;
}
static int makes_memory_executable(void)
{
    void *p = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    mprotect(p, PAGE, PROT_READ | PROT_EXEC);
    return NOTHING;
}

static int (*const fatal[])(void) = {
    runs_a_program,
    forks,
    clones,
    makes_a_thread,
    traces,
    reads_its_neighbours_memory,
    kills,
    changes_who_it_is,
    leaves_its_namespaces,
    mounts,
    loads_bpf,
    makes_an_io_ring,
    handles_faults,
    filters_again,
    maps_memory_to_write_and_execute,
    makes_memory_executable,
};

static void what_only_an_intruder_does_ends_the_process(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof fatal / sizeof *fatal; k++) {
        int status = confined_status(fatal[k]);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
            fail_msg("number %zu of those that are to be fatal ended with 0x%x", k + 1, status);
    }
}

/* ---- what stays possible ---- */

static int works(void)
{
    static const uint8_t code[] = {0xb8, 42, 0, 0, 0, 0xc3}; /* mov eax, 42; ret */
    struct error e;
    char byte = 7;
    int fd = memory_file("code", code, sizeof code, PAGE, true, true, &e);
    void *p = fd < 0 ? MAP_FAILED : mmap(NULL, PAGE, PROT_READ | PROT_EXEC, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED || ((int (*)(void))(uintptr_t)p)() != 42)
        return 1;
    struct iovec bytes = {&byte, 1};
    struct msghdr m = {.msg_iov = &bytes, .msg_iovlen = 1};
    if (sendto(datagram, "a", 1, MSG_NOSIGNAL, NULL, 0) != 1 || write(datagram, "b", 1) != 1 ||
        recv(listener, &byte, 1, 0) != 1 || byte != 'a' || recv(listener, &byte, 1, 0) != 1 ||
        byte != 'b' || shutdown(datagram, SHUT_RDWR) != 0 || close(datagram) != 0)
        return 2;
    byte = 7;
    if (sendmsg(link_ends[0], &m, 0) != 1)
        return 5;
    int data = memory_file("data", &byte, 1, PAGE, false, false, &e);
    if (data < 0 || pread(data, &byte, 1, 0) != 1 || byte != 7)
        return 3;
    return raise(SIGURG) == 0 ? NOTHING : 4; /* to itself; ignored */
}

static void sealed_code_memory_files_and_sockets_are_left_to_it(void **state)
{
    (void)state;
    int status = confined_status(works);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), NOTHING);
}

/* ---- threads ---- */

static pthread_barrier_t barrier;

static void *thread_open(void *result)
{
    pthread_barrier_wait(&barrier);
    *(int *)result = open("/etc/hostname", O_RDONLY) < 0 ? errno : 0;
    return NULL;
}

static int thread_before(void)
{
    struct error e;
    pthread_t thread;
    int result = 0;
    pthread_barrier_init(&barrier, NULL, 2);
    pthread_create(&thread, NULL, thread_open, &result);
    if (worker_confine(-1, &e) < 0)
        return UNLOCKED;
    pthread_barrier_wait(&barrier);
    pthread_join(thread, NULL);
    return result == EPERM ? NOTHING : 1;
}

static void threads_that_were_there_before_are_confined_too(void **state)
{
    (void)state;
    int status = 0;
    pid_t child = fork();
    if (child == 0)
        _exit(thread_before());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), NOTHING);
}

/* ---- a worker ---- */

/* The number that stands behind the name in a thread's status. */
static int thread_status(pid_t pid, const char *thread, const char *name)
{
    char path[320], line[256];
    int value = -1;
    snprintf(path, sizeof path, "/proc/%d/task/%s/status", pid, thread);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file))
        if (strncmp(line, name, strlen(name)) == 0)
            value = atoi(line + strlen(name));
    fclose(file);
    return value;
}

static void a_worker_runs_guests_with_every_thread_confined(void **state)
{
    (void)state;
    const struct worker_settings settings = {.threads = 3};
    char path[64];
    int threads = 0;
    struct supervisor *s = supervisor_start(&settings);
    assert_int_equal(
        supervisor_load(s, 1, GUEST_MODULES "/calls.wasm", "{\"name\":\"acme/calls\"}", -1), 0);
    assert_int_equal(supervisor_run(s, 1, "n")->result.status, CALL_OK);
    snprintf(path, sizeof path, "/proc/%d/task", s->pid);
    DIR *tasks = opendir(path);
    assert_non_null(tasks);
    for (struct dirent *entry; (entry = readdir(tasks));) {
        if (entry->d_name[0] == '.')
            continue;
        assert_int_equal(thread_status(s->pid, entry->d_name, "Seccomp:"), 2);
        assert_int_equal(thread_status(s->pid, entry->d_name, "NoNewPrivs:"), 1);
        threads++;
    }
    closedir(tasks);
    assert_int_equal(threads, 5); /* its first, the timekeeper, three that run guests */
    assert_int_equal(supervisor_stop(s, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_library_may_try_is_refused_and_the_process_goes_on),
        cmocka_unit_test(what_only_an_intruder_does_ends_the_process),
        cmocka_unit_test(sealed_code_memory_files_and_sockets_are_left_to_it),
        cmocka_unit_test(threads_that_were_there_before_are_confined_too),
        cmocka_unit_test(a_worker_runs_guests_with_every_thread_confined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
