"""A chat room: what one guest writes, all the others read.

    python examples/chat.py                     the server
    python examples/chat.py --join Ann          a guest, in another terminal

telnet 127.0.0.1 9000 and nc 127.0.0.1 9000 are guests as well. The first line is the name,
every other one goes to the others, but for /who, /help and /quit. Ctrl-C ends both.

A guest that does not read hurts nobody: all guests share one buffer, and a guest is disconnected
when 64 KB of such buffers wait for it. So is a guest that talks too fast ("excess flood", as IRC
calls it). Guests that have not told their name yet have 30 seconds to do so, and there is room for
100 of them: if another one connects, the one that has waited longest is disconnected. Text is
printed without the characters that a terminal would obey.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from typing import Any

from pyiocp import CompletionPort, Delimited, FramedSession, Limits

LINES = Delimited(b"\n", maximum=4096)

GUESTS_MAX = 400
AT_THE_DOOR_MAX = 100
NAME_S = 30.0
"""Seconds to say one's name in."""
BURST_S = 10.0
"""How many seconds' worth of lines a guest may send at once, after a silence as long."""


def printable(text: str) -> str:
    """Return a text without what a terminal would obey: escape sequences and their kind."""
    return "".join(letter for letter in text if letter.isprintable())


class Room:
    """Who is there, by name. One thread serves them all, so it needs no lock."""

    def __init__(self, port: CompletionPort, rate: float) -> None:
        self.port = port
        self.rate = rate
        self.guests: dict[str, Guest] = {}
        self.at_the_door: dict[Guest, None] = {}
        """Guests without a name; the one that has waited longest comes first."""

    def tell(self, text: str, *, but: Guest | None = None) -> None:
        """Tell all guests, but for one; those who do not read have to go."""
        others = [guest for guest in self.guests.values() if guest is not but]
        for guest in self.port.broadcast(others, LINES.wrap(text.encode())).behind:
            guest.abort()

    def knock(self, guest: Guest) -> None:
        """Add a guest without a name, and disconnect the oldest one if there are too many."""
        self.at_the_door[guest] = None
        if len(self.at_the_door) > AT_THE_DOOR_MAX:
            first = next(iter(self.at_the_door))
            del self.at_the_door[first]
            first.abort()

    def leave(self, guest: Guest) -> None:
        """A guest has gone; the others hear of it, if they knew."""
        if guest.name and self.guests.get(guest.name.casefold()) is guest:
            del self.guests[guest.name.casefold()]
            self.tell(f"* {guest.name} has left")


class Guest(FramedSession):
    """One guest, as the server has it."""

    framing = Delimited(b"\n", maximum=1000)  # a longer line ends the connection
    high_water = 1 << 16
    send_limit = 1 << 18
    name = ""
    patience: Any = None

    def __init__(self, room: Room) -> None:
        self.room = room
        self.lines = self.lines_at_once = room.rate * BURST_S
        self.heard_s = time.monotonic()

    def say(self, text: str) -> None:
        """Tell this guest only."""
        self.send(LINES.wrap(text.encode()))

    def on_connect(self) -> None:
        """A guest has come, and has no name yet."""
        self.set_keep_alive(60, 10)  # a silent guest may stay, but not if its machine has gone
        self.room.knock(self)
        self.patience = self.room.port.call_later(NAME_S, self.abort)
        self.say("Welcome! What is your name?")

    def talks_too_fast(self) -> bool:
        """Count a line; tell whether it is one too many."""
        now = time.monotonic()
        more = (now - self.heard_s) * self.room.rate
        self.lines = min(self.lines_at_once, self.lines + more) - 1
        self.heard_s = now
        return self.lines < 0

    def on_frame(self, frame: memoryview) -> None:
        """A line came, from telnet with a carriage return, and perhaps not in UTF-8."""
        if not self.name and self not in self.room.at_the_door:
            return  # it had to make room for another guest, and is being disconnected
        if self.talks_too_fast():
            self.say("Excess flood: not so fast.")
            self.close()
            return
        text = printable(bytes(frame).decode(errors="replace")).strip()
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
        """Let the guest in, if its name is good and nobody else has it."""
        if not 1 <= len(name) <= 20 or " " in name or name.startswith(("/", "*")):
            self.say("A name has 1 to 20 letters, and no spaces. What is yours?")
        elif name.casefold() in self.room.guests:
            self.say(f"There is a {name} here. What is your name?")
        elif len(self.room.guests) >= GUESTS_MAX:
            self.say("The room is full.")
            self.close()
        else:
            self.name = name
            self.stop_waiting()
            self.room.tell(f"* {name} has come")
            self.room.guests[name.casefold()] = self
            self.say(f"Hello {name}! /help helps; {len(self.room.guests)} are here")

    def stop_waiting(self) -> None:
        """Do not wait for a name any more."""
        self.room.at_the_door.pop(self, None)
        if self.patience is not None:
            self.patience.cancel()

    def on_close(self, error: OSError | None) -> None:
        """A guest has left, or was disconnected; also before on_connect was done."""
        self.stop_waiting()
        self.room.leave(self)


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
        print(printable(bytes(frame).decode(errors="replace")), flush=True)

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
    parser.add_argument(
        "--rate", type=float, default=2.0, help="lines a second that a guest may say (%(default)s)"
    )
    options = parser.parse_args()
    address = (options.host, options.port)

    with CompletionPort() as port:
        if options.join:
            port.connect(address, lambda: Visitor(options.join, port.stop))
        else:
            room = Room(port, options.rate)
            # A few more than there is room for: a connection that is aborted takes a moment to end.
            limits = Limits(sessions=GUESTS_MAX + 2 * AT_THE_DOOR_MAX, sessions_per_address=200)
            listener = port.listen(address, lambda: Guest(room), limits=limits)
            print(f"listening at {listener.address}", flush=True)
        try:
            port.run(threads=1)
        except KeyboardInterrupt:
            print("closed" if options.join is None else "gone")


if __name__ == "__main__":
    main()
