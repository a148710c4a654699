"""examples/watch.py: what happens in a directory comes as lines of JSON, also to its own client."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from commands import Command
from example_server import Client, Server, example

Serve = Callable[..., Server]
RENAMES = 4000
"""Their events are 5 MB: more than wait for one client, with what its socket holds."""


def event(client: Client) -> dict[str, Any]:
    """Return the next event but for those of contents, which come once or twice."""
    while (event := json.loads(client.line()))["event"] == "modified":
        pass
    return event


def test_changes_come_to_every_client(serve: Serve, tmp_path: Path) -> None:
    """Made, renamed and deleted, below the directory too, with letters beyond ASCII."""
    server = serve("watch", str(tmp_path))
    with server.connect() as first, server.connect() as second:
        for client in (first, second):
            watching = event(client)
            assert watching["event"] == "watching"
            assert Path(watching["directory"]) == tmp_path.resolve()
        folder = tmp_path / "für"
        folder.mkdir()
        (folder / "a.txt").write_text("content")
        (folder / "a.txt").rename(folder / "b.txt")
        (folder / "b.txt").unlink()
        for client in (first, second):
            assert [event(client) for _ in range(4)] == [
                {"event": "added", "name": "für"},
                {"event": "added", "name": "für\\a.txt"},
                {"event": "renamed", "name": "für\\b.txt", "old_name": "für\\a.txt"},
                {"event": "removed", "name": "für\\b.txt"},
            ]
        assert server.end()[-1] == "2 clients were told"


def test_client_that_reads_too_late_is_told_to_rescan(serve: Serve, tmp_path: Path) -> None:
    """The other client is told everything meanwhile; afterwards both hear the same again."""
    server = serve("watch", str(tmp_path))
    with server.connect() as quick, server.connect(receive_buffer=4096) as slow:
        assert event(quick)["event"] == event(slow)["event"] == "watching"
        names = [letter * 100 for letter in "üö"]
        (tmp_path / names[0]).touch()
        assert event(quick) == event(slow) == {"event": "added", "name": names[0]}
        renames = 0
        while renames < RENAMES:
            old, new = names if renames % 2 == 0 else reversed(names)
            (tmp_path / old).rename(tmp_path / new)
            assert event(quick) == {"event": "renamed", "name": new, "old_name": old}
            renames += 1
        told: list[str] = []

        def read_until_last() -> None:
            while not told or not told[-1].startswith("last"):
                told.append(event(slow).get("name", "rescan"))

        reader = threading.Thread(target=read_until_last)
        reader.start()
        # It is told of changes again once it has read: when that is, only the server knows.
        for number in range(100):
            (tmp_path / f"last {number}").touch()
            reader.join(0.2)
            if not reader.is_alive():
                break
        assert not reader.is_alive()
        assert "rescan" in told
        assert len(told) < RENAMES


def test_own_client_prints_what_it_is_told(
    serve: Serve, start: Callable[..., Command], tmp_path: Path
) -> None:
    """It ends when the server does."""
    server = serve("watch", str(tmp_path))
    client = start(example("watch"), "--follow", "--port", str(server.port))
    client.line_with("watching")
    (tmp_path / "a.txt").touch()
    assert client.line_with("added") == "added a.txt"
    server.end()
    assert client.end() == 0


def test_what_is_no_directory_is_refused(start: Callable[..., Command], tmp_path: Path) -> None:
    """One line, and no traceback."""
    (tmp_path / "file").touch()
    command = start(example("watch"), str(tmp_path / "file"))
    assert command.end() == 1
    assert command.output == [f"{tmp_path / 'file'} is not a directory"]
