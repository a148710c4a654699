"""What the pages show runs, and does what they say."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from pages import PAGES, Block, all_blocks, blocks
from running import compiled, run_until_ctrl_c, serve_class
from visitors import VISITORS

from pyiocp.cli.shell import make_names

windows_only = pytest.mark.skipif(sys.platform != "win32", reason="runs examples on Windows")

HOW = re.compile(
    r"(?P<continues>continues)|not run, because .+"
    r"|(?:(?P<session>\w+) )?visited by (?P<visitor>\w+)"
)

TYPED = [page for page in PAGES if blocks(page, "pycon")]
PROGRAMS = all_blocks("python")
IN_SHELL = "typed into the shell"


def printed_by(text: str) -> list[str]:
    """Return what the comments behind ``print(…)`` say will be printed."""
    return re.findall(r"^ *print\(.*\)  # (.+)$", text, re.MULTILINE)


def preceding(block: Block) -> list[Block]:
    """Return the blocks that this one continues, first one first."""
    before: list[Block] = []
    for other in blocks(block.page, "python"):
        if not other.how.startswith("continues"):
            before.clear()
        if other == block:
            return before
        before.append(other)
    raise AssertionError(f"{block} is not on its page")


def test_every_comment_above_a_block_is_understood() -> None:
    """A comment with a slip of the pen would leave its block without its visitor."""
    for block in PROGRAMS:
        match = HOW.fullmatch(block.how)
        assert block.how == "" or match, f"{block}: {block.how!r}"
        if match and match["visitor"]:
            assert match["visitor"] in VISITORS, str(block)
    typed = [block for block in all_blocks("pycon") if block.how]
    assert {block.how for block in typed} == {IN_SHELL}
    comments = sum(page.read_text(encoding="utf-8").count("<!-- test:") for page in PAGES)
    assert comments == sum(bool(block.how) for block in PROGRAMS) + len(typed)


@windows_only
@pytest.mark.parametrize("page", TYPED, ids=lambda page: page.stem)
def test_what_is_typed_answers_as_printed(page: Path) -> None:
    """The examples of a page run in order, in one namespace, as somebody types them."""
    with ExitStack() as stack:
        in_shell = blocks(page, "pycon")[0].how == IN_SHELL
        answers_as_printed(page, make_names(stack) if in_shell else {})


def answers_as_printed(page: Path, names: dict[str, Any]) -> None:
    """Type the examples of a page where these names are there; compare all that is printed."""
    lines = [""] * len(page.read_text(encoding="utf-8").splitlines())
    for block in blocks(page, "pycon"):
        typed = block.text.splitlines()
        lines[block.line - 1 : block.line - 1 + len(typed)] = typed
    source = "\n".join(lines) + "\n"
    test = doctest.DocTestParser().get_doctest(source, names, page.stem, str(page), 0)
    assert test.examples
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
    result = runner.run(test, out=report.append)
    assert result.failed == 0, "".join(report)


@windows_only
@pytest.mark.parametrize("block", PROGRAMS, ids=str)
def test_program_does_what_the_page_says(
    block: Block, capsys: pytest.CaptureFixture[str], no_errors_logged: None
) -> None:
    """It runs to its end, or until Ctrl-C; it prints what the comments behind its prints say."""
    how = HOW.fullmatch(block.how)
    if how and how["visitor"] and not how["session"]:
        run_until_ctrl_c(block.text, str(block.page), block.line, how["visitor"])
        return
    if block.how.startswith("not run"):
        compiled(block.text, str(block.page), block.line)
        return
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for before in preceding(block):
        exec(compiled(before.text, str(before.page), before.line), namespace)
    capsys.readouterr()
    exec(compiled(block.text, str(block.page), block.line), namespace)
    if how and how["session"]:
        serve_class(namespace[how["session"]], how["visitor"])
    expected = printed_by(block.text)
    if expected:
        assert capsys.readouterr().out.splitlines() == expected


# Examples in docstrings of rings 2 and 3

SURROUNDINGS = """
import socket
from pyiocp import CompletionPort, Session
class Echo(Session):
    def on_receive(self, data):
        self.send(data)
sock, peer = socket.socketpair()
player = "a player"
peer.send(b"hello")
with sock, peer:
"""
"""What the examples in docstrings take for granted."""

IN_COROUTINE = """
import asyncio
from pyiocp import File, aio
async def main():
    loop = asyncio.get_running_loop()
"""
AFTER_COROUTINE = """
    if not isinstance(file, File):
        await file.close()
aio.run(main())
"""
"""The same for those of coroutines, which call a file that they open ``file``."""

VISITED = {"CompletionPort: 1": "echoes", "pyiocp.models: 1": "echoes"}
"""Examples that are servers, by the name of their object and their number there."""


def public_objects() -> dict[str, Any]:
    """Every module, class and function of rings 2 and 3, by its name."""
    import pyiocp

    objects: dict[str, Any] = {}
    for module_info in pkgutil.walk_packages(pyiocp.__path__, "pyiocp."):
        if module_info.name.startswith(("pyiocp.winapi", "pyiocp.cli", "pyiocp.__main__")):
            continue
        module = importlib.import_module(module_info.name)
        objects[module_info.name] = module
        for name, value in vars(module).items():
            homes = ("pyiocp", module_info.name)
            if inspect.isclass(value) and value.__module__ in homes:
                objects[name] = value
                for inner, member in vars(value).items():
                    if inspect.isfunction(member):
                        objects[f"{name}.{inner}"] = member
            elif inspect.isfunction(value) and value.__code__.co_filename == module.__file__:
                objects[f"{module_info.name}.{name}"] = value
    return objects


def docstring_examples() -> list[tuple[str, str]]:
    """Return the name and text of each block in a docstring that is Python."""
    found = []
    for name, value in public_objects().items():
        doc = inspect.getdoc(value) or ""
        number = 0
        for match in re.finditer(r"::\n\n((?:    .*\n|\n)+)", doc + "\n"):
            text = inspect.cleandoc("\n" + match[1])
            try:
                ast.parse(text)
            except SyntaxError:
                continue  # a drawing
            number += 1
            found.append((f"{name}: {number}", text))
    return found


EXAMPLES = docstring_examples()


def test_the_examples_in_docstrings_are_found() -> None:
    """Those of CompletionPort, which stand first in what ``help()`` shows."""
    assert {"CompletionPort: 1", "CompletionPort: 2"} <= {name for name, _ in EXAMPLES}
    assert set(VISITED) <= {name for name, _ in EXAMPLES}


@windows_only
@pytest.mark.parametrize(("name", "text"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_example_in_docstring_runs(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what it takes for granted around it: a connected pair of sockets, an Echo.

    Those of coroutines run in one, in a folder with a file.
    """
    monkeypatch.chdir(tmp_path)
    for file in ("log.txt", "log.bin"):
        (tmp_path / file).write_text("a line\n")
    if "await " in text or "async " in text:
        lines = "".join(f"    {line}\n" for line in text.splitlines())
        program = (
            f"{IN_COROUTINE}{lines}    if not isinstance(file, File):\n        await file.close()\n"
        )
        exec(compiled(f"{program}aio.run(main())\n", name), {"__name__": "__main__"})
        return
    indented = "".join(f"    {line}\n" for line in text.splitlines())
    program = SURROUNDINGS + indented
    if name in VISITED:
        run_until_ctrl_c(program, name, 1, VISITED[name])
    else:
        exec(compiled(program, name), {"__name__": "__main__"})
