"""pyiocp and others side by side, in one run: servers, files, memory.

    python3 run.py bench --list
    python3 run.py bench echo-100 echo-100-deep
    python3 run.py bench --rounds 5 --json figures.json --charts charts
    python3 run.py bench echo --connections 200 --size 64 --depth 4

Without a name, all contests. Every contender runs in a process of its own, by turns; what is shown
are medians over the rounds, and how far the rounds lie apart. Cost per call, without the kernel's,
is in ``calls.py``; two threads against one in ``scaling.py``; timers in ``timers.py``.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from contest import Options, run
from contests import all_contests, echo
from programs import client_program
from report import OURS, as_json, best_peer, heading, machine, markdown, ratio
from server_process import ROOT, python_command


def parse() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        prog="run.py bench",
        description=(__doc__ or "").partition("\n")[0],
        epilog="Exit code 1 if --require is given and not met, or if pyiocp itself fails.",
    )
    names = [contest.name for contest in all_contests()]
    parser.add_argument("contests", nargs="*", metavar="CONTEST", help="see --list; echo: as below")
    parser.add_argument("--list", action="store_true", help="name the contests and contenders")
    parser.add_argument("--servers", nargs="+", metavar="NAME", help="only these contenders")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4.0, help="counted, in each round")
    parser.add_argument("--warm-up", type=float, default=1.0, help="seconds not counted")
    parser.add_argument("--connections", type=int, default=100, help="of the contest `echo`")
    parser.add_argument("--size", type=int, default=64, help="bytes a message, of `echo`")
    parser.add_argument("--depth", type=int, default=1, help="messages under way, of `echo`")
    parser.add_argument("--python", help="which Python for Windows, off Windows: 3.13, 3.13t")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every figure there")
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="write the tables there, too")
    parser.add_argument("--charts", metavar="FOLDER", type=Path, help="draw charts there")
    parser.add_argument(
        "--require",
        type=float,
        metavar="RATIO",
        help="exit 1 unless pyiocp is so many times as good as the best other library",
    )
    options = parser.parse_args()
    for name in options.contests:
        if name not in (*names, "echo"):
            parser.error(f"no contest {name!r}; there are echo, {', '.join(names)}")
    if options.rounds < 1 or options.seconds <= 0 or options.warm_up < 0:
        parser.error("--rounds and --seconds must be more than 0, --warm-up at least 0")
    if options.charts and not options.json:
        parser.error("--charts needs --json, which it draws")
    return options


def main() -> int:
    """Run the contests that the command line names."""
    given = parse()
    contests = {contest.name: contest for contest in all_contests()}
    custom = echo.contest("echo", given.connections, given.size, given.depth)
    if given.list:
        for contest in contests.values():
            print(f"{contest.name}: {contest.title}\n    {', '.join(contest.contenders)}")
        return 0
    chosen = [contests.get(name, custom) for name in given.contests or contests]
    options = Options(given.python, given.rounds, given.seconds, given.warm_up)
    client_program("echo")  # what cannot be compiled is said before anything is measured
    about = machine(options)
    said = [heading(about) + "\n"]
    print(said[0], flush=True)
    outcomes = []
    for contest in chosen:
        contenders = [n for n in contest.contenders if n in (given.servers or contest.contenders)]
        outcomes.append(run(contest, contenders, options))
        said.append(markdown(outcomes[-1]))
        print(said[-1], flush=True)
        if given.json:  # after each, so that a run that is cut short leaves what it has
            given.json.write_text(as_json(outcomes, about, options), encoding="utf-8")
    if given.markdown:
        given.markdown.write_text("\n".join(said), encoding="utf-8")
    if given.charts:
        draw = ("benchmarks/charts.py", given.json.resolve(), given.charts.resolve())
        subprocess.run([*python_command(given.python), *map(str, draw)], cwd=ROOT, check=True)
    failed = any(OURS in outcome.failures for outcome in outcomes)
    for outcome in outcomes:
        peer = best_peer(outcome)
        if given.require and peer and (ratio(outcome, peer) or 0) < given.require:
            print(f"{outcome.contest.name}: less than {given.require} x {peer}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
