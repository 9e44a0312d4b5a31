/* Waiting: for times, for input, for whichever comes first. Whoever gives the input watches the
 * output: a line after "not at once either" and after "without waiting", then the end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

static double since(const struct timespec *began)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - began->tv_sec) + (double)(now.tv_nsec - began->tv_nsec) * 1e-9;
}

int main(void)
{
    char text[100];
    struct timespec began, pause = {.tv_nsec = 30000000};
    setvbuf(stdout, NULL, _IOLBF, 0);
    clock_gettime(CLOCK_MONOTONIC, &began);
    printf("slept: %d\n", nanosleep(&pause, NULL));
    printf("long enough: %s\n", since(&began) >= 0.03 ? "yes" : "no");

    printf("a time that has passed: %d\n",
           clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &began, NULL));

    struct pollfd input = {.fd = 0, .events = POLLIN};
    clock_gettime(CLOCK_MONOTONIC, &began);
    printf("nothing yet: %d\n", poll(&input, 1, 20));
    printf("long enough: %s\n", since(&began) >= 0.02 ? "yes" : "no");
    printf("not at once either: %d\n", poll(&input, 1, 0));
    printf("input: %d", poll(&input, 1, -1));
    printf(" %s\n", input.revents & POLLIN ? "to be read" : "?");
    printf("read %zd: %.5s\n", read(0, text, sizeof text), text);

    fcntl(0, F_SETFL, O_NONBLOCK);
    printf("without waiting: %s\n",
           read(0, text, sizeof text) < 0 && errno == EAGAIN ? "again" : "?");
    fcntl(0, F_SETFL, 0);
    ssize_t len = read(0, text, sizeof text);
    printf("with waiting %zd: %.*s\n", len, (int)(len > 0 ? len - 1 : 0), text);
    printf("the end: %zd\n", read(0, text, sizeof text));
    printf("the end is ready: %d\n", poll(&input, 1, -1));
    struct pollfd both[2] = {{.fd = 0, .events = POLLIN}, {.fd = 1, .events = POLLOUT}};
    printf("output is ready: %d\n", poll(both, 2, 1000) >= 1 && (both[1].revents & POLLOUT) != 0);
    return 0;
}
