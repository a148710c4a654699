/* Load on a server that sends what it receives on any connection to all of them.
 *
 *     broadcast PORT CONNECTIONS SIZE HZ WARM_UP_S SECONDS
 *
 * The first connection sends a message of SIZE bytes HZ times a second, with the time in it. Counts
 * the messages that arrive on all connections, and how long each took from its being sent; so the
 * clock is this program's alone. `share` is how many arrived of those that should have.
 */
#include "client.h"

enum { SIZE_MAX_BYTES = 65536 };

typedef struct {
    SOCKET socket;
    int received; /* bytes of a message that is not complete yet */
    char *message;
} connection;

static connection *connections;
static int count, size;
static long long arrived;
static char chunk[1 << 18];

static void take(connection *c, const char *data, long long length, double at) {
    while (length) {
        long long part = size - c->received < length ? size - c->received : length;
        memcpy(c->message + c->received, data, part);
        c->received += (int)part;
        data += part;
        length -= part;
        if (c->received == size) {
            double sent_at;
            memcpy(&sent_at, c->message, sizeof sent_at);
            note(at - sent_at);
            c->received = 0;
            arrived++;
        }
    }
}

static void serve(connection *c) {
    for (;;) {
        long long got = recv(c->socket, chunk, sizeof chunk, 0);
        if (got == 0)
            fail("the server closed a connection; receiving");
        if (got < 0) {
            if (WOULD_BLOCK)
                return;
            fail("recv");
        }
        take(c, chunk, got, now());
    }
}

static void publish(void) {
    static char message[SIZE_MAX_BYTES];
    double at = now();
    memcpy(message, &at, sizeof at);
    if (send(connections[0].socket, message, size, 0) != size)
        fail("send");
}

int main(int argc, char **argv) {
    int counting = 0;
    start("broadcast");
    if (argc != 7) {
        fprintf(stderr, "usage: broadcast PORT CONNECTIONS SIZE HZ WARM_UP_S SECONDS\n");
        return 2;
    }
    int port = atoi(argv[1]);
    count = atoi(argv[2]);
    size = atoi(argv[3]);
    double period = 1 / atof(argv[4]), warm_up = atof(argv[5]), seconds = atof(argv[6]);
    if (count < 1 || size < (int)sizeof(double) || size > SIZE_MAX_BYTES)
        fail("understanding the numbers: 8 to 65,536 bytes, at least 1 connection;");
    connections = allocate(count, sizeof *connections);
    for (int n = 0; n < count; n++) {
        connections[n].socket = connected(port);
        connections[n].message = allocate(1, size);
        watch(connections[n].socket, n);
    }
    /* The server is still accepting: publish until a message has reached every connection. */
    double give_up = now() + 60, at = now(), next = at, begin = 0;
    long long sent = 0;
    while (!counting || at < begin + seconds) {
        if (at >= next) {
            publish();
            sent++;
            next += period;
        }
        int found = wait_ready(next > at ? (int)((next - at) * 1000) + 1 : 0);
        long long before = arrived;
        for (int k = 0; k < found; k++)
            serve(&connections[ready[k]]);
        at = now();
        if (!begin) {
            /* One more message has arrived than a server could have sent to all but one. */
            if (arrived > before && arrived >= (long long)(sent - 1) * count && sent > 1)
                begin = at + warm_up;
            else if (at > give_up || sent > 40)
                begin = at + warm_up;
        } else if (!counting && at >= begin) {
            begin_counting();
            counting = 1;
            begin = at;
            arrived = sent = 0;
        }
    }
    print_latencies((double)arrived, at - begin);
    printf(", \"share\": %.3f}\n", sent ? (double)arrived / count / sent : 0.0);
    fflush(stdout);
    return 0;
}
