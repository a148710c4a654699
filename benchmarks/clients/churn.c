/* Load on any echo server: connections that come and go.
 *
 *     churn PORT CONNECTIONS SIZE WARM_UP_S SECONDS
 *
 * CONNECTIONS at a time each connect, send one message of SIZE bytes, take its echo and close; then
 * the next one begins in its place. Counts connections, and how long each took from its connect to
 * its echo. They close with a reset, so that the system has ports left for the next ones.
 */
#include "client.h"

enum { SIZE_MAX_BYTES = 65536 };

typedef struct {
    SOCKET socket;
    int received;
    double begun_at;
} connection;

static connection *connections;
static int port, size;
static char message[SIZE_MAX_BYTES];

static void begin_connection(int n) {
    connection *c = &connections[n];
    c->begun_at = now();
    c->received = 0;
    c->socket = connected(port);
    struct linger reset = {1, 0};
    setsockopt(c->socket, SOL_SOCKET, SO_LINGER, (char *)&reset, sizeof reset);
    watch(c->socket, n);
    if (send(c->socket, message, size, 0) != size)
        fail("send");
}

/* Take what came; return whether the connection has had its echo. */
static int serve(connection *c) {
    for (;;) {
        int got = (int)recv(c->socket, message, sizeof message, 0);
        if (got == 0)
            fail("the server closed a connection; receiving");
        if (got < 0) {
            if (WOULD_BLOCK)
                return 0;
            fail("recv");
        }
        if ((c->received += got) == size)
            return 1;
    }
}

int main(int argc, char **argv) {
    int counting = 0;
    double done = 0;
    start("churn");
    if (argc != 6) {
        fprintf(stderr, "usage: churn PORT CONNECTIONS SIZE WARM_UP_S SECONDS\n");
        return 2;
    }
    port = atoi(argv[1]);
    int count = atoi(argv[2]);
    size = atoi(argv[3]);
    double warm_up = atof(argv[4]), seconds = atof(argv[5]);
    if (count < 1 || size < 1 || size > SIZE_MAX_BYTES)
        fail("understanding the numbers: 1 to 65,536 bytes, at least 1 connection;");
    memset(message, 'x', sizeof message);
    connections = allocate(count, sizeof *connections);
    double at = now(), begin = at + warm_up;
    for (int n = 0; n < count; n++)
        begin_connection(n);
    for (; !counting || at < begin + seconds; at = now()) {
        int found = wait_ready(100);
        for (int k = 0; k < found; k++) {
            connection *c = &connections[ready[k]];
            if (!serve(c))
                continue;
            note(now() - c->begun_at);
            done++;
            closesocket(c->socket);
            begin_connection(ready[k]);
        }
        if (!counting && now() >= begin) {
            begin_counting();
            counting = 1;
            begin = now();
            done = 0;
        }
    }
    print_latencies(done, at - begin);
    printf("}\n");
    fflush(stdout);
    return 0;
}
