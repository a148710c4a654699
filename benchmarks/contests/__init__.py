"""The contests: one file for each kind of load."""

from collections.abc import Iterator

from contest import Contest

from . import broadcast, churn, datagrams, download, echo, files, idle


def all_contests() -> Iterator[Contest]:
    """Yield every contest, in the order in which a report has them."""
    yield from echo.CONTESTS
    yield churn.CONTEST
    yield broadcast.CONTEST
    yield datagrams.CONTEST
    yield download.CONTEST
    yield from files.CONTESTS
    yield idle.CONTEST
