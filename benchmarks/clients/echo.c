/* Load on any echo server: connections in a closed loop.
 *
 *     echo PORT CONNECTIONS SIZE DEPTH WARM_UP_S SECONDS
 *
 * Each connection keeps DEPTH messages of SIZE bytes under way, and sends one more for each that
 * comes back. The warm-up begins when every connection has had its first echo: until then the
 * server is still accepting. Counts messages, their latencies, and the messages of the slowest
 * connection over the mean of all.
 */
#include "client.h"

enum { CHUNK = 1 << 18, FIRST_ECHO_MAX_S = 120 };

typedef struct {
    SOCKET socket;
    long long received, unsent, messages;
    double *sent_at; /* when each message under way was sent, a ring of DEPTH */
    long long first; /* the oldest message under way */
    int echoed;
} connection;

static connection *connections;
static int count, size, depth, silent;
static char chunk[CHUNK], message[CHUNK];

static void flush(connection *c) {
    while (c->unsent) {
        long long taken = send(c->socket, message, c->unsent < CHUNK ? c->unsent : CHUNK, 0);
        if (taken < 0) {
            if (WOULD_BLOCK)
                break;
            fail("send");
        }
        c->unsent -= taken;
    }
    want_to_write((int)(c - connections), c->unsent > 0);
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
        long long complete = (c->received + got) / size - c->received / size;
        c->received += got;
        double at = now();
        for (long long n = 0; n < complete; n++, c->first++) {
            double *slot = &c->sent_at[c->first % depth];
            note(at - *slot);
            *slot = at;
        }
        c->messages += complete;
        c->unsent += complete * size;
        if (complete && !c->echoed) {
            c->echoed = 1;
            silent--;
        }
        flush(c);
        if (got < CHUNK)
            break;
    }
    flush(c);
}

int main(int argc, char **argv) {
    int counting = 0;
    start("echo");
    if (argc != 7) {
        fprintf(stderr, "usage: echo PORT CONNECTIONS SIZE DEPTH WARM_UP_S SECONDS\n");
        return 2;
    }
    int port = atoi(argv[1]);
    silent = count = atoi(argv[2]);
    size = atoi(argv[3]);
    depth = atoi(argv[4]);
    double warm_up = atof(argv[5]), seconds = atof(argv[6]);
    if (count < 1 || size < 1 || depth < 1)
        fail("understanding the numbers: each is at least 1;");
    memset(message, 'x', sizeof message);
    connections = allocate(count, sizeof *connections);
    for (int n = 0; n < count; n++) {
        connections[n].socket = connected(port);
        connections[n].sent_at = allocate(depth, sizeof(double));
        watch(connections[n].socket, n);
    }
    double at = now(), give_up = at + FIRST_ECHO_MAX_S, begin = 0;
    for (int n = 0; n < count; n++) {
        for (int k = 0; k < depth; k++)
            connections[n].sent_at[k] = at;
        connections[n].unsent = (long long)depth * size;
        flush(&connections[n]);
    }
    for (at = now(); !counting || at < begin + seconds; at = now()) {
        int found = wait_ready(100);
        for (int n = 0; n < found; n++)
            serve(&connections[ready[n]]);
        if (!begin) {
            if (!silent)
                begin = now() + warm_up;
            else if (now() > give_up)
                fail("the first echo of every connection;");
        } else if (!counting && now() >= begin) {
            begin_counting();
            counting = 1;
            begin = now();
            for (int n = 0; n < count; n++)
                connections[n].messages = 0;
        }
    }
    long long total = 0, least = connections[0].messages;
    for (int n = 0; n < count; n++) {
        total += connections[n].messages;
        least = connections[n].messages < least ? connections[n].messages : least;
    }
    print_latencies((double)total, at - begin);
    printf(", \"slowest_share\": %.3f}\n", total ? (double)least * count / total : 0.0);
    fflush(stdout);
    return 0;
}
