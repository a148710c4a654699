"""Where tests run: on this system or in Windows Python."""

import pytest

from tools.setup import pytest_runs


@pytest.mark.parametrize(
    ("line", "host", "windows"),
    [
        ("-k name", [], ["-k", "name"]),
        ("-x tests/runner", ["-x", "tests/runner"], []),
        ("tests -x", [], ["tests", "-x"]),
        (
            "tests/runner/conftest.py::name tests/../pyiocp -q",
            ["tests/runner/conftest.py::name", "-q"],
            ["tests/../pyiocp", "-q"],
        ),
    ],
)
def test_where_tests_run(line: str, host: object, windows: object) -> None:
    """A path decides where tests run; without one they run in Windows Python."""
    assert pytest_runs.split_arguments(line.split()) == (host, windows)


def test_expression_longer_than_a_name_may_be_is_no_path() -> None:
    """The system would say "File name too long" if it was asked whether it is there."""
    arguments = ["-k", " or ".join(f"name{n}" for n in range(100))]
    assert pytest_runs.split_arguments(arguments) == ([], arguments)
