/* Load on any echo server: connections that are held, each sending at a steady rate.
 *
 *     held PORT CONNECTIONS SIZE EVERY_S WARM_UP_S SECONDS
 *
 * Each connection sends a message of SIZE bytes every EVERY_S seconds, whether the one before is
 * back or not. The connections take turns, evenly over that time. Latencies count from when a
 * message was due: so what waits in here for its turn counts as late, too. Every byte that comes
 * back is compared with what was sent; a changed one ends the program with an error. At the end
 * what is under way has 60 s. Counts the messages of the time that is counted; `sent` and `lost` are
 * those of all phases.
 */
#include "client.h"

enum { CHUNK = 1 << 18, PERIOD = 1 << 16 };

static const double FIRST_ECHO_MAX_S = 120, LAST_ECHO_MAX_S = 60;

typedef struct {
    SOCKET socket;
    long long received, unsent, sent, echoes;
    double *due_at; /* when each message under way was due, a ring */
} connection;

static connection *connections;
static int count, size, ring, silent;
static double every, paced_from;
static long long turns; /* messages that have been due since then, on all connections */
static long long counted;
static char chunk[CHUNK];
/* What a connection sends, byte for byte, wherever it begins; over and over. */
static char stream[PERIOD + CHUNK];

/* What comes at a position of a connection's stream. Connections begin at different ones. */
static const char *expected(connection *c, long long position) {
    return stream + (position + 4099 * (c - connections)) % PERIOD;
}

static void flush(connection *c) {
    while (c->unsent) {
        const char *data = expected(c, c->sent * size - c->unsent);
        long long taken = send(c->socket, data, c->unsent < CHUNK ? c->unsent : CHUNK, 0);
        if (taken < 0) {
            if (WOULD_BLOCK)
                break;
            fail("send");
        }
        c->unsent -= taken;
    }
    want_to_write((int)(c - connections), c->unsent > 0);
}

static void send_message(connection *c, double due) {
    if (c->sent - c->echoes == ring)
        fail("keeping track of so many messages under way;");
    c->due_at[c->sent++ % ring] = due;
    c->unsent += size;
    flush(c);
}

static void send_due(double at) {
    for (; paced_from + turns * every / count <= at; turns++)
        send_message(&connections[turns % count], paced_from + turns * every / count);
}

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
        if (memcmp(chunk, expected(c, c->received), got))
            fail("the server changed a byte; comparing");
        long long complete = (c->received + got) / size - c->received / size;
        c->received += got;
        silent -= complete && !c->echoes;
        counted += complete;
        for (double at = now(); complete; complete--)
            note(at - c->due_at[c->echoes++ % ring]);
        if (got < CHUNK)
            break;
    }
    flush(c);
}

static void serve_ready(int timeout_ms) {
    int found = wait_ready(timeout_ms);
    for (int n = 0; n < found; n++)
        serve(&connections[ready[n]]);
}

/* How many messages are not back. */
static long long under_way(void) {
    long long messages = 0;
    for (int n = 0; n < count; n++)
        messages += connections[n].sent - connections[n].echoes;
    return messages;
}

int main(int argc, char **argv) {
    start("held");
    if (argc != 7) {
        fprintf(stderr, "usage: held PORT CONNECTIONS SIZE EVERY_S WARM_UP_S SECONDS\n");
        return 2;
    }
    int port = atoi(argv[1]);
    silent = count = atoi(argv[2]);
    size = atoi(argv[3]);
    every = atof(argv[4]);
    double warm_up = atof(argv[5]), seconds = atof(argv[6]);
    if (count < 1 || size < 1 || every <= 0)
        fail("understanding the numbers: at least 1, and EVERY_S above 0;");
    ring = (int)((warm_up + seconds) / every) + 3; /* none is overwritten, if nothing comes back */
    for (unsigned n = 0, x = 1; n < sizeof stream; n++) {
        stream[n] = n < PERIOD ? (char)(x >> 16) : stream[n - PERIOD];
        x = x * 1103515245 + 12345;
    }
    connections = allocate(count, sizeof *connections);
    for (int n = 0; n < count; n++) {
        connections[n].socket = connected(port);
        connections[n].due_at = allocate(ring, sizeof(double));
        watch(connections[n].socket, n);
    }
    double at = now(), give_up = at + FIRST_ECHO_MAX_S;
    for (int n = 0; n < count; n++)
        send_message(&connections[n], at);
    while (silent) {
        serve_ready(100);
        if (now() > give_up)
            fail("the first echo of every connection;");
    }
    paced_from = now();
    for (double begin = paced_from + warm_up; (at = now()) < begin;) {
        send_due(at);
        serve_ready(1);
    }
    begin_counting();
    counted = 0;
    double begin = now();
    while ((at = now()) < begin + seconds) {
        send_due(at);
        serve_ready(1);
    }
    long long in_time = counted;
    for (give_up = now() + LAST_ECHO_MAX_S; under_way() && now() < give_up;)
        serve_ready(100);
    print_latencies((double)in_time, at - begin);
    printf(", \"longest_ms\": %.3f, \"sent\": %lld, \"lost\": %lld}\n", quantile_ms(1),
           turns + count, under_way());
    fflush(stdout);
    return 0;
}
