"""Making a server's socket: bound to an address, or taken over from another process."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import socket
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import AccessDeniedError, AddressUnavailableError, IocpError, error_of_code
from ..handles.sockets.address_text import show_address
from ..handles.sockets.hand_over import open_shared
from ..handles.sockets.shared_listening import SharedListening
from ..handles.sockets.stream import Stream
from ..winapi import (
    DWORD,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPV6_V6ONLY,
    SO_ACCEPTCONN,
    SOL_SOCKET,
    TCP_NODELAY,
    WSAPROTOCOL_INFOW,
)
from ..winapi.errorcodes import (
    WSAEACCES,
    WSAEADDRINUSE,
    WSAEADDRNOTAVAIL,
    WSAEAFNOSUPPORT,
)
from .resolve import resolve, resolve_passive

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..engine.home import Home
    from ..engine.queue import CompletionQueue
    from ..handles.sockets.socket_handle import SocketHandle

logger = logging.getLogger("pyiocp")

_SAME_PORT_ATTEMPTS = 16
"""How often the system may choose a port for the first address that is taken at another one."""

_NOT_OURS = frozenset({WSAEADDRNOTAVAIL, WSAEAFNOSUPPORT})
"""The codes of an address that this machine does not have, or not now."""

_TAKEN = frozenset({WSAEADDRINUSE, WSAEACCES})
"""The codes of a port that somebody else has; the second one if it has it for itself alone."""

_Socket = TypeVar("_Socket", bound="SocketHandle")


def open_bound(
    open_socket: Callable[[int], _Socket], address: Any, *, exclusive: bool, dual_stack: bool
) -> _Socket:
    """Return a socket that is bound to the address; see `CompletionPort.listen`.

    open_socket: returns a new socket of a family.

    Raises ValueError for a dual-stack socket at an IPv4 address.
    """
    if dual_stack and isinstance(address, tuple) and address[:1] == ("",):
        address = ("::", *address[1:])
    family, numeric = resolve(address, passive=True)
    if dual_stack and family != socket.AF_INET6:
        raise ValueError(f"a dual-stack socket needs '' or an IPv6 address, not {address!r}")
    bound = open_socket(family)
    try:
        if family == socket.AF_INET6:
            # Off by default here, on by default elsewhere: so it is always set.
            bound.set_option(IPPROTO_IPV6, IPV6_V6ONLY, not dual_stack)
        bound.bind(numeric, exclusive=exclusive)
    except BaseException:
        bound.close()
        raise
    return bound


def open_listening(
    home: Home,
    address: Any,
    *,
    backlog: int,
    exclusive: bool,
    dual_stack: bool,
    no_delay: bool,
    kind: type[Stream] = Stream,
) -> Stream:
    """Return a stream that listens at the address; see `CompletionPort.listen`.

    kind: the class of the stream.

    Raises what `open_bound` raises.
    """
    stream = open_bound(
        lambda family: kind.open(home, family, None),
        address,
        exclusive=exclusive,
        dual_stack=dual_stack,
    )
    try:
        if no_delay:
            # Accepted sockets inherit the listening socket's options.
            stream.set_option(IPPROTO_TCP, TCP_NODELAY, 1)
        stream.listen(backlog)
    except BaseException:
        stream.close()
        raise
    return stream


def open_all_listening(
    home: Home, address: Any, *, dual_stack: bool, **settings: Any
) -> list[Stream]:
    """Return the streams that listen at an address; see `CompletionPort.listen`.

    A name may have several addresses: each has a stream, all with the same port number. One that
    this machine lacks, such as that of a family that is switched off, is left out, unless it is
    the only one.

    settings: the other arguments of `open_listening`.

    Raises what `open_bound` raises.
    """
    # A name may have an address more than once.
    numeric = list(dict.fromkeys(each for _, each in resolve_passive(address)))
    if len(numeric) == 1:
        return [open_listening(home, address, dual_stack=dual_stack, **settings)]
    if dual_stack and not any(map(_is_ipv6, numeric)):
        raise ValueError(f"a dual-stack socket needs '' or an IPv6 address, not {address!r}")

    def listen_at(each: Any) -> Stream:
        both = dual_stack and _is_ipv6(each)
        return open_listening(home, each, dual_stack=both, **settings)

    attempts = _SAME_PORT_ATTEMPTS if address[1] == 0 else 1
    while True:
        attempts -= 1
        try:
            return _listen_at_all(numeric, address[1], listen_at)
        except (AddressUnavailableError, AccessDeniedError) as error:
            # The port that the system chose for the first is another's at one of the others.
            if not attempts or error.winerror not in _TAKEN:
                raise


def _listen_at_all(
    addresses: list[Any], number: int, listen_at: Callable[[Any], Stream]
) -> list[Stream]:
    """Listen at all addresses, with one port number; 0 lets the system choose it."""
    with contextlib.ExitStack() as opened:
        streams: list[Stream] = []
        missing: IocpError | None = None
        for host, _, *scope in addresses:
            try:
                stream = listen_at((host, number, *scope))
            except IocpError as error:
                if error.winerror not in _NOT_OURS:
                    raise
                logger.warning("not listening at %s: %s", show_address((host, number)), error)
                missing = error
                continue
            opened.callback(stream.close)
            streams.append(stream)
            number = stream.local_address()[1]
        if not streams and missing is not None:
            raise missing
        opened.pop_all()
        return streams


def _is_ipv6(address: Any) -> bool:
    return ":" in address[0]


def take_over_all(home: CompletionQueue, listening: socket.socket | bytes) -> list[Stream]:
    """Return the streams of what listens already; see `CompletionPort.listen`.

    listening: a Python socket, or what ``Listener.share`` returned, of one or several sockets.

    Raises as `take_over`.
    """
    if not isinstance(listening, bytes):
        return [take_over(home, listening)]
    size = ctypes.sizeof(WSAPROTOCOL_INFOW)
    with contextlib.ExitStack() as opened:
        streams = []
        for start in range(0, len(listening) or 1, size):
            stream = take_over(home, listening[start : start + size])
            opened.callback(stream.close)
            streams.append(stream)
        opened.pop_all()
        return streams


def take_over(home: CompletionQueue, listening: socket.socket | bytes) -> Stream:
    """Return a stream of a socket that listens already; see `CompletionPort.listen`.

    listening: a Python socket, which is detached, or what ``Listener.share`` returned.

    Raises ValueError for a socket that does not listen, an `IocpError` for a used share.
    """
    if isinstance(listening, bytes):
        number, family = open_shared(home.kernel, listening)
    else:
        number, family = listening.fileno(), int(listening.family)
    try:
        _check_listening(home, number, listening)
        stream = SharedListening(home, number, family=family)
    except BaseException:
        if isinstance(listening, bytes):
            home.kernel.closesocket(number)
        raise
    if not isinstance(listening, bytes):
        listening.detach()
    return stream


def _check_listening(home: CompletionQueue, number: int, listening: socket.socket | bytes) -> None:
    listens = DWORD()
    size = ctypes.c_int(ctypes.sizeof(listens))
    if home.kernel.getsockopt(
        number, SOL_SOCKET, SO_ACCEPTCONN, ctypes.byref(listens), ctypes.byref(size)
    ):
        raise error_of_code("getsockopt", home.kernel.last_error(), None, listening)
    if not listens.value:
        raise ValueError(f"a socket that listens is needed, not {listening!r}")
