/* Load on any UDP echo server: sockets in a closed loop.
 *
 *     datagrams PORT SOCKETS SIZE DEPTH WARM_UP_S SECONDS
 *
 * Each socket keeps DEPTH datagrams of SIZE bytes under way, and sends one more for each that comes
 * back. What has not come back after 200 ms is taken for lost and sent again. Counts datagrams, how
 * long they took, and how many were lost.
 */
#include "client.h"

enum { SIZE_MAX_BYTES = 65507 };

static const double LOST_AFTER_S = 0.2;

typedef struct {
    SOCKET socket;
    double heard_at;
    int under_way;
} peer;

static int size, depth;
static char datagram[SIZE_MAX_BYTES];

static void send_to_depth(peer *p) {
    for (; p->under_way < depth; p->under_way++) {
        double at = now();
        memcpy(datagram, &at, sizeof at);
        if (send(p->socket, datagram, size, 0) != size) {
            if (WOULD_BLOCK)
                return;
            fail("send");
        }
    }
}

int main(int argc, char **argv) {
    int counting = 0;
    long long echoed = 0, lost = 0;
    start("datagrams");
    if (argc != 7) {
        fprintf(stderr, "usage: datagrams PORT SOCKETS SIZE DEPTH WARM_UP_S SECONDS\n");
        return 2;
    }
    struct sockaddr_in address = loopback(atoi(argv[1]));
    int count = atoi(argv[2]);
    size = atoi(argv[3]);
    depth = atoi(argv[4]);
    double warm_up = atof(argv[5]), seconds = atof(argv[6]);
    if (count < 1 || depth < 1 || size < (int)sizeof(double) || size > SIZE_MAX_BYTES)
        fail("understanding the numbers: 8 to 65,507 bytes, the others at least 1;");
    peer *peers = allocate(count, sizeof *peers);
    for (int n = 0; n < count; n++) {
        peers[n].socket = socket(AF_INET, SOCK_DGRAM, 0);
        if (connect(peers[n].socket, (struct sockaddr *)&address, sizeof address))
            fail("connect");
        set_non_blocking(peers[n].socket);
        watch(peers[n].socket, n);
        peers[n].heard_at = now();
        send_to_depth(&peers[n]);
    }
    double at = now(), begin = at + warm_up;
    for (; !counting || at < begin + seconds; at = now()) {
        int found = wait_ready(50);
        for (int k = 0; k < found; k++) {
            peer *p = &peers[ready[k]];
            while (recv(p->socket, datagram, sizeof datagram, 0) == size) {
                double sent_at;
                memcpy(&sent_at, datagram, sizeof sent_at);
                p->heard_at = now();
                note(p->heard_at - sent_at);
                echoed++;
                if (p->under_way)
                    p->under_way--;
            }
            send_to_depth(p);
        }
        at = now();
        for (int n = 0; n < count; n++)
            if (at - peers[n].heard_at > LOST_AFTER_S) {
                lost += peers[n].under_way;
                peers[n].under_way = 0;
                peers[n].heard_at = at;
                send_to_depth(&peers[n]);
            }
        if (!counting && at >= begin) {
            begin_counting();
            counting = 1;
            begin = now();
            echoed = lost = 0;
        }
    }
    print_latencies((double)echoed, at - begin);
    printf(", \"lost\": %lld}\n", lost);
    fflush(stdout);
    return 0;
}
