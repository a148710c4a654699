"""examples/chat.py: guests with plain sockets, and with its own client."""

from __future__ import annotations

from collections.abc import Callable

from commands import Command
from example_server import Client, Server, example

Serve = Callable[..., Server]


def enter(server: Server, name: str) -> Client:
    """Return a guest who has been let in."""
    guest = server.connect()
    assert guest.line() == "Welcome! What is your name?"
    guest.send(f"{name}\n".encode())
    assert guest.line().startswith(f"Hello {name}!")
    return guest


def test_what_one_says_the_others_read(serve: Serve) -> None:
    """Telnet's line ends, letters beyond ASCII, coming, /who and leaving; then Ctrl-C."""
    server = serve("chat")
    with enter(server, "Ann") as ann:
        with enter(server, "Zoë") as zoe:
            assert ann.line() == "* Zoë has come"
            zoe.send("ça va?\r\n".encode())
            assert ann.line() == "Zoë: ça va?"
            ann.send(b"yes\nreally\n/who\n")
            assert [zoe.line(), zoe.line()] == ["Ann: yes", "Ann: really"]
            assert ann.line() == "Here are Ann, Zoë"
            zoe.send(b"/quit\n")
            assert zoe.line() == "Goodbye!"
            assert zoe.read() == b""
        assert ann.line() == "* Zoë has left"
        server.end()


def test_names_are_checked(serve: Serve) -> None:
    """Empty ones, ones with spaces, long ones, and those that somebody has, in any case."""
    server = serve("chat")
    with enter(server, "Ann"), server.connect() as other:
        other.line()
        for name in ("", "two words", "x" * 21, "/who", "*"):
            other.send(f"{name}\n".encode())
            assert other.line() == "A name has 1 to 20 letters, and no spaces. What is yours?"
        other.send(b"ANN\n")
        assert other.line() == "There is a ANN here. What is your name?"
        other.send(b"Bob\n")
        assert other.line() == "Hello Bob! /help helps; 2 are here"


def test_guests_cannot_do_harm(serve: Serve) -> None:
    """Control characters do not reach other terminals; an endless line ends its own guest."""
    server = serve("chat")
    with enter(server, "Ann") as ann, enter(server, "Eve") as eve:
        assert ann.line() == "* Eve has come"
        eve.send(b"\x1b[2J\x07red\xff\n")
        assert ann.line() == "Eve: [2Jred\ufffd"
        eve.send(b"x" * 1000 + b"\n")
        assert ann.line() == "Eve: " + "x" * 1000
        eve.send(b"x" * 1001)
        assert ann.line() == "* Eve has left"


def test_guest_who_does_not_read_has_to_go(serve: Serve) -> None:
    """The others read all that is said meanwhile, in order, and that this one has left."""
    server = serve("chat", "--rate", "1e6")
    with enter(server, "Ann") as ann, enter(server, "Bob") as bob, enter(server, "Slow"):
        assert [ann.line(), ann.line(), bob.line()] == [
            "* Bob has come",
            "* Slow has come",
            "* Slow has come",
        ]
        said = 0
        heard = ""
        while heard != "* Slow has left":
            assert said < 100_000, "64 KB, and what sockets hold, are less than that"
            ann.send(b"%0900d\n" * 50 % tuple(range(said, said + 50)))
            for number in range(said, said + 50):
                heard = bob.line()
                if heard == "* Slow has left":
                    break
                assert heard == f"Ann: {number:0900}"
            said += 50


def test_own_client_says_what_is_typed(serve: Serve, start: Callable[..., Command]) -> None:
    """It prints what others say, and ends with its input: /quit."""
    server = serve("chat")
    with enter(server, "Ann") as ann:
        guest = start(example("chat"), "--join", "Bob", "--port", str(server.port))
        guest.line_with("Hello Bob!")
        assert ann.line() == "* Bob has come"
        guest.type_line("good morning")
        assert ann.line() == "Bob: good morning"
        ann.send(b"hi!\n")
        assert guest.line_with("Ann") == "Ann: hi!"
        assert guest.process.stdin is not None
        guest.process.stdin.close()
        assert guest.end() == 0
        assert guest.output[-1] == "Goodbye!"
        assert ann.line() == "* Bob has left"


def test_client_without_a_server_says_so(
    start: Callable[..., Command], refused: tuple[str, int]
) -> None:
    """One line, and not a traceback."""
    guest = start(example("chat"), "--join", "Bob", "--port", str(refused[1]))
    assert guest.end() == 0
    [line] = guest.output
    assert "WSAECONNREFUSED" in line
