"""What the codes of overlapped operations mean, in words: the table of `explanation`.

One event has up to three numbers; it stands here once, under those of Win32 and Winsock. An
NTSTATUS is found by what `errors` makes of it.
"""

from __future__ import annotations

from typing import NamedTuple

from .winapi import errorcodes as codes


class Meaning(NamedTuple):
    """What happened, by all its codes, and what to do about it."""

    codes: tuple[int, ...]
    meaning: str
    remedy: str


_LOCKED = "Wait for a completion and try again; receive without a buffer while idle (zero bytes)"

EVENTS = (
    # How an operation goes when nothing is wrong
    Meaning(
        (codes.ERROR_SUCCESS,),
        "It worked: the operation has completed.",
        "Nothing. A receive of 0 bytes on a stream is the end of what the peer sends.",
    ),
    Meaning(
        (codes.ERROR_IO_PENDING,),
        "The operation has been started and goes on: not an error. Its completion will come.",
        "Leave its buffers alone until then. pyiocp never raises this.",
    ),
    Meaning(
        (codes.ERROR_IO_INCOMPLETE,),
        "The operation whose outcome was asked for is still pending.",
        "Wait for its completion instead of asking.",
    ),
    Meaning(
        (codes.WAIT_TIMEOUT, codes.ERROR_TIMEOUT),
        "The time given for waiting is over, and nothing had come.",
        "Nothing is lost: wait again. port.wait() returns an empty list instead.",
    ),
    Meaning(
        (codes.ERROR_OPERATION_ABORTED, codes.ERROR_CANCELLED, codes.ERROR_REQUEST_ABORTED),
        "The operation was cancelled: by cancel(), because its handle was closed, or because the"
        " thread that had started it ended.",
        "Usually nothing: it was asked for. If not, look for who closes the handle. A TCP stream"
        " whose receive was cancelled is best closed: some of its bytes may have gone.",
    ),
    Meaning(
        (codes.ERROR_NOT_FOUND,),
        "CancelIoEx found nothing to cancel: the operation had ended already.",
        "Nothing: its completion is on the way, and says how it ended.",
    ),
    Meaning(
        (codes.ERROR_ABANDONED_WAIT_0,),
        "The completion port was closed while a thread waited on it.",
        "Close a port when nobody waits any more; port.close() of pyiocp sees to that.",
    ),
    Meaning(
        (codes.WSAEWOULDBLOCK,),
        "The call would have had to wait, and the socket is not to.",
        "Post the operation as an overlapped one. If it is one: fewer at a time.",
    ),
    # Connections
    Meaning(
        (codes.WSAECONNRESET, codes.ERROR_NETNAME_DELETED),
        "The peer reset the connection: its program ended or closed it with data unread, or"
        " something on the way gave it up. What was not yet received is lost. On a datagram"
        " socket: nobody had the port that an earlier datagram was sent to.",
        "Close the stream; a server goes on with its other clients. On a datagram socket post"
        " the next receive: nothing has ended.",
    ),
    Meaning(
        (codes.WSAENETRESET,),
        "The connection ended because keep-alive packets were not answered; or a datagram's time"
        " to live was over on its way.",
        "Close the stream, and connect again if it is yours to connect.",
    ),
    Meaning(
        (codes.WSAECONNABORTED, codes.ERROR_CONNECTION_ABORTED),
        "This side gave the connection up: the network stack, because the peer did not answer in"
        " time, or this process, by aborting it.",
        "Close the stream. If nobody aborted it, look at the network: cable, wireless, sleep.",
    ),
    Meaning(
        (codes.WSAECONNREFUSED, codes.ERROR_CONNECTION_REFUSED),
        "Nobody listens at the address that was connected to, or a firewall answers for it.",
        "Check host and port, and that the server runs; then connect with a new socket.",
    ),
    Meaning(
        (codes.WSAETIMEDOUT, codes.ERROR_SEM_TIMEOUT),
        "The peer did not answer in the time that the network stack allows: about 21 s for a"
        " connect. Accepting: the client went away before it was accepted.",
        "Connect again later, or give up. A listener posts its next accept.",
    ),
    Meaning(
        (codes.WSAENETUNREACH, codes.ERROR_NETWORK_UNREACHABLE),
        "There is no way from here to the peer's network.",
        "Check the address and this machine's network; IPv6 addresses need IPv6.",
    ),
    Meaning(
        (codes.WSAEHOSTUNREACH, codes.ERROR_HOST_UNREACHABLE),
        "There is a way to the peer's network, but the peer does not answer there.",
        "Check the address, and whether that machine is on.",
    ),
    Meaning(
        (codes.ERROR_PORT_UNREACHABLE,),
        "Nobody had the port that an earlier datagram was sent to.",
        "Post the next receive: on a datagram socket nothing has ended.",
    ),
    Meaning(
        (codes.WSAENETDOWN, codes.ERROR_NO_NETWORK, codes.WSAEHOSTDOWN, codes.ERROR_HOST_DOWN),
        "The network, or the peer's machine, is down as far as this machine knows.",
        "Try again when it is up: this passes.",
    ),
    Meaning(
        (codes.WSAENOTCONN, codes.ERROR_CONNECTION_INVALID, codes.ERROR_ADDRESS_NOT_ASSOCIATED),
        "The socket is not connected: not yet, or no more.",
        "Wait for the connect's completion before sending or receiving.",
    ),
    Meaning(
        (codes.WSAEISCONN, codes.ERROR_CONNECTION_ACTIVE),
        "The socket is connected already.",
        "Use a new socket, or disconnect(reuse=True) and wait for its completion first.",
    ),
    Meaning(
        (codes.WSAESHUTDOWN,),
        "Sending, or receiving, has been shut down on this socket before.",
        "Send nothing after shutdown(SD_SEND); close the stream when the peer is done.",
    ),
    Meaning(
        (codes.WSAEDISCON, codes.ERROR_GRACEFUL_DISCONNECT, codes.ERROR_VC_DISCONNECTED),
        "The peer has ended the connection in order.",
        "Close the stream.",
    ),
    # Addresses and sockets
    Meaning(
        (codes.WSAEADDRINUSE, codes.ERROR_ADDRESS_ALREADY_ASSOCIATED),
        "Another socket has this address; or a connection with these two ends has just been.",
        "Stop the other program, or take another port; port 0 lets the system choose.",
    ),
    Meaning(
        (codes.WSAEADDRNOTAVAIL,),
        "No interface of this machine has this address; or, connecting, it is none to connect to,"
        " such as port 0.",
        "Bind to one of this machine's addresses, or to '' for all of them.",
    ),
    Meaning(
        (codes.WSAEAFNOSUPPORT, codes.WSAEPFNOSUPPORT),
        "The address is of another family than the socket, or the system lacks the family.",
        "Make the socket with the address's family: AF_INET6 for IPv6.",
    ),
    Meaning(
        (codes.WSAEDESTADDRREQ,),
        "There is no address to send to.",
        "Give one to each send, or connect the socket.",
    ),
    Meaning(
        (codes.WSAEINVAL,),
        "The socket is not in the state for this: it does not listen, is not bound, or is bound"
        " already; or an argument is none of those allowed.",
        "bind() before listen(), listen() before accept(); bind only once.",
    ),
    Meaning(
        (codes.WSAENOPROTOOPT, codes.WSAEPROTONOSUPPORT, codes.WSAEPROTOTYPE),
        "The socket's protocol does not know that option, or that kind of socket.",
        "Check level and option, and which Windows has them.",
    ),
    Meaning(
        (codes.WSAEMFILE, codes.ERROR_TOO_MANY_OPEN_FILES),
        "The process, or the system, has no room for another socket or file.",
        "Close some, and try again later: a listener of pyiocp does.",
    ),
    Meaning(
        (codes.WSANOTINITIALISED, codes.WSASYSNOTREADY, codes.WSAVERNOTSUPPORTED),
        "Winsock was not started in this process, or cannot be.",
        "Call WSAStartup first; importing Python's socket module does.",
    ),
    Meaning(
        (codes.WSAHOST_NOT_FOUND, codes.WSATRY_AGAIN, codes.WSANO_RECOVERY, codes.WSANO_DATA),
        "The host's name could not be resolved to an address.",
        "Check the name; ask again if it is the name server that does not answer.",
    ),
    # Memory
    Meaning(
        (
            codes.WSAENOBUFS,
            codes.ERROR_NO_SYSTEM_RESOURCES,
            codes.ERROR_NONPAGED_SYSTEM_RESOURCES,
            codes.ERROR_PAGED_SYSTEM_RESOURCES,
        ),
        "Connecting or binding: no local port is left. Connections hold theirs while they are open,"
        " and for some minutes after this side has closed them. Anything else: the system has no"
        " memory for it, mostly because pending operations lock too many pages. The operation was"
        " not started.",
        "Connecting: use connections again (ConnectionPool), let the other side close first,"
        " connect from several addresses (local_address), or widen the range of ports (netsh int"
        f" ipv4 set dynamicport). Anything else: {_LOCKED[0].lower()}{_LOCKED[1:]}; or use a"
        " BufferPool. port.statistics() tells what is locked.",
    ),
    Meaning(
        (codes.ERROR_WORKING_SET_QUOTA, codes.ERROR_NOT_ENOUGH_QUOTA, codes.WSAEDQUOT),
        "The process may not lock any more pages: pending operations, or VirtualLock, have"
        " locked as many as its quota allows.",
        f"{_LOCKED}; or use a BufferPool with locked=True, which raises the working set.",
    ),
    Meaning(
        (codes.ERROR_NOT_ENOUGH_MEMORY, codes.ERROR_OUTOFMEMORY, codes.ERROR_TOO_MANY_CMDS),
        "There is no memory for this. From ReadFile and WriteFile also: too many operations are"
        " pending on the handle.",
        "Wait for a completion, and try again with fewer or smaller operations.",
    ),
    Meaning(
        (codes.ERROR_COMMITMENT_LIMIT, codes.ERROR_PAGEFILE_QUOTA),
        "Memory and page file of the machine are all given out.",
        "Use less memory, or give the machine a larger page file.",
    ),
    Meaning(
        (codes.ERROR_INVALID_USER_BUFFER,),
        "The buffer is not what the device takes: too large, or, for a handle opened unbuffered,"
        " not aligned. From ReadFile and WriteFile also: too many operations are pending.",
        "Unbuffered: address, size and offset have to be multiples of the sector size. Else"
        " wait for a completion.",
    ),
    Meaning(
        (codes.WSAEFAULT, codes.ERROR_NOACCESS, codes.ERROR_INVALID_ADDRESS),
        "The memory that was named cannot be read or written: freed, protected, or never there.",
        "Let pyiocp keep the buffers. In debug mode this is what a guard page does.",
    ),
    Meaning(
        (codes.ERROR_MORE_DATA, codes.WSAEMSGSIZE),
        "The message was longer than the buffer. On a pipe the rest comes with the next read; of"
        " a datagram it is lost. Sending: the datagram is longer than the network takes.",
        "Use a larger buffer: 65,535 bytes hold any datagram.",
    ),
    Meaning(
        (codes.ERROR_INSUFFICIENT_BUFFER, codes.ERROR_BAD_LENGTH),
        "A buffer has not the size that the function needs.",
        "Use one as large as the function's documentation says.",
    ),
    # Handles
    Meaning(
        (codes.ERROR_INVALID_HANDLE, codes.WSAENOTSOCK, codes.WSAEBADF),
        "The handle is closed, or is none, or is of a kind that the function does not take.",
        "Look for who closed it: numbers are given again, and may be somebody else's by now.",
    ),
    Meaning(
        (codes.ERROR_INVALID_PARAMETER,),
        "An argument is wrong. From CreateIoCompletionPort: the handle is on a port already, or"
        " was not opened for overlapped operations. From ReadFile: it was, but has no OVERLAPPED.",
        "A handle stays on its first port until it is closed; open files with"
        " FILE_FLAG_OVERLAPPED.",
    ),
    Meaning(
        (codes.ERROR_INVALID_FUNCTION, codes.ERROR_NOT_SUPPORTED, codes.WSAEOPNOTSUPP),
        "This kind of handle, file system or device does not know that operation.",
        "Use another; available() tells which functions this Windows has.",
    ),
    Meaning(
        (codes.ERROR_ACCESS_DENIED, codes.WSAEACCES, codes.ERROR_INVALID_ACCESS),
        "The user may not do that, or the handle was not opened for it. A datagram to a broadcast"
        " address needs SO_BROADCAST; a port may be reserved or taken exclusively.",
        "Open the handle with the access that is needed; check who you are.",
    ),
    Meaning(
        (codes.ERROR_PRIVILEGE_NOT_HELD,),
        "The user lacks a right. Large pages need 'Lock pages in memory' (SeLockMemoryPrivilege).",
        "Give the right to the user in secpol.msc, User Rights Assignment, and log on again.",
    ),
    # Files and directories
    Meaning(
        (codes.ERROR_HANDLE_EOF,),
        "The read began at or behind the end of the file. pyiocp completes it with 0 bytes.",
        "Nothing: this is how a file ends.",
    ),
    Meaning(
        (codes.ERROR_FILE_NOT_FOUND, codes.ERROR_PATH_NOT_FOUND, codes.ERROR_BAD_PATHNAME),
        "There is no file, directory, pipe or device of that name; or not the directory it is in.",
        "Check the name. A pipe is there as long as its server has an instance of it.",
    ),
    Meaning(
        (codes.ERROR_FILE_EXISTS, codes.ERROR_ALREADY_EXISTS),
        "There is a file, directory or pipe of that name already.",
        "Open it, or choose another name.",
    ),
    Meaning(
        (codes.ERROR_SHARING_VIOLATION,),
        "Another handle has the file open and does not share it for what was wanted.",
        "Close that handle, or try again a little later: virus scanners let go.",
    ),
    Meaning(
        (codes.ERROR_LOCK_VIOLATION,),
        "Another handle has locked a part of the file that this touches.",
        "Wait for the lock: an overlapped lock completes when it is granted.",
    ),
    Meaning(
        (codes.ERROR_NOT_LOCKED,),
        "That range of the file, or those pages, are not locked.",
        "Unlock exactly what was locked, once.",
    ),
    Meaning(
        (codes.ERROR_DISK_FULL, codes.ERROR_HANDLE_DISK_FULL, codes.ERROR_FILE_TOO_LARGE),
        "The disk is full, or the file system takes no larger files.",
        "Make room, and write again: what did not fit was not written.",
    ),
    Meaning(
        (codes.ERROR_CRC, codes.ERROR_IO_DEVICE, codes.ERROR_DEVICE_NOT_CONNECTED),
        "The device could not do it: it is damaged, or has been pulled out.",
        "Try once more; then trust the device no longer.",
    ),
    Meaning(
        (codes.ERROR_NOTIFY_ENUM_DIR,),
        "More has changed in the directory than the buffer had room for: what, is lost.",
        "Look through the directory yourself; use a larger buffer.",
    ),
    Meaning(
        (codes.ERROR_DELETE_PENDING,),
        "The file is being deleted, as soon as its last handle is closed.",
        "Wait until it is gone, or use another name.",
    ),
    # Pipes
    Meaning(
        (codes.ERROR_BROKEN_PIPE,),
        "The other end of the pipe has been closed. Reading: this is the end.",
        "Close the pipe; a server disconnects it, and waits for the next client.",
    ),
    Meaning(
        (codes.ERROR_NO_DATA,),
        "The other end of the pipe is being closed. From ConnectNamedPipe: the client has come"
        " and gone before.",
        "Close the pipe; a server disconnects it, and waits for the next client.",
    ),
    Meaning(
        (codes.ERROR_PIPE_NOT_CONNECTED,),
        "The pipe has no other end: its server has disconnected it, or has no client yet.",
        "A client connects anew; a server waits for a client first.",
    ),
    Meaning(
        (codes.ERROR_PIPE_CONNECTED,),
        "The client was there before the server waited for it: success.",
        "Go on: the pipe is connected. pyiocp never raises this.",
    ),
    Meaning(
        (codes.ERROR_PIPE_LISTENING,),
        "The server waits for a client on this end already, or still.",
        "Wait for the completion of the connect.",
    ),
    Meaning(
        (codes.ERROR_PIPE_BUSY,),
        "Every instance of the pipe has its client, or there may be no more instances.",
        "Wait for the server to have one free, and try again.",
    ),
    Meaning(
        (codes.ERROR_BAD_PIPE,),
        "The pipe is not in the state, or not of the mode, for this.",
        "Messages need a pipe in message mode at both ends.",
    ),
)
"""Every event, in no particular order; no code stands in two of them."""

BY_CODE = {code: event for event in EVENTS for code in event.codes}
