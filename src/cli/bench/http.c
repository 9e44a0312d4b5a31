/*
 * `atoll bench http`: how many calls a second a node answers over HTTP.
 *
 * A function that does nothing, its instance reset after every call, 32 kept connections with one
 * request at a time each; nginx that answers the same from its configuration (it runs nothing: a
 * ceiling), and node's http server that calls a JavaScript function, under the same load. Rounds
 * alternate. The generator runs on the same processors.
 */
#define _GNU_SOURCE
#include "cli/bench/bench.h"
#include "cli/bench/http_load.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS 32
#define ROUNDS      5

struct server {
    const char *name;
    pid_t pid;
    uint16_t port;
    struct samples rate, p50_us, p99_us;
};

static void quiet(void)
{
    int null = open("/dev/null", O_RDWR);
    dup2(null, 0);
    dup2(null, 1);
    dup2(null, 2);
}

static void nginx_exec(uint16_t port, const char *directory)
{
    char path[256], prefix[256];
    snprintf(path, sizeof path, "%s/nginx.conf", directory);
    snprintf(prefix, sizeof prefix, "%s/", directory);
    FILE *f = fopen(path, "w");
    if (!f)
        _exit(127);
    fprintf(f,
            "daemon off; master_process off; pid %s/pid; error_log /dev/null;\n"
            "events { worker_connections 256; }\n"
            "http { access_log off; keepalive_requests 1000000000;\n"
            " client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s;\n"
            " uwsgi_temp_path %s; scgi_temp_path %s;\n"
            " server { listen 127.0.0.1:%u; location / { return 200 \"\"; } } }\n",
            directory, directory, directory, directory, directory, directory, port);
    fclose(f);
    execlp("nginx", "nginx", "-p", prefix, "-c", path, (char *)NULL);
    execl("/usr/sbin/nginx", "nginx", "-p", prefix, "-c", path, (char *)NULL);
    _exit(127);
}

static void node_exec(uint16_t port)
{
    char script[512];
    snprintf(script, sizeof script,
             "const noop=()=>'';require('http').createServer((q,r)=>{q.on('data',()=>{});"
             "q.on('end',()=>{const b=noop();r.writeHead(200,{'Content-Length':b.length});"
             "r.end(b)})}).listen(%u,'127.0.0.1')",
             port);
    execlp("node", "node", "-e", script, (char *)NULL);
    _exit(127);
}

/* False when there is no such program. */
static bool server_start(struct server *s, const char *directory)
{
    s->port = http_load_free_port();
    s->pid = bench_child();
    if (s->pid == 0) {
        quiet();
        if (strcmp(s->name, "nginx") == 0)
            nginx_exec(s->port, directory);
        node_exec(s->port);
    }
    usleep(300000);
    if (waitpid(s->pid, NULL, WNOHANG) == 0 && http_load_wait(s->port))
        return true;
    s->pid = 0;
    return false;
}

static void round_run(struct server *s, double seconds, bool counted)
{
    static const char request[] = "POST /v1/fn/default/noop HTTP/1.1\r\nHost: localhost\r\n"
                                  "Content-Length: 0\r\n\r\n";
    struct http_load_options options = {.port = s->port,
                                        .request = request,
                                        .request_len = sizeof request - 1,
                                        .connections = CONNECTIONS,
                                        .status = 200,
                                        .seconds = seconds};
    struct http_load_result result;
    http_load_run(&options, 0, &result);
    if (result.errors)
        bench_fail(1, "%s answered %llu requests with another status", s->name,
                   (unsigned long long)result.errors);
    if (counted) {
        samples_add(&s->rate, (double)result.answers / result.seconds);
        samples_add(&s->p50_us, samples_quantile(&result.latency_us, 0.5));
        samples_add(&s->p99_us, samples_quantile(&result.latency_us, 0.99));
    }
    samples_free(&result.latency_us);
}

static void server_add(struct bench *b, struct server *s, double own_rate)
{
    char name[96];
    bool own = own_rate == 0;
    double rate = samples_median(&s->rate);
    if (own)
        snprintf(name, sizeof name, "calls of a no-op, %d connections", CONNECTIONS);
    else
        snprintf(name, sizeof name, "%s under the same load", s->name);
    struct figure figure = {.topic = "http",
                            .name = name,
                            .unit = "/s",
                            .bar = own ? 25000 : NAN,
                            .at_least = true,
                            .peer = own ? NULL : "atoll's",
                            .ratio = own ? NAN : rate / own_rate};
    figures_samples(b->figures, figure, &s->rate, 1);
    figure = (struct figure){
        .topic = "http", .unit = "ms", .bar = own ? 5 : NAN, .ratio = NAN, .name = name};
    snprintf(name, sizeof name, "%s: p99", own ? "latency" : s->name);
    figures_samples(b->figures, figure, &s->p99_us, 1e-3);
    figure.bar = NAN;
    snprintf(name, sizeof name, "%s: p50", own ? "latency" : s->name);
    figures_samples(b->figures, figure, &s->p50_us, 1e-3);
}

void bench_http(struct bench *b)
{
    struct bench_node node;
    enum { SERVERS = 3 };
    struct server servers[SERVERS] = {{.name = "atoll"}, {.name = "nginx"}, {.name = "node"}};
    bench_node_start(&node, NULL);
    bench_deploy(&node, "noop", "noop", "");
    servers[0].pid = node.pid;
    servers[0].port = node.port;
    for (int i = 1; i < SERVERS; i++)
        if (!server_start(&servers[i], node.directory))
            figures_skip(b->figures, servers[i].name, "it does not run here");
    for (int i = 0; i < SERVERS; i++)
        if (servers[i].pid)
            round_run(&servers[i], 0.5, false);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < SERVERS; i++)
            if (servers[i].pid)
                round_run(&servers[i], b->seconds, true);
    double own_rate = samples_median(&servers[0].rate);
    for (int i = 0; i < SERVERS; i++) {
        if (servers[i].pid)
            server_add(b, &servers[i], i ? own_rate : 0);
        if (i && servers[i].pid) {
            kill(servers[i].pid, SIGKILL);
            waitpid(servers[i].pid, NULL, 0);
        }
    }
    bench_node_stop(&node);
}
