/* A kernel that returns at once: what the system calls of the hot path are replaced by, to see what
 * Python's side of them costs.
 *
 * A receive on a measured socket brings `received_bytes` without delay, a send goes out whole: by a
 * packet, or on the spot, as `receives_on_the_spot` and `sends_on_the_spot` say. A client is there for
 * each accept; its first `messages_of_client` receives bring something, the next one a reset. Packets
 * come in the order in which they were queued; each port measured has a queue, and `queue_used` says
 * whose turn it is. All else goes to Windows, so that a port works as usual: sockets with small
 * numbers, and the real port when there is no packet.
 */
#include <winsock2.h>
#include <windows.h>

#define EXPORTED __declspec(dllexport)

enum { MEASURED = 0x10000000, QUEUES = 64, ROOM = 1 << 14, PENDING = 0x103, RESET = 0xC000020D };
enum { BURST = 64, CLIENTS = 0x18000000, CLIENTS_MAX = 1 << 16 };

typedef struct {
    OVERLAPPED_ENTRY packets[ROOM];
    unsigned first, last;
} queue;

static queue queues[QUEUES];

EXPORTED int received_bytes = 64, receives_on_the_spot, sends_on_the_spot, queue_used;
EXPORTED int messages_of_client = 1;

static int messages_left[CLIENTS_MAX];
static unsigned clients;

static void enqueue(ULONG_PTR key, OVERLAPPED *overlapped, DWORD bytes, DWORD status) {
    OVERLAPPED_ENTRY packet = {key, overlapped, status, bytes};
    queue *used = &queues[queue_used];
    used->packets[used->last++ % ROOM] = packet;
}

static int finish(OVERLAPPED *overlapped, DWORD bytes, int on_the_spot) {
    overlapped->Internal = on_the_spot ? 0 : PENDING;
    overlapped->InternalHigh = bytes;
    if (on_the_spot)
        return 0;
    enqueue(1, overlapped, bytes, 0);
    WSASetLastError(WSA_IO_PENDING);
    return SOCKET_ERROR;
}

static DWORD size(const WSABUF *buffers, DWORD count) {
    DWORD bytes = 0;
    for (DWORD n = 0; n < count; n++)
        bytes += buffers[n].len;
    return bytes;
}

EXPORTED int WSAAPI instant_WSARecv(SOCKET s, WSABUF *buffers, DWORD count, DWORD *received, DWORD *flags, OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
    if (s < MEASURED)
        return WSARecv(s, buffers, count, received, flags, overlapped, routine);
    if (s >= CLIENTS && !messages_left[s - CLIENTS]--) {
        overlapped->Internal = PENDING;
        enqueue(1, overlapped, 0, RESET);
        WSASetLastError(WSA_IO_PENDING);
        return SOCKET_ERROR;
    }
    return finish(overlapped, received_bytes, receives_on_the_spot);
}

EXPORTED int WSAAPI instant_WSASend(SOCKET s, WSABUF *buffers, DWORD count, DWORD *sent, DWORD flags, OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
    if (s < MEASURED)
        return WSASend(s, buffers, count, sent, flags, overlapped, routine);
    return finish(overlapped, size(buffers, count), sends_on_the_spot);
}

EXPORTED SOCKET WSAAPI instant_WSASocketW(int family, int type, int protocol, WSAPROTOCOL_INFOW *information, GROUP group, DWORD flags) {
    (void)family, (void)type, (void)protocol, (void)information, (void)group, (void)flags;
    unsigned client = clients++ % CLIENTS_MAX;
    messages_left[client] = messages_of_client;
    return CLIENTS + client;
}

EXPORTED BOOL WINAPI instant_AcceptEx(SOCKET s, SOCKET into, void *block, DWORD room, DWORD local_room, DWORD peer_room, DWORD *received, OVERLAPPED *overlapped) {
    (void)s, (void)into, (void)block, (void)room, (void)local_room, (void)peer_room, (void)received;
    finish(overlapped, 0, 0);
    return FALSE;
}

EXPORTED void WINAPI instant_GetAcceptExSockaddrs(void *block, DWORD room, DWORD local_room, DWORD peer_room, struct sockaddr **local, int *local_size, struct sockaddr **peer, int *peer_size) {
    static SOCKADDR_IN address = {.sin_family = AF_INET, .sin_port = 9};
    (void)block, (void)room, (void)local_room, (void)peer_room;
    *local = *peer = (struct sockaddr *)&address;
    *local_size = *peer_size = sizeof address;
}

/* Everybody is at 127.0.0.1:9. */
static void say_where(struct sockaddr *name, int *size) {
    SOCKADDR_IN address = {.sin_family = AF_INET, .sin_port = htons(9), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    *(SOCKADDR_IN *)name = address;
    *size = sizeof address;
}

EXPORTED int WSAAPI instant_WSARecvFrom(SOCKET s, WSABUF *buffers, DWORD count, DWORD *received, DWORD *flags, struct sockaddr *from, int *from_size, OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
    if (s < MEASURED)
        return WSARecvFrom(s, buffers, count, received, flags, from, from_size, overlapped, routine);
    say_where(from, from_size);
    return finish(overlapped, received_bytes, receives_on_the_spot);
}

EXPORTED int WSAAPI instant_WSASendTo(SOCKET s, WSABUF *buffers, DWORD count, DWORD *sent, DWORD flags, const struct sockaddr *to, int to_size, OVERLAPPED *overlapped, LPWSAOVERLAPPED_COMPLETION_ROUTINE routine) {
    if (s < MEASURED)
        return WSASendTo(s, buffers, count, sent, flags, to, to_size, overlapped, routine);
    return finish(overlapped, size(buffers, count), sends_on_the_spot);
}

/* 63 datagrams are there, then none, and so on: with the receive that waits for them, 64. */
EXPORTED int WSAAPI instant_recvfrom(SOCKET s, char *room, int length, int flags, struct sockaddr *from, int *from_size) {
    static unsigned received;
    if (s < MEASURED)
        return recvfrom(s, room, length, flags, from, from_size);
    if (received++ % BURST == BURST - 1) {
        WSASetLastError(WSAEWOULDBLOCK);
        return SOCKET_ERROR;
    }
    say_where(from, from_size);
    return received_bytes;
}

EXPORTED int WSAAPI instant_send(SOCKET s, const char *data, int length, int flags) {
    return s < MEASURED ? send(s, data, length, flags) : length;
}

EXPORTED int WSAAPI instant_sendto(SOCKET s, const char *data, int length, int flags, const struct sockaddr *to, int to_size) {
    return s < MEASURED ? sendto(s, data, length, flags, to, to_size) : length;
}

EXPORTED int WSAAPI instant_getsockname(SOCKET s, struct sockaddr *name, int *size) {
    if (s < MEASURED)
        return getsockname(s, name, size);
    say_where(name, size);
    return 0;
}

EXPORTED BOOL WINAPI instant_PostQueuedCompletionStatus(HANDLE port, DWORD bytes, ULONG_PTR key, OVERLAPPED *overlapped) {
    (void)port;
    enqueue(key, overlapped, bytes, 0);
    return TRUE;
}

EXPORTED BOOL WINAPI instant_GetQueuedCompletionStatusEx(HANDLE port, OVERLAPPED_ENTRY *entries, ULONG room, ULONG *removed, DWORD timeout_ms, BOOL alertable) {
    queue *used = &queues[queue_used];
    ULONG count = 0;
    for (; used->first != used->last && count < room; count++) {
        entries[count] = used->packets[used->first++ % ROOM];
        if (entries[count].lpOverlapped)
            entries[count].lpOverlapped->Internal = entries[count].Internal;
    }
    *removed = count;
    if (!count && timeout_ms)
        return GetQueuedCompletionStatusEx(port, entries, room, removed, timeout_ms, alertable);
    SetLastError(WAIT_TIMEOUT);
    return count != 0;
}
