/* A load generator for any echo server: connections in a closed loop, on one thread.
 *
 *     load PORT CONNECTIONS SIZE DEPTH WARM_UP_S SECONDS [EVERY_S]
 *
 * Each connection keeps DEPTH messages of SIZE bytes under way, and sends one more for each that
 * comes back. The warm-up begins when every connection has had its first echo: until then the
 * server is still accepting. Prints one line of JSON: messages a second, their latencies in
 * milliseconds, and the messages of the slowest connection over the mean of all.
 *
 * With EVERY_S each connection sends one message every so many seconds instead, whether the one
 * before is back or not, and DEPTH means nothing. The connections take turns, evenly over that
 * time. Latencies then count from when a message was due: so what waits in here for its turn
 * counts as late, too. Every byte that comes back is compared with what was sent, and at the end
 * what is under way has 60 s: the line also says how many messages were sent in all, and how
 * many of them are lost. A changed byte ends the program with an error.
 *
 * In C, so that the client is never the limit; on Linux with epoll, on Windows with WSAPoll.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef _WIN32
#include <winsock2.h>
#include <ws2tcpip.h>
#define WOULD_BLOCK (WSAGetLastError() == WSAEWOULDBLOCK)
#else
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#define WOULD_BLOCK (errno == EAGAIN)
#define closesocket close
typedef int SOCKET;
#endif

enum { CHUNK = 1 << 18, FIRST_ECHO_MAX_S = 60, LAST_ECHO_MAX_S = 60, PERIOD = 1 << 16 };

typedef struct {
    SOCKET socket;
    long long received, unsent, messages;
    long long sent, echoes; /* messages of all phases, where every byte is compared */
    double *sent_at; /* when each message under way was sent, a ring of DEPTH */
    long long first; /* the oldest message under way */
    int echoed;
} connection;

static connection *connections;
static int count, size, depth;
static double every, paced_from;
static long long turns; /* messages that have been due since then, on all connections */
static char chunk[CHUNK], message[CHUNK];
/* What a connection sends, byte for byte, wherever it begins; over and over. */
static char stream[PERIOD + CHUNK];
static float *latencies;
static size_t latency_count, latency_room;

static void fail(const char *what) {
    fprintf(stderr, "load: %s failed\n", what);
    exit(1);
}

static double now(void) {
#ifdef _WIN32
    LARGE_INTEGER ticks, frequency;
    QueryPerformanceCounter(&ticks);
    QueryPerformanceFrequency(&frequency);
    return (double)ticks.QuadPart / frequency.QuadPart;
#else
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
#endif
}

/* Readiness: which connections can be read, or written to if they have something unsent. */
#ifdef _WIN32
static WSAPOLLFD *polled;

static void watch_all(void) {
    polled = calloc(count, sizeof *polled);
    for (int n = 0; n < count; n++)
        polled[n].fd = connections[n].socket;
}

static int wait_ready(connection **ready, int most, int timeout_ms) {
    int found = 0;
    for (int n = 0; n < count; n++)
        polled[n].events = POLLIN | (connections[n].unsent ? POLLOUT : 0);
    if (WSAPoll(polled, count, timeout_ms) < 0)
        fail("WSAPoll");
    for (int n = 0; n < count && found < most; n++)
        if (polled[n].revents)
            ready[found++] = &connections[n];
    return found;
}
#else
static int epoll;

static void watch_all(void) {
    epoll = epoll_create1(0);
    for (int n = 0; n < count; n++) {
        /* Edge-triggered: a connection that waits to send is told once that it can. */
        struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {&connections[n]}};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, connections[n].socket, &event))
            fail("epoll_ctl");
    }
}

static int wait_ready(connection **ready, int most, int timeout_ms) {
    static struct epoll_event events[1024];
    int found = epoll_wait(epoll, events, most < 1024 ? most : 1024, timeout_ms);
    for (int n = 0; n < found; n++)
        ready[n] = events[n].data.ptr;
    return found;
}
#endif

static void make(connection *c, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->socket = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(c->socket, (struct sockaddr *)&address, sizeof address))
        fail("connect");
    setsockopt(c->socket, IPPROTO_TCP, TCP_NODELAY, (char *)&on, sizeof on);
#ifdef _WIN32
    u_long non_blocking = 1;
    ioctlsocket(c->socket, FIONBIO, &non_blocking);
#else
    fcntl(c->socket, F_SETFL, O_NONBLOCK);
#endif
    c->sent_at = calloc(depth, sizeof *c->sent_at);
}

/* What comes at a position of a connection's stream. Connections begin at different ones. */
static const char *expected(connection *c, long long position) {
    return stream + (position + 4099 * (c - connections)) % PERIOD;
}

static void flush(connection *c) {
    while (c->unsent) {
        const char *data = every ? expected(c, c->sent * size - c->unsent) : message;
        long long taken = send(c->socket, data, c->unsent < CHUNK ? c->unsent : CHUNK, 0);
        if (taken < 0) {
            if (WOULD_BLOCK)
                return;
            fail("send");
        }
        c->unsent -= taken;
    }
}

static void note(double latency) {
    if (latency_count == latency_room) {
        latency_room = latency_room ? 2 * latency_room : 1 << 20;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
        if (!latencies)
            fail("realloc");
    }
    latencies[latency_count++] = (float)latency;
}

/* Send what is due by now. */
static void send_due(double at) {
    for (; paced_from + turns * every / count <= at; turns++) {
        connection *c = &connections[turns % count];
        if (c->sent - c->first == depth)
            fail("keeping track of so many messages under way;");
        c->sent_at[c->sent++ % depth] = paced_from + turns * every / count;
        c->unsent += size;
        flush(c);
    }
}

/* Take what came, and send one message for each that is complete. */
static void serve(connection *c) {
    for (;;) {
        long long got = recv(c->socket, chunk, CHUNK, 0);
        if (got == 0)
            fail("the server closed a connection; receiving");
        if (got < 0) {
            if (WOULD_BLOCK)
                break;
            fail("recv");
        }
        if (every && memcmp(chunk, expected(c, c->received), got))
            fail("the server changed a byte; comparing");
        long long complete = (c->received + got) / size - c->received / size;
        c->received += got;
        double at = now();
        for (long long n = 0; n < complete; n++, c->first++) {
            double *slot = &c->sent_at[c->first % depth];
            note(at - *slot);
            *slot = at;
        }
        c->messages += complete;
        c->echoes += complete;
        if (!every) {
            c->sent += complete;
            c->unsent += complete * size;
        }
        c->echoed = c->echoed || complete;
        flush(c);
        if (got < CHUNK)
            break;
    }
    flush(c);
}

static void serve_ready(int timeout_ms) {
    static connection *ready[1024];
    int found = wait_ready(ready, 1024, timeout_ms);
    for (int n = 0; n < found; n++)
        serve(ready[n]);
}

/* How many messages are not back. */
static long long under_way(void) {
    long long messages = 0;
    for (int n = 0; n < count; n++)
        messages += connections[n].sent - connections[n].echoes;
    return messages;
}

static int ascending(const void *a, const void *b) {
    float difference = *(const float *)a - *(const float *)b;
    return (difference > 0) - (difference < 0);
}

static double quantile_ms(double which) {
    return latency_count ? latencies[(size_t)(which * (latency_count - 1))] * 1000 : 0;
}

int main(int argc, char **argv) {
    int silent = 0, counting = 0;
    if (argc != 7 && argc != 8) {
        fprintf(stderr, "usage: load PORT CONNECTIONS SIZE DEPTH WARM_UP_S SECONDS [EVERY_S]\n");
        return 2;
    }
    int port = atoi(argv[1]);
    count = atoi(argv[2]);
    size = atoi(argv[3]);
    depth = atoi(argv[4]);
    double warm_up = atof(argv[5]), seconds = atof(argv[6]);
    if (count < 1 || size < 1 || depth < 1)
        fail("understanding the numbers: each is at least 1;");
    if (argc == 8) {
        every = atof(argv[7]);
        if (every <= 0)
            fail("understanding EVERY_S: it is above 0;");
        /* None is overwritten, even if nothing comes back. */
        depth = (int)((warm_up + seconds) / every) + 3;
    }
#ifdef _WIN32
    WSADATA data;
    if (WSAStartup(MAKEWORD(2, 2), &data))
        fail("WSAStartup");
#else
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
#endif
    memset(message, 'x', sizeof message);
    for (unsigned n = 0, x = 1; n < sizeof stream; n++) {
        stream[n] = n < PERIOD ? (char)(x >> 16) : stream[n - PERIOD];
        x = x * 1103515245 + 12345;
    }
    connections = calloc(count, sizeof *connections);
    for (int n = 0; n < count; n++)
        make(&connections[n], port);
    watch_all();
    double at = now(), give_up = at + FIRST_ECHO_MAX_S, begin = 0;
    for (int n = 0; n < count; n++) {
        connections[n].sent = every ? 1 : depth;
        for (int k = 0; k < depth; k++)
            connections[n].sent_at[k] = at;
        connections[n].unsent = connections[n].sent * size;
        flush(&connections[n]);
    }
    for (at = now(); !begin || at < begin + seconds; at = now()) {
        if (every && begin)
            send_due(at);
        serve_ready(every && begin ? 1 : 100);
        if (!begin) {
            silent = 0;
            for (int n = 0; n < count; n++)
                silent += !connections[n].echoed;
            if (!silent)
                begin = (paced_from = now()) + warm_up;
            else if (now() > give_up)
                fail("the first echo of every connection;");
        } else if (!counting && now() >= begin) {
            counting = 1;
            begin = now();
            latency_count = 0;
            for (int n = 0; n < count; n++)
                connections[n].messages = 0;
        }
    }
    long long total = 0, least = connections[0].messages;
    for (int n = 0; n < count; n++) {
        total += connections[n].messages;
        least = connections[n].messages < least ? connections[n].messages : least;
    }
    give_up = now() + LAST_ECHO_MAX_S;
    while (every && under_way() && now() < give_up)
        serve_ready(100);
    for (int n = 0; n < count; n++)
        closesocket(connections[n].socket);
    qsort(latencies, latency_count, sizeof *latencies, ascending);
    printf("{\"messages_per_s\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, \"p999_ms\": %.3f, "
           "\"longest_ms\": %.3f, \"slowest_share\": %.3f",
           total / (at - begin), quantile_ms(0.5), quantile_ms(0.99), quantile_ms(0.999),
           quantile_ms(1), total ? (double)least * count / total : 0.0);
    if (every)
        printf(", \"sent\": %lld, \"lost\": %lld", turns + count, under_way());
    printf("}\n");
    return 0;
}
