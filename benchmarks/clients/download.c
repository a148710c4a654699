/* Load on a server that sends a file to whoever connects, and closes.
 *
 *     download PORT CONNECTIONS WARM_UP_S SECONDS
 *
 * CONNECTIONS at a time take all that comes until the end; then the next one begins in its place.
 * Counts megabytes (1,000,000 bytes), and how long each download took.
 */
#include "client.h"

typedef struct {
    SOCKET socket;
    double begun_at;
} download;

static download *downloads;
static int port;
static char chunk[1 << 20];

static void begin_download(int n) {
    downloads[n].begun_at = now();
    downloads[n].socket = connected(port);
    watch(downloads[n].socket, n);
}

int main(int argc, char **argv) {
    int counting = 0;
    double bytes = 0;
    start("download");
    if (argc != 5) {
        fprintf(stderr, "usage: download PORT CONNECTIONS WARM_UP_S SECONDS\n");
        return 2;
    }
    port = atoi(argv[1]);
    int count = atoi(argv[2]);
    double warm_up = atof(argv[3]), seconds = atof(argv[4]);
    if (count < 1)
        fail("understanding the numbers: at least 1 connection;");
    downloads = allocate(count, sizeof *downloads);
    double at = now(), begin = at + warm_up;
    for (int n = 0; n < count; n++)
        begin_download(n);
    for (; !counting || at < begin + seconds; at = now()) {
        int found = wait_ready(100);
        for (int k = 0; k < found; k++) {
            download *d = &downloads[ready[k]];
            long long got;
            while ((got = recv(d->socket, chunk, sizeof chunk, 0)) > 0)
                bytes += (double)got;
            if (got < 0 && WOULD_BLOCK)
                continue;
            if (got < 0)
                fail("recv");
            note(now() - d->begun_at);
            closesocket(d->socket);
            begin_download(ready[k]);
        }
        if (!counting && now() >= begin) {
            begin_counting();
            counting = 1;
            begin = now();
            bytes = 0;
        }
    }
    print_latencies(bytes / 1e6, at - begin);
    printf("}\n");
    fflush(stdout);
    return 0;
}
