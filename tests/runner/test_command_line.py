"""What run.py makes of its command line."""

import re
from types import ModuleType

import pytest
from checkouts import Checkout

from tools.setup.command_line import parse


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        ("", ("help", None, [])),
        ("demo", ("demo", None, [])),
        ("--python 3.12 test -k name", ("test", "3.12", ["-k", "name"])),
        ("test --python 3.13t -k name", ("test", "3.13t", ["-k", "name"])),
        ("--python=3.12 python -c pass", ("python", "3.12", ["-c", "pass"])),
        ("python script.py --python 3.12", ("python", None, ["script.py", "--python", "3.12"])),
        ("python --version", ("python", None, ["--version"])),
    ],
)
def test_parse(line: str, parsed: object) -> None:
    """--python belongs to run.py right before or after the command, and else to the command."""
    assert parse(line.split()) == parsed


def test_help_names_every_command(run: ModuleType, empty_checkout: Checkout) -> None:
    """`run.py help` has a line for each command there is, and for no other."""
    done = empty_checkout.run("help")
    named = re.findall(r"^    python3 run\.py (\w+)", done.stdout, re.MULTILINE)
    assert sorted(named) == sorted(run.COMMANDS)
