/* The floor: an echo server in C on one thread, to hold the Python ones against.
 *
 * It does what pyiocp's Session does, and nothing else: 32 AcceptEx outstanding, a receive and a
 * send operation a connection, skip-on-success, packets dequeued in batches, and what finishes on
 * the spot put behind what is ready, so that no connection starves another. A connection sends
 * back what it received before it receives again.
 *
 * Like servers.py it prints the ports that it listens at, serves until the control connection
 * ends, and prints the CPU time that it took.
 */
#include <winsock2.h>
#include <ws2tcpip.h>
#include <mswsock.h>
#include <stdio.h>
#include <stdlib.h>

enum { ACCEPTS = 32, BATCH = 64, RECEIVE_SIZE = 65536, ADDRESS = sizeof(SOCKADDR_STORAGE) + 16 };
enum kind { ACCEPT, RECEIVE, SEND };

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
    char buffer[RECEIVE_SIZE];
} connection;

typedef struct {
    operation operation;
    SOCKET socket;
    char block[2 * ADDRESS];
} acceptance;

static HANDLE port;
static SOCKET listening;
static LPFN_ACCEPTEX accept_ex;
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

static SOCKET make_socket(void) {
    SOCKET made = WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, WSA_FLAG_OVERLAPPED);
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
    a->socket = make_socket();
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
    connection *c = calloc(1, sizeof *c);
    if (!c)
        fail("calloc");
    c->socket = socket;
    c->receive.kind = RECEIVE;
    c->send.kind = SEND;
    c->receive.connection = c->send.connection = c;
    receive(c);
}

static void dispatch(operation *op) {
    connection *c = op->connection;
    if (op->kind == ACCEPT) {
        accepted((acceptance *)op);
        return;
    }
    c->pending--;
    if (op->failed || op->bytes == 0) {
        closesocket(c->socket);
        c->socket = INVALID_SOCKET;
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

static SOCKET listen_anywhere(SOCKET made, int *number) {
    SOCKADDR_IN address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int size = sizeof address;
    if (bind(made, (SOCKADDR *)&address, size) || listen(made, SOMAXCONN) || getsockname(made, (SOCKADDR *)&address, &size))
        fail("listening");
    *number = ntohs(address.sin_port);
    return made;
}

static DWORD WINAPI watch_control(void *control) {
    char byte;
    SOCKET connection = accept((SOCKET)control, NULL, NULL);
    recv(connection, &byte, 1, 0);
    PostQueuedCompletionStatus(port, 0, 0, NULL);
    return 0;
}

static double seconds(FILETIME time) {
    return (time.dwLowDateTime + time.dwHighDateTime * 4294967296.0) / 1e7;
}

int main(void) {
    static acceptance acceptances[ACCEPTS];
    WSADATA data;
    GUID guid = WSAID_ACCEPTEX;
    DWORD bytes;
    BOOL on = TRUE;
    int echo_number, control_number;
    if (WSAStartup(MAKEWORD(2, 2), &data))
        fail("WSAStartup");
    port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    listening = listen_anywhere(make_socket(), &echo_number);
    setsockopt(listening, IPPROTO_TCP, TCP_NODELAY, (char *)&on, sizeof on);
    put_on_port(listening);
    if (WSAIoctl(listening, SIO_GET_EXTENSION_FUNCTION_POINTER, &guid, sizeof guid, &accept_ex, sizeof accept_ex, &bytes, NULL, NULL))
        fail("WSAIoctl");
    for (int n = 0; n < ACCEPTS; n++)
        post_accept(&acceptances[n]);
    SOCKET control = listen_anywhere(make_socket(), &control_number);
    CloseHandle(CreateThread(NULL, 0, watch_control, (void *)control, 0, NULL));
    printf("{\"echo\": %d, \"control\": %d}\n", echo_number, control_number);
    fflush(stdout);
    while (!gather())
        dispatch_round();
    FILETIME created, exited, system, user;
    GetProcessTimes(GetCurrentProcess(), &created, &exited, &system, &user);
    printf("{\"user_s\": %f, \"system_s\": %f}\n", seconds(user), seconds(system));
    return 0;
}
