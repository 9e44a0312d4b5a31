/*
 * bench-http: what does the HTTP layer cost? First the parser alone, in nanoseconds per request on
 * one thread. Then a server of src/net that answers a static text, beside nginx answering the same
 * from its configuration and a node server doing so from a callback, each with one process, under
 * the same load in the same run: 32 kept connections, one request at a time on each, the generator
 * on the same processors. Rounds of the peers alternate; medians and spreads over the rounds.
 */
#define _GNU_SOURCE
#include "cli/bench/http_load.h"
#include "net/http1.h"
#include "net/http_server.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS 32
#define ROUNDS      7
#define SECONDS     1.0
#define PARSES      200000

/* ---- the parser ---- */

static double parse_ns(const char *request)
{
    struct http1 m;
    struct http1_event event;
    size_t len = strlen(request);
    uint64_t sum = 0;
    http1_init(&m, HTTP1_SERVER);
    int64_t begin = measure_thread_ns();
    for (int i = 0; i < PARSES; i++) {
        size_t used = 0;
        do {
            used += http1_read(&m, request + used, len - used, &event);
            sum += event.len;
        } while (event.kind != HTTP1_END && event.kind != HTTP1_ERROR);
        if (event.kind == HTTP1_ERROR)
            bench_fail(1, "the parser refuses the request: %s", event.reason);
        http1_next(&m);
    }
    int64_t end = measure_thread_ns();
    http1_free(&m);
    return sum < UINT64_MAX ? (double)(end - begin) / PARSES : NAN;
}

static void parser_print(void)
{
    static const struct {
        const char *name, *text;
    } requests[] = {
        {"GET, 2 fields",
         "GET /v1/calls/17 HTTP/1.1\r\nHost: localhost:8420\r\nAccept: */*\r\n\r\n"},
        {"POST, 5 fields, 16 bytes",
         "POST /v1/fn/acme/score?alias=prod HTTP/1.1\r\nHost: localhost:8420\r\n"
         "User-Agent: load/1\r\nAccept: */*\r\nContent-Type: application/octet-stream\r\n"
         "Content-Length: 16\r\n\r\n0123456789abcdef"},
        {"GET of a browser, 12 fields",
         "GET /v1/calls/17?wait=10s HTTP/1.1\r\nHost: localhost:8420\r\nConnection: keep-alive\r\n"
         "Cache-Control: max-age=0\r\nUpgrade-Insecure-Requests: 1\r\n"
         "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
         "Chrome/120.0.0.0 Safari/537.36\r\n"
         "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8\r\n"
         "Sec-Fetch-Site: none\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\n"
         "Sec-Fetch-Dest: document\r\nAccept-Encoding: gzip, deflate, br\r\n"
         "Accept-Language: en-GB,en;q=0.9\r\n\r\n"},
    };
    printf("parser alone, CPU time of the thread, median of 5\n\n");
    printf("%-30s %8s %12s %10s\n", "request", "bytes", "ns/request", "ns/byte");
    for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
        struct samples ns = {0};
        for (int round = 0; round < 5; round++)
            samples_add(&ns, parse_ns(requests[i].text));
        double median = samples_median(&ns);
        size_t len = strlen(requests[i].text);
        printf("%-30s %8zu %12.0f %10.2f\n", requests[i].name, len, median, median / (double)len);
        samples_free(&ns);
    }
    putchar('\n');
}

/* ---- the servers ---- */

struct peer {
    const char *name;
    pid_t (*start)(uint16_t port);
    pid_t pid;
    uint16_t port;
    struct samples rate, p50_us, p99_us, cpu_us;
};

static void on_request(void *context, struct http_request *request)
{
    (void)context;
    struct error e;
    static const struct http_header type = {"Content-Type", "text/plain", 12, 10};
    struct http_response r = {.status = 200,
                              .headers = &type,
                              .header_count = 1,
                              .body = "hello, world\n",
                              .body_len = 13};
    http_respond(request, &r, &e);
}

static pid_t own_start(uint16_t port)
{
    pid_t pid = bench_child();
    if (pid)
        return pid;
    static const struct http_handler handler = {.request = on_request};
    struct http_server_options options = {.handler = &handler};
    struct http_server *server;
    struct error e;
    uv_loop_t *loop = uv_default_loop();
    if (http_server_create(loop, &options, &server, &e) < 0 ||
        http_server_listen(server, NULL, port, NULL, NULL, &e) < 0)
        bench_fail(1, "%s", e.text);
    uv_run(loop, UV_RUN_DEFAULT);
    _exit(0);
}

static void quiet(void)
{
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
}

static char directory[] = "/tmp/atoll-bench-http-XXXXXX";

static pid_t nginx_start(uint16_t port)
{
    char path[128], prefix[128];
    snprintf(path, sizeof path, "%s/nginx.conf", directory);
    snprintf(prefix, sizeof prefix, "%s/", directory);
    FILE *f = fopen(path, "w");
    if (!f)
        bench_fail(1, "cannot write %s", path);
    fprintf(f,
            "daemon off; master_process off; pid %s/pid; error_log /dev/null;\n"
            "events { worker_connections 256; }\n"
            "http { access_log off; keepalive_requests 1000000000;\n"
            " client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s;\n"
            " uwsgi_temp_path %s; scgi_temp_path %s;\n"
            " server { listen 127.0.0.1:%u;\n"
            "  location / { default_type text/plain; return 200 \"hello, world\\n\"; } } }\n",
            directory, directory, directory, directory, directory, directory, port);
    fclose(f);
    pid_t pid = bench_child();
    if (pid)
        return pid;
    quiet();
    execlp("nginx", "nginx", "-p", prefix, "-c", path, (char *)NULL);
    execl("/usr/sbin/nginx", "nginx", "-p", prefix, "-c", path, (char *)NULL);
    _exit(127);
}

static pid_t node_start(uint16_t port)
{
    char script[512];
    snprintf(script, sizeof script,
             "require('http').createServer((q,r)=>{r.writeHead(200,{'Content-Type':'text/plain',"
             "'Content-Length':13});r.end('hello, world\\n')}).listen(%u,'127.0.0.1')",
             port);
    pid_t pid = bench_child();
    if (pid)
        return pid;
    quiet();
    execlp("node", "node", "-e", script, (char *)NULL);
    _exit(127);
}

/* False when there is no such program. */
static bool peer_start(struct peer *p)
{
    p->port = http_load_free_port();
    p->pid = p->start(p->port);
    for (int i = 0; i < 500; i++) {
        if (waitpid(p->pid, NULL, WNOHANG) != 0) {
            p->pid = 0;
            return false;
        }
        usleep(10000);
        if (i % 10 == 0 && http_load_wait(p->port))
            return true;
    }
    return false;
}

static void round_run(struct peer *p, double seconds, bool counted)
{
    static const char request[] = "GET /hello HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n";
    struct http_load_options options = {.port = p->port,
                                        .request = request,
                                        .request_len = sizeof request - 1,
                                        .connections = CONNECTIONS,
                                        .status = 200,
                                        .seconds = seconds};
    struct http_load_result result;
    http_load_run(&options, p->pid, &result);
    if (result.errors)
        bench_fail(1, "%s answered %llu requests with another status", p->name,
                   (unsigned long long)result.errors);
    if (counted) {
        samples_add(&p->rate, (double)result.answers / result.seconds);
        samples_add(&p->p50_us, samples_quantile(&result.latency_us, 0.5));
        samples_add(&p->p99_us, samples_quantile(&result.latency_us, 0.99));
        samples_add(&p->cpu_us, result.server_cpu_us);
    }
    samples_free(&result.latency_us);
}

static void peer_print(struct peer *p, double own_rate)
{
    double rate = samples_median(&p->rate);
    printf("%-12s %9.0f %7.2fx %9.0f – %-9.0f %8.0f %8.0f %10.1f\n", p->name, rate, rate / own_rate,
           samples_quantile(&p->rate, 0), samples_quantile(&p->rate, 1), samples_median(&p->p50_us),
           samples_median(&p->p99_us), samples_median(&p->cpu_us));
}

static void servers_print(void)
{
    struct peer peers[] = {
        {.name = "atoll net", .start = own_start},
        {.name = "nginx", .start = nginx_start},
        {.name = "node http", .start = node_start},
    };
    enum { PEERS = sizeof peers / sizeof *peers };
    for (int i = 0; i < PEERS; i++) {
        if (!peer_start(&peers[i]))
            fprintf(stderr, "skipped: %s does not run here\n", peers[i].name);
        else
            round_run(&peers[i], 0.3, false);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < PEERS; i++) {
            if (peers[i].pid)
                round_run(&peers[i], SECONDS, true);
        }
    }
    printf("static answer, %d kept connections, %d rounds of %.0f s, generator on the same "
           "processors\n\n",
           CONNECTIONS, ROUNDS, SECONDS);
    printf("%-12s %9s %8s %21s %8s %8s %10s\n", "server", "req/s", "ratio", "spread", "p50 us",
           "p99 us", "CPU us/req");
    double own_rate = samples_median(&peers[0].rate);
    for (int i = 0; i < PEERS; i++) {
        if (peers[i].pid) {
            peer_print(&peers[i], own_rate);
            kill(peers[i].pid, SIGKILL);
            waitpid(peers[i].pid, NULL, 0);
        }
        samples_free(&peers[i].rate);
        samples_free(&peers[i].p50_us);
        samples_free(&peers[i].p99_us);
        samples_free(&peers[i].cpu_us);
    }
}

int main(void)
{
    environment_print();
    parser_print();
    if (!mkdtemp(directory))
        bench_fail(1, "cannot make a directory: %s", strerror(errno));
    servers_print();
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    return system(command) == 0 ? 0 : 1;
}
