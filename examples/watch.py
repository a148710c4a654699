r"""A remote directory watcher: clients are told what changes in a directory, as lines of JSON.

    python examples/watch.py C:\Users           the server
    python examples/watch.py --follow           a client, in another terminal

Then change something there. Any program that reads lines will do as a client, such as
nc 127.0.0.1 9000. A line is one of

    {"event": "watching", "directory": "C:\\Users"}     the first; from now on all is told
    {"event": "added", "name": "me\\notes.txt"}         or removed, or modified
    {"event": "renamed", "name": "me\\b.txt", "old_name": "me\\a.txt"}
    {"event": "rescan"}                                 something was left out: list it again

Something is left out when more changes at a time than the kernel remembers, or for a client
that reads too slowly. Ctrl-C ends both. Clients say nothing, so one whose machine has gone is
found by keep-alive.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from pyiocp import (
    ChangeAction,
    CompletionPort,
    Delimited,
    DirectoryCompletion,
    FramedSession,
    Limits,
    OperationCancelledError,
    Overflow,
    Session,
)

LINES = Delimited(b"\n", maximum=1 << 18)


def line(event: str, **more: str) -> bytes:
    """Return an event as it is sent."""
    return LINES.wrap(json.dumps({"event": event, **more}).encode())


class Watcher(Session):
    """A client that is told; what it sends does not matter."""

    high_water = 1 << 16
    low_water = 1 << 12

    def __init__(self, folder: Path, watchers: set[Session]) -> None:
        self.folder = folder
        self.watchers = watchers

    def on_connect(self) -> None:
        """Join those who are told, and only then say so: nothing may be lost in between."""
        self.set_keep_alive(60, 10)
        self.watchers.add(self)
        self.send(line("watching", directory=str(self.folder)))

    def on_writable(self) -> None:
        """It was left out, and has read what it had: what it missed may be anything."""
        self.watchers.add(self)
        self.send(line("rescan"))

    def on_close(self, error: OSError | None) -> None:
        """It is gone."""
        self.watchers.discard(self)


def serve(folder: Path, host: str, number: int) -> None:
    """Watch a directory, and tell every client, until Ctrl-C."""
    watchers: set[Session] = set()

    def tell(completion: DirectoryCompletion) -> None:
        lines = []
        for change in completion.changes:
            if isinstance(change, Overflow):
                lines.append(line("rescan"))
            elif change.action is ChangeAction.RENAMED:
                lines.append(line("renamed", name=change.name, old_name=change.old_name or ""))
            else:
                lines.append(line(change.action.value, name=change.name))
        # One buffer for all of them. Whoever is behind is left out until it has read that.
        told = port.broadcast(watchers, b"".join(lines))
        watchers.difference_update(told.behind, told.gone)
        error = completion.error
        if error is not None and not isinstance(error, OperationCancelledError):  # as by Ctrl-C
            print(f"the watch is over: {error}", flush=True)
            port.shutdown()

    with CompletionPort() as port:
        directory = port.directory(folder, recursive=True)
        directory.watch(tell)
        limits = Limits(sessions=200, sessions_per_address=50)
        listener = port.listen((host, number), lambda: Watcher(folder, watchers), limits=limits)
        print(f"watching {folder}, listening at {listener.address}", flush=True)
        try:
            port.run(threads=1)  # so that what one hook does to `watchers` no other one disturbs
        except KeyboardInterrupt:
            print(f"{listener.accepted} clients were told")


class Follower(FramedSession):
    """The client: prints each line that it is told."""

    framing = LINES

    def __init__(self, port: CompletionPort) -> None:
        self.port = port

    def on_frame(self, frame: memoryview) -> None:
        """An event came; or anything, if that is no such server."""
        try:
            event = json.loads(bytes(frame))
            words = [value for value in event.values() if isinstance(value, str)]
        except (ValueError, AttributeError, RecursionError):
            print("this is no server of this program", flush=True)
            self.abort()
            return
        # A file may have any name: a terminal would obey what is not printable.
        text = " ".join(words)
        print("".join(letter for letter in text if letter.isprintable()), flush=True)

    def on_close(self, error: OSError | None) -> None:
        """The server has ended."""
        print("the server has ended" if error is None else f"{error}", flush=True)
        self.port.stop()


def follow(host: str, number: int) -> None:
    """Print what a server tells, until that ends, or Ctrl-C."""
    with CompletionPort() as port:
        port.connect((host, number), lambda: Follower(port))
        try:
            port.run()
        except KeyboardInterrupt:
            print("no longer following")


def main() -> None:
    """Be the server, or a client."""
    parser = argparse.ArgumentParser(description="Tell other machines what changes in a directory.")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("directory", type=Path, nargs="?", help="serve: watch this one")
    what.add_argument("--follow", action="store_true", help="be a client: print what changes")
    parser.add_argument("--host", default="127.0.0.1", help="of the server (%(default)s)")
    parser.add_argument("--port", type=int, default=9000, help="of the server (%(default)s)")
    options = parser.parse_args()

    if options.follow:
        follow(options.host, options.port)
    elif options.directory.is_dir():
        serve(options.directory.resolve(), options.host, options.port)
    else:
        sys.exit(f"{options.directory} is not a directory")


if __name__ == "__main__":
    main()
