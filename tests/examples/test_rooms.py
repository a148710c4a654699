"""The chat room and the world of players by themselves, on a port of the test's."""

from __future__ import annotations

import socket
from importlib.util import module_from_spec, spec_from_file_location
from threading import Event
from typing import Any

import pytest
from deadline import DEADLINE_S
from example_server import EXAMPLES
from journal import served

from pyiocp import AddressValidation, CompletionPort

LOCAL = ("127.0.0.1", 0)


def module_of(name: str) -> Any:
    """Return an example as a module."""
    spec = spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


chat, tick_server = module_of("chat"), module_of("tick_server")


def test_guest_that_had_to_make_room_does_not_come_in(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """Its name comes while it is being disconnected: nobody hears of it, nothing is logged."""
    room, gone = chat.Room(port, rate=100.0), Event()

    class Evicted(chat.Guest):  # type: ignore[misc]
        def on_frame(self, frame: memoryview) -> None:
            for _ in range(chat.AT_THE_DOOR_MAX):
                room.knock(chat.Guest(room))
            super().on_frame(frame)

        def on_close(self, error: OSError | None) -> None:
            super().on_close(error)
            gone.set()

    listener = port.listen(LOCAL, lambda: Evicted(room))
    with served(port), socket.create_connection(listener.address, timeout=10) as peer:
        peer.sendall(b"Ann\n")
        assert gone.wait(DEADLINE_S)
    assert room.guests == {}
    assert caplog.text == ""


def test_guest_whose_first_hook_fails_leaves_nothing(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    """The system refuses an option: that is logged, and nothing else."""

    class Refused(chat.Guest):  # type: ignore[misc]
        def set_keep_alive(self, *_: Any) -> bool:
            raise OSError("refused")

        def on_close(self, error: OSError | None) -> None:
            try:
                super().on_close(error)
            finally:
                gone.set()

    room, gone = chat.Room(port, rate=100.0), Event()
    listener = port.listen(LOCAL, lambda: Refused(room))
    with served(port), socket.create_connection(listener.address, timeout=10):
        assert gone.wait(DEADLINE_S)
    assert caplog.text.count("Traceback") == 1
    assert room.at_the_door == {}
    caplog.clear()


def test_player_that_had_to_make_room_does_not_join(
    port: CompletionPort, caplog: pytest.LogCaptureFixture
) -> None:
    world, gone = tick_server.World(port), Event()

    class Evicted(tick_server.TcpPlayer):  # type: ignore[misc]
        def on_frame(self, frame: memoryview) -> None:
            del world.at_the_door[self]
            self.abort()
            super().on_frame(frame)
            assert world.players == {}

        def on_close(self, error: OSError | None) -> None:
            super().on_close(error)
            gone.set()

    listener = port.listen(LOCAL, lambda: Evicted(world))
    hello = tick_server.HELLO.pack(b"J", AddressValidation.no_token, b"Ann")
    with served(port), socket.create_connection(listener.address, timeout=10) as peer:
        peer.sendall(tick_server.FRAMES.wrap(hello))
        assert gone.wait(DEADLINE_S)
    assert world.players == {}
    assert caplog.text == ""
