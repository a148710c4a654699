/* What the benchmark's clients share: sockets of Linux and of Windows, a clock, waiting, quantiles.
 *
 * A client is a program on one thread. It prints one line when it begins to count, at which the
 * benchmark asks the server for its CPU time, and one line of JSON with its figures at the end.
 */
#ifndef CLIENT_H
#define CLIENT_H

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
#define WOULD_BLOCK (errno == EAGAIN || errno == EWOULDBLOCK)
#define closesocket close
typedef int SOCKET;
#endif

enum { READY_MAX = 1024 };

static const char *program = "client";

static inline void fail(const char *what) {
    fprintf(stderr, "%s: %s failed\n", program, what);
    exit(1);
}

static inline double now(void) {
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

static inline void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory)
        fail("allocating memory");
    return memory;
}

/* Begin: the sockets of this system, and as many of them as it lets us have. */
static inline void start(const char *name) {
    program = name;
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
}

static inline struct sockaddr_in loopback(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

static inline void set_non_blocking(SOCKET s) {
#ifdef _WIN32
    u_long on = 1;
    ioctlsocket(s, FIONBIO, &on);
#else
    fcntl(s, F_SETFL, O_NONBLOCK);
#endif
}

/* Return a connected socket that does not block and sends at once. */
static inline SOCKET connected(int port) {
    struct sockaddr_in address = loopback(port);
    int on = 1;
    SOCKET s = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(s, (struct sockaddr *)&address, sizeof address))
        fail("connect");
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, (char *)&on, sizeof on);
    set_non_blocking(s);
    return s;
}

/* Readiness. `watch` says what is to be told of a socket, for as long as it is open; `wait_ready`
 * fills `ready` with the numbers of those that can be read, or written to if that was wanted. */
static int ready[READY_MAX];

#ifdef _WIN32
static WSAPOLLFD *watched;
static int watched_count, watched_room;

static inline void watch(SOCKET s, int number) {
    if (number >= watched_room) {
        int room = number < 64 ? 128 : 2 * number;
        watched = realloc(watched, room * sizeof *watched);
        for (int n = watched_room; n < room; n++)
            watched[n].fd = INVALID_SOCKET;
        watched_room = room;
    }
    watched[number] = (WSAPOLLFD){.fd = s, .events = POLLIN};
    watched_count = number < watched_count ? watched_count : number + 1;
}

static inline void want_to_write(int number, int wanted) {
    watched[number].events = POLLIN | (wanted ? POLLOUT : 0);
}

static inline int wait_ready(int timeout_ms) {
    int found = 0;
    if (WSAPoll(watched, watched_count, timeout_ms) < 0)
        fail("WSAPoll");
    for (int n = 0; n < watched_count && found < READY_MAX; n++)
        if (watched[n].revents)
            ready[found++] = n;
    return found;
}
#else
static int epoll = -1;

static inline void watch(SOCKET s, int number) {
    /* Edge-triggered: one that waits to send is told once that it can. */
    struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {.u32 = (unsigned)number}};
    if (epoll < 0)
        epoll = epoll_create1(0);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, s, &event))
        fail("epoll_ctl");
}

#define want_to_write(number, wanted) ((void)(number), (void)(wanted))

static inline int wait_ready(int timeout_ms) {
    static struct epoll_event events[READY_MAX];
    int found = epoll_wait(epoll, events, READY_MAX, timeout_ms);
    for (int n = 0; n < found; n++)
        ready[n] = (int)events[n].data.u32;
    return found;
}
#endif

/* Latencies, in seconds, and their quantiles in milliseconds. */
static float *latencies;
static size_t latency_count, latency_room;

static inline void note(double latency) {
    if (latency_count == latency_room) {
        latency_room = latency_room ? 2 * latency_room : 1 << 20;
        latencies = realloc(latencies, latency_room * sizeof *latencies);
        if (!latencies)
            fail("realloc");
    }
    latencies[latency_count++] = (float)latency;
}

static inline int ascending(const void *a, const void *b) {
    float difference = *(const float *)a - *(const float *)b;
    return (difference > 0) - (difference < 0);
}

static inline double quantile_ms(double which) {
    return latency_count ? latencies[(size_t)(which * (latency_count - 1))] * 1000 : 0;
}

static inline void begin_counting(void) {
    latency_count = 0;
    printf("counting\n");
    fflush(stdout);
}

/* Print what every client prints; the caller closes the brace, or adds figures of its own. */
static inline void print_latencies(double count, double seconds) {
    qsort(latencies, latency_count, sizeof *latencies, ascending);
    printf("{\"count\": %.0f, \"per_s\": %.1f, \"p50_ms\": %.3f, \"p99_ms\": %.3f, "
           "\"p999_ms\": %.3f",
           count, count / seconds, quantile_ms(0.5), quantile_ms(0.99), quantile_ms(0.999));
}

#endif
