"""What the tests of the models share: a server that runs in a thread while a test is at it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from deadline import DEADLINE_S

from pyiocp import Session, models
from pyiocp.models import ModelServer

LOCAL = ("127.0.0.1", 0)

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{model: (model, {}) for model in models.MODELS},
    "event-select on several threads": ("event-select", {"threads": 16}),
    "select of 1,024": ("select", {"fd_setsize": 1024}),
}
"""A model, and how it is set up, by the name that tests show."""

every_model = pytest.mark.parametrize("model", models.MODELS)
every_variant = pytest.mark.parametrize("variant", VARIANTS)


@contextlib.contextmanager
def serving(variant: str, factory: Callable[[], Session], **settings: Any) -> Iterator[ModelServer]:
    """Serve in a thread of its own; at the end, close, and see that nothing is left."""
    model, own_settings = VARIANTS[variant]
    server = models.serve(model, LOCAL, factory, **own_settings, **settings)
    failures: list[BaseException] = []

    def run() -> None:
        try:
            server.run()
        except BaseException as failure:  # noqa: BLE001, raised in the test's thread
            failures.append(failure)

    thread = threading.Thread(target=run, name=f"server {variant}")
    thread.start()
    try:
        yield server
    finally:
        server.close()
        thread.join(DEADLINE_S)
        assert not thread.is_alive(), "run() did not return"
    assert failures == []
    assert server.sessions == set()


def dial(server: ModelServer) -> socket.socket:
    """Return a plain socket, connected to the server."""
    peer = socket.create_connection(server.address, timeout=DEADLINE_S)
    peer.settimeout(DEADLINE_S)
    return peer


def is_reset(peer: socket.socket) -> bool:
    """Tell whether the connection has been reset, once it has ended.

    Under Wine 8 a reset that comes before the receive may read as the end of the stream
    (see CONTRIBUTING): that counts as well.
    """
    peer.settimeout(None)  # with a limit Python asks select() first, and Wine forgets the reset
    try:
        return peer.recv(1) == b""
    except ConnectionResetError:
        return True
