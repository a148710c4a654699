"""Contest: contenders that do the same thing, measured by turns.

Each round measures every contender once (A B C, A B C, …), so that a drift of the machine falls
on all of them. What counts are the ratios; absolute figures are those of this machine at this
moment.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from server_process import ServerError


@dataclass(frozen=True)
class Options:
    """What the command line says about all contests."""

    python: str | None = None
    rounds: int = 3
    seconds: float = 4.0
    warm_up: float = 1.0


@dataclass(frozen=True)
class Figure:
    """A figure that a contest shows: its key, what a table calls it, and its format."""

    key: str
    heading: str
    form: str = ",.0f"


@dataclass(frozen=True)
class Contest:
    """What is compared: `measure` returns one contender's figures for one round.

    The first of the `figures` is the one that counts; `more_is_better` says how.
    """

    name: str
    title: str
    contenders: Sequence[str]
    measure: Callable[[str, Options], dict[str, float]]
    figures: Sequence[Figure]
    more_is_better: bool = True


@dataclass
class Outcome:
    """What came of a contest: every round's figures, or why a contender has none."""

    contest: Contest
    rounds: dict[str, list[dict[str, float]]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def median(self, contender: str, key: str) -> float | None:
        """Return the median over the rounds, or None if it has no such figure."""
        values = [found[key] for found in self.rounds.get(contender, []) if key in found]
        return statistics.median(values) if values else None

    def spread(self, contender: str, key: str) -> float | None:
        """Return by how much the rounds differ: largest less smallest, over the median."""
        values = [found[key] for found in self.rounds.get(contender, []) if key in found]
        median = statistics.median(values) if values else 0
        return (max(values) - min(values)) / median if median else None


def run(contest: Contest, contenders: Sequence[str], options: Options) -> Outcome:
    """Measure the contenders by turns; who fails once is left out from then on."""
    outcome = Outcome(contest)
    for number in range(1, options.rounds + 1):
        for contender in contenders:
            if contender in outcome.failures:
                continue
            print(f"{contest.name}: round {number}, {contender} ...", file=sys.stderr, flush=True)
            try:
                found = contest.measure(contender, options)
            except ServerError as error:
                outcome.failures[contender] = str(error)
            else:
                outcome.rounds.setdefault(contender, []).append(found)
    return outcome
