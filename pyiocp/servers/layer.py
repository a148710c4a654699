"""Layer: what stands between a session and its connection.

To the session a layer looks like its connection, to the connection like the session's
hooks::

    session ──send(), close(), …──▶ layer ──send(), close(), …──▶ connection
            ◀──on_receive(), …──── (framing, TLS) ◀──on_receive(), …────

A layer overrides what it changes; the rest goes through it. So sessions with a layer are
used like those without, and those without pay nothing for it.

What belongs here: that, and putting the layers of a session together. What a layer does is
its own business.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, cast

from ..engine.interrupt import calls_hooks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .connection import Connection
    from .session import Session


class Hooks(Protocol):
    """What a connection, or a layer, tells what is above it; see `Session`."""

    def on_connect(self) -> None:
        """The connection stands."""

    def on_receive(self, data: memoryview) -> None:
        """Bytes came."""

    def on_eof(self) -> None:
        """The peer will send no more."""

    def on_writable(self) -> None:
        """There is room again for what is to be sent."""

    def on_close(self, error: OSError | None) -> None:
        """It is over."""


class Layer:
    """A layer that changes nothing.

    session: whose layer it is. hooks: what is above it, the session or another layer.

    Hooks run within the connection's inbox; the rest any thread may call.
    """

    below: Connection
    """What it stands on: the connection, or another layer."""

    def __init__(self, session: Session, hooks: Hooks) -> None:
        self.session = session
        self.hooks = hooks

    def stand_on(self, below: Connection) -> None:
        """Take note of what is below, before anything comes from there."""
        self.below = below

    def __getattr__(self, name: str) -> Any:
        """Return what the layer does not change."""
        return getattr(self.below, name)

    def end(self, error: OSError) -> None:
        """End the session because of an error, when what is under way has returned.

        Within the inbox, which it keeps order by: in the midst of ``on_receive`` the
        connection is not ready to be gone, and hooks do not nest.
        """
        self.below.inbox.deliver(self.below.break_off, error)

    @calls_hooks
    def on_connect(self) -> None:
        """Tell what is above; see `Session.on_connect`."""
        self.hooks.on_connect()

    @calls_hooks
    def on_receive(self, data: memoryview) -> None:
        """Tell what is above; see `Session.on_receive`."""
        self.hooks.on_receive(data)

    @calls_hooks
    def on_eof(self) -> None:
        """Tell what is above; see `Session.on_eof`."""
        self.hooks.on_eof()

    @calls_hooks
    def on_writable(self) -> None:
        """Tell what is above; see `Session.on_writable`."""
        self.hooks.on_writable()

    @calls_hooks
    def on_close(self, error: OSError | None) -> None:
        """Tell what is above; see `Session.on_close`."""
        self.hooks.on_close(error)


def connect_layers(
    session: Session,
    kinds: Iterable[Callable[[Session, Hooks], Layer]],
    make_connection: Callable[[Hooks], Connection],
) -> None:
    """Give a session a connection, with a layer of each kind between, the topmost first."""
    hooks: Hooks = session
    layers: list[Layer] = []
    for kind in kinds:
        layer = kind(session, hooks)
        layers.append(layer)
        hooks = layer
    top = make_connection(hooks)
    for layer in reversed(layers):
        layer.stand_on(top)
        top = cast("Connection", layer)
    session._pyiocp = top
