"""What run.py reads from pyproject.toml."""

from tools.setup.extras import requirements


def test_extras_are_read_from_pyproject() -> None:
    """An extra that names another one brings what that requires."""
    test, dev = requirements(["test"]), requirements(["dev"])
    assert any(line.startswith("pytest>") for line in test)
    assert set(test) < set(dev)
    assert [line for line in dev if line.startswith("pyiocp")] == []
