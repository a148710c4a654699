/* The floor: an echo server in C on one thread, to hold the Python ones against.
 *
 * It does what pyiocp's Session does, and nothing else: 32 AcceptEx outstanding, a receive and a
 * send operation a connection, skip-on-success, packets dequeued in batches, and what finishes on
 * the spot put behind what is ready, so that no connection starves another. A connection sends
 * back what it received before it receives again.
 *
 *     floor ROLE
 *
 * ROLE is echo, or broadcast: what comes on one connection goes to all, from one buffer. Or
 * datagrams, which are echoed as pyiocp's datagram server does it: one receive is pending, and what
 * else has come when it ends is fetched by calls that do not wait, as what is sent is.
 * Like the others (servers/control.py) it prints where it listens, answers each line of standard
 * input with its CPU times and private bytes, and ends with that.
 */
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <psapi.h>
#include <stdio.h>
#include <stdlib.h>

enum { ACCEPTS = 32, BATCH = 64, RECEIVE_SIZE = 65536, ADDRESS = sizeof(SOCKADDR_STORAGE) + 16 };
enum { DATAGRAM_SIZE = 2048, BURST = 64 };
enum kind { ACCEPT, RECEIVE, SEND, DELIVERY, DATAGRAM };

typedef struct operation {
    OVERLAPPED overlapped; /* first: a packet's OVERLAPPED is its operation */
    struct operation *next; /* in the ready queue */
    struct connection *connection;
    enum kind kind;
    DWORD bytes;
    int failed;
} operation;

typedef struct connection {
    operation receive, send;
    SOCKET socket;
    DWORD sent, filled;
    int pending;
    struct connection *previous, *next; /* of all connections */
    char buffer[RECEIVE_SIZE];
} connection;

typedef struct {
    int deliveries;
    WSABUF buffer;
    char data[];
} message;

typedef struct {
    operation operation;
    message *message;
} delivery;

typedef struct {
    operation operation;
    SOCKET socket;
    char block[2 * ADDRESS];
} acceptance;

static HANDLE port;
static SOCKET listening;
static LPFN_ACCEPTEX accept_ex;
static int broadcasts;
static connection all = {.previous = &all, .next = &all};
static operation *first_ready, **last_ready = &first_ready;

static void fail(const char *what) {
    fprintf(stderr, "floor: %s failed: %d\n", what, WSAGetLastError());
    exit(1);
}

static void enqueue(operation *done, DWORD bytes, int failed) {
    done->bytes = bytes;
    done->failed = failed;
    done->next = NULL;
    *last_ready = done;
    last_ready = &done->next;
}

/* The three outcomes: done on the spot, pending, failed. */
static void submitted(operation *op, int result, DWORD bytes) {
    if (result == 0)
        enqueue(op, bytes, 0);
    else if (WSAGetLastError() != WSA_IO_PENDING)
        enqueue(op, 0, 1);
}

static void receive(connection *c) {
    WSABUF buffer = {RECEIVE_SIZE, c->buffer};
    DWORD bytes = 0, flags = 0;
    ZeroMemory(&c->receive.overlapped, sizeof(OVERLAPPED));
    c->pending++;
    int result = WSARecv(c->socket, &buffer, 1, &bytes, &flags, &c->receive.overlapped, NULL);
    submitted(&c->receive, result, bytes);
}

static void send_rest(connection *c) {
    WSABUF buffer = {c->filled - c->sent, c->buffer + c->sent};
    DWORD bytes = 0;
    ZeroMemory(&c->send.overlapped, sizeof(OVERLAPPED));
    c->pending++;
    int result = WSASend(c->socket, &buffer, 1, &bytes, 0, &c->send.overlapped, NULL);
    submitted(&c->send, result, bytes);
}

static void *allocate(size_t size) {
    void *memory = calloc(1, size);
    if (!memory)
        fail("calloc");
    return memory;
}

/* Send what was received to every connection; its buffer goes with the last delivery. */
static void broadcast(connection *from, DWORD length) {
    message *m = allocate(sizeof *m + length);
    m->buffer = (WSABUF){length, m->data};
    CopyMemory(m->data, from->buffer, length);
    m->deliveries = 1;
    for (connection *c = all.next; c != &all; c = c->next) {
        delivery *d = allocate(sizeof *d);
        DWORD bytes = 0;
        d->operation.kind = DELIVERY;
        d->operation.connection = c;
        d->message = m;
        m->deliveries++;
        c->pending++;
        int result = WSASend(c->socket, &m->buffer, 1, &bytes, 0, &d->operation.overlapped, NULL);
        submitted(&d->operation, result, bytes);
    }
    if (!--m->deliveries)
        free(m);
}

static SOCKET make_socket(int type) {
    SOCKET made = WSASocketW(AF_INET, type, 0, NULL, 0, WSA_FLAG_OVERLAPPED);
    if (made == INVALID_SOCKET)
        fail("WSASocketW");
    return made;
}

static void put_on_port(SOCKET socket) {
    if (!CreateIoCompletionPort((HANDLE)socket, port, 0, 0))
        fail("CreateIoCompletionPort");
    if (!SetFileCompletionNotificationModes((HANDLE)socket, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS | FILE_SKIP_SET_EVENT_ON_HANDLE))
        fail("SetFileCompletionNotificationModes");
}

static void post_accept(acceptance *a) {
    DWORD bytes = 0;
    a->socket = make_socket(SOCK_STREAM);
    ZeroMemory(&a->operation.overlapped, sizeof(OVERLAPPED));
    if (accept_ex(listening, a->socket, a->block, 0, ADDRESS, ADDRESS, &bytes, &a->operation.overlapped))
        enqueue(&a->operation, 0, 0);
    else if (WSAGetLastError() != ERROR_IO_PENDING)
        fail("AcceptEx");
}

static void accepted(acceptance *a) {
    SOCKET socket = a->socket;
    int failed = a->operation.failed;
    post_accept(a);
    if (failed) {
        closesocket(socket);
        return;
    }
    setsockopt(socket, SOL_SOCKET, SO_UPDATE_ACCEPT_CONTEXT, (char *)&listening, sizeof listening);
    put_on_port(socket);
    connection *c = allocate(sizeof *c);
    c->socket = socket;
    c->previous = all.previous;
    c->next = &all;
    c->previous->next = c->next->previous = c;
    c->receive.kind = RECEIVE;
    c->send.kind = SEND;
    c->receive.connection = c->send.connection = c;
    receive(c);
}

/* The one socket of datagrams, and what is received there. */
static struct {
    operation operation;
    SOCKET socket;
    SOCKADDR_IN sender;
    int sender_size;
    DWORD flags;
    char data[DATAGRAM_SIZE];
} datagrams;

static void echo_datagram(int length) {
    sendto(datagrams.socket, datagrams.data, length, 0, (SOCKADDR *)&datagrams.sender, datagrams.sender_size);
}

static void receive_datagram(void) {
    WSABUF buffer = {DATAGRAM_SIZE, datagrams.data};
    datagrams.flags = 0;
    datagrams.sender_size = sizeof datagrams.sender;
    ZeroMemory(&datagrams.operation.overlapped, sizeof(OVERLAPPED));
    int result = WSARecvFrom(datagrams.socket, &buffer, 1, NULL, &datagrams.flags, (SOCKADDR *)&datagrams.sender, &datagrams.sender_size, &datagrams.operation.overlapped, NULL);
    if (result && WSAGetLastError() != WSA_IO_PENDING)
        fail("WSARecvFrom");
}

static void received_datagram(void) {
    int length = datagrams.operation.bytes;
    if (!datagrams.operation.failed)
        echo_datagram(length);
    for (int n = 1; n < BURST; n++) {
        datagrams.sender_size = sizeof datagrams.sender;
        length = recvfrom(datagrams.socket, datagrams.data, DATAGRAM_SIZE, 0, (SOCKADDR *)&datagrams.sender, &datagrams.sender_size);
        if (length < 0)
            break;
        echo_datagram(length);
    }
    receive_datagram();
}

static void dispatch(operation *op) {
    connection *c = op->connection;
    if (op->kind == DATAGRAM) {
        received_datagram();
        return;
    }
    if (op->kind == ACCEPT) {
        accepted((acceptance *)op);
        return;
    }
    c->pending--;
    if (op->kind == DELIVERY) {
        delivery *d = (delivery *)op;
        if (!--d->message->deliveries)
            free(d->message);
        free(d);
    } else if (op->failed || op->bytes == 0) {
        if (c->socket != INVALID_SOCKET) {
            closesocket(c->socket);
            c->previous->next = c->next;
            c->next->previous = c->previous;
        }
        c->socket = INVALID_SOCKET;
    } else if (op->kind == RECEIVE && broadcasts) {
        broadcast(c, op->bytes);
        receive(c);
    } else if (op->kind == RECEIVE) {
        c->filled = op->bytes;
        c->sent = 0;
        send_rest(c);
    } else if ((c->sent += op->bytes) < c->filled)
        send_rest(c);
    else
        receive(c);
    if (c->socket == INVALID_SOCKET && !c->pending)
        free(c);
}

/* Dispatch what is ready now; what becomes ready meanwhile waits for the kernel to be asked. */
static void dispatch_round(void) {
    operation *op = first_ready;
    first_ready = NULL;
    last_ready = &first_ready;
    while (op) {
        operation *next = op->next;
        dispatch(op);
        op = next;
    }
}

/* Bring what the kernel has into the ready queue; return whether the packet of the end came. */
static int gather(void) {
    OVERLAPPED_ENTRY entries[BATCH];
    ULONG count = 0;
    int over = 0;
    DWORD timeout = first_ready ? 0 : INFINITE;
    do {
        if (!GetQueuedCompletionStatusEx(port, entries, BATCH, &count, timeout, FALSE))
            break;
        for (ULONG n = 0; n < count; n++) {
            operation *op = (operation *)entries[n].lpOverlapped;
            if (op)
                enqueue(op, entries[n].dwNumberOfBytesTransferred, (LONG)op->overlapped.Internal < 0);
            else
                over = 1;
        }
        timeout = 0;
    } while (count == BATCH);
    return over;
}

/* Bind a socket to a free port, and return its number. */
static int bind_anywhere(SOCKET made) {
    SOCKADDR_IN address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int size = sizeof address;
    if (bind(made, (SOCKADDR *)&address, size) || getsockname(made, (SOCKADDR *)&address, &size))
        fail("bind");
    return ntohs(address.sin_port);
}

static int serve_datagrams(void) {
    u_long on = 1;
    datagrams.socket = make_socket(SOCK_DGRAM);
    datagrams.operation.kind = DATAGRAM;
    int number = bind_anywhere(datagrams.socket);
    if (ioctlsocket(datagrams.socket, FIONBIO, &on) || !CreateIoCompletionPort((HANDLE)datagrams.socket, port, 0, 0))
        fail("serving datagrams");
    receive_datagram();
    return number;
}

static int serve_streams(void) {
    static acceptance acceptances[ACCEPTS];
    GUID guid = WSAID_ACCEPTEX;
    DWORD bytes;
    BOOL on = TRUE;
    listening = make_socket(SOCK_STREAM);
    int number = bind_anywhere(listening);
    if (listen(listening, SOMAXCONN))
        fail("listen");
    setsockopt(listening, IPPROTO_TCP, TCP_NODELAY, (char *)&on, sizeof on);
    put_on_port(listening);
    if (WSAIoctl(listening, SIO_GET_EXTENSION_FUNCTION_POINTER, &guid, sizeof guid, &accept_ex, sizeof accept_ex, &bytes, NULL, NULL))
        fail("WSAIoctl");
    for (int n = 0; n < ACCEPTS; n++)
        post_accept(&acceptances[n]);
    return number;
}

static double seconds(FILETIME time) {
    return (time.dwLowDateTime + time.dwHighDateTime * 4294967296.0) / 1e7;
}

/* Answer each line of standard input with the CPU times and the private bytes; end with it. */
static DWORD WINAPI answer(void *unused) {
    char line[100];
    FILETIME created, exited, system, user;
    PROCESS_MEMORY_COUNTERS memory;
    (void)unused;
    while (fgets(line, sizeof line, stdin)) {
        GetProcessTimes(GetCurrentProcess(), &created, &exited, &system, &user);
        GetProcessMemoryInfo(GetCurrentProcess(), &memory, sizeof memory);
        printf("{\"user_s\": %f, \"system_s\": %f, \"private_bytes\": %.0f}\n", seconds(user), seconds(system), (double)memory.PagefileUsage);
        fflush(stdout);
    }
    PostQueuedCompletionStatus(port, 0, 0, NULL);
    return 0;
}

int main(int argc, char **argv) {
    WSADATA data;
    const char *role = argc > 1 ? argv[1] : "echo";
    broadcasts = !strcmp(role, "broadcast");
    if (WSAStartup(MAKEWORD(2, 2), &data))
        fail("WSAStartup");
    port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    int number = strcmp(role, "datagrams") ? serve_streams() : serve_datagrams();
    CloseHandle(CreateThread(NULL, 0, answer, NULL, 0, NULL));
    printf("{\"port\": %d}\n", number);
    fflush(stdout);
    while (!gather())
        dispatch_round();
    return 0;
}
