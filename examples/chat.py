"""A chat room: what one guest writes, all the others read.

    python examples/chat.py                     the server
    python examples/chat.py --join Ann          a guest, in another terminal

telnet 127.0.0.1 9000 and nc 127.0.0.1 9000 are guests as well. The first line is the name,
every other one goes to the others, but for /who, /help and /quit. Ctrl-C ends both.

A guest that does not read hurts nobody: what waits for it is one buffer, shared with all the
others, and when 64 KB of such buffers wait it has to go.
"""

from __future__ import annotations

import argparse
import threading
from collections.abc import Callable

from pyiocp import CompletionPort, Delimited, FramedSession, Limits

LINES = Delimited(b"\n")


class Room:
    """Who is there, by name. One thread serves them all, so it needs no lock."""

    def __init__(self, port: CompletionPort) -> None:
        self.port = port
        self.guests: dict[str, Guest] = {}

    def tell(self, text: str, *, but: Guest | None = None) -> None:
        """Tell all guests, but for one; those who do not read have to go."""
        others = [guest for guest in self.guests.values() if guest is not but]
        for guest in self.port.broadcast(others, LINES.wrap(text.encode())):
            guest.abort()


class Guest(FramedSession):
    """One guest, as the server has it."""

    framing = Delimited(b"\n", maximum=1000)  # whoever writes more than that in a line has to go
    high_water = 1 << 16
    name = ""

    def __init__(self, room: Room) -> None:
        self.room = room

    def say(self, text: str) -> None:
        """Tell this guest only."""
        self.send(LINES.wrap(text.encode()))

    def on_connect(self) -> None:
        """A guest has come, and has no name yet."""
        self.say("Welcome! What is your name?")

    def on_frame(self, frame: memoryview) -> None:
        """A line came, from telnet with a carriage return, and perhaps not in UTF-8."""
        text = bytes(frame).decode(errors="replace")
        # Others' terminals would obey what is not printable.
        text = "".join(letter for letter in text if letter.isprintable()).strip()
        if not self.name:
            self.enter(text)
        elif text == "/who":
            self.say("Here are " + ", ".join(guest.name for guest in self.room.guests.values()))
        elif text == "/quit":
            self.say("Goodbye!")
            self.close()
        elif text.startswith("/"):
            self.say("/who tells who is here, /quit leaves; all else is said to the others")
        elif text:
            self.room.tell(f"{self.name}: {text}", but=self)

    def enter(self, name: str) -> None:
        """Let a guest in whose name is new."""
        if not 1 <= len(name) <= 20 or " " in name or name.startswith("/"):
            self.say("A name has 1 to 20 letters, and no spaces. What is yours?")
        elif name.casefold() in self.room.guests:
            self.say(f"There is a {name} here. What is your name?")
        else:
            self.name = name
            self.room.tell(f"* {name} has come")
            self.room.guests[name.casefold()] = self
            self.say(f"Hello {name}! /help helps; {len(self.room.guests)} are here")

    def on_close(self, error: OSError | None) -> None:
        """A guest has left, or had to."""
        if self.room.guests.pop(self.name.casefold(), None) is not None:
            self.room.tell(f"* {self.name} has left")


class Visitor(FramedSession):
    """The same guest at the other end: prints what comes."""

    framing = LINES

    def __init__(self, name: str, on_end: Callable[[], None]) -> None:
        self.name = name
        self.on_end = on_end

    def on_connect(self) -> None:
        """Say who it is, then whatever is typed."""
        self.send_frame(self.name.encode())
        threading.Thread(target=self.send_what_is_typed, daemon=True).start()

    def send_what_is_typed(self) -> None:
        """Send line after line; any thread may send."""
        # Not sys.stdin, whose lock the end of the program would wait for.
        with open(0, "rb", buffering=0, closefd=False) as typed:
            for line in typed:
                self.send(line)
        self.send_frame(b"/quit")

    def on_frame(self, frame: memoryview) -> None:
        """Something was said."""
        print(bytes(frame).decode(errors="replace"), flush=True)

    def on_close(self, error: OSError | None) -> None:
        """The server has closed, or is not there."""
        if error is not None:
            print(error, flush=True)
        self.on_end()


def main() -> None:
    """Be the server, or a guest."""
    parser = argparse.ArgumentParser(description="A chat room.")
    parser.add_argument("--join", metavar="NAME", help="be a guest of that name")
    parser.add_argument("--host", default="127.0.0.1", help="of the server (%(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="of the server (%(default)s)")
    options = parser.parse_args()
    address = (options.host, options.port)

    with CompletionPort() as port:
        if options.join:
            port.connect(address, lambda: Visitor(options.join, port.stop))
        else:
            room = Room(port)
            listener = port.listen(address, lambda: Guest(room), limits=Limits(sessions=500))
            print(f"listening at {listener.address}", flush=True)
        try:
            port.run(threads=1)
        except KeyboardInterrupt:
            print("closed" if options.join is None else "gone")


if __name__ == "__main__":
    main()
