"""examples/tick_client.py with its server: players over UDP and over TCP in one world."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from commands import INTERRUPTIBLE, Command
from example_server import Server, example

REPORT = re.compile(
    r"(\w+): (\d+) pictures in order, (\d+) missed, (\d+) too late; moved (\d+) times; saw (.*)"
)


def test_ten_players_over_both_transports(
    serve: Callable[..., Server], start: Callable[..., Command]
) -> None:
    """Five each, together for 2.5 s: each sees 40 pictures and more, in order, and all the others.

    The witness, who was there first and leaves last, has told who came and went.
    """
    server = serve("tick_server")
    number = str(server.port)
    witness = start(INTERRUPTIBLE, example("tick_client"), "Witness", "--port", number)
    server.command.line_with("Witness has come")
    crowds = [
        start(INTERRUPTIBLE, example("tick_client"), name, "--players", "5", "--port", number, *how)
        for name, how in (("Ann", ()), ("Bob", ("--tcp",)))
    ]
    names = {f"{name}{n}" for name in ("Ann", "Bob") for n in range(1, 6)}
    server.command.line_with("11 are here")
    time.sleep(2.5)  # what they shall see is measured
    reports = []
    for crowd in crowds:
        crowd.press_ctrl_c()
        assert crowd.end() == 0, crowd.output
        reports += [match for line in crowd.output if (match := REPORT.fullmatch(line))]
    assert {report[1] for report in reports} == names
    for report in reports:
        pictures, missed, too_late, moved = map(int, report.group(2, 3, 4, 5))
        assert pictures >= 40, report[0]
        assert too_late == 0, report[0]
        assert missed <= pictures // 10, report[0]
        assert moved > pictures // 2, report[0]
        assert set(report[6].split(", ")) == (names | {"Witness"}) - {report[1]}
    for _ in names:
        witness.line_with("has left")
    witness.press_ctrl_c()
    assert witness.end() == 0, witness.output
    assert {f"* {name} {what}" for name in names for what in ("is here", "has left")} <= set(
        witness.output
    )
    ticks = server.end()[-2]
    assert re.fullmatch(r"\d+ ticks, at most \d+ ms late", ticks), ticks


def test_client_without_a_server_says_that_it_saw_nothing(
    start: Callable[..., Command], refused: tuple[str, int]
) -> None:
    """Over either transport it ends, with a report and not with a traceback."""
    for transport in ([], ["--tcp"]):
        player = start(
            example("tick_client"), "Ann", *transport, "--port", str(refused[1]), "--seconds", "1"
        )
        assert player.end() == 0
        assert REPORT.fullmatch(player.output[-1])[2] == "0"  # type: ignore[index]
