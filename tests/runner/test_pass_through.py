"""`run.py python` is as good as the interpreter itself: arguments, streams, exit codes, signals."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import ROOT, clean_environment

pytestmark = pytest.mark.usefixtures("ready")
RUN = [sys.executable, str(ROOT / "run.py"), "python"]
not_on_windows = pytest.mark.skipif(
    sys.platform == "win32", reason="there run.py hands its own console on, with nothing between"
)


@contextlib.contextmanager
def started(code: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start Windows Python on a program and have it ended in any case."""
    process = subprocess.Popen(
        [*RUN, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=clean_environment(),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def finished(code: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run Windows Python on a program to its end."""
    return subprocess.run(
        [*RUN, "-c", code], input=data, capture_output=True, env=clean_environment(), check=False
    )


def test_the_interpreter_is_windows() -> None:
    """Its platform is win32, and it can import the package from this checkout."""
    done = finished("import sys, pyiocp; print(sys.platform, pyiocp.__file__)")
    platform, _, file = done.stdout.decode().strip().partition(" ")
    assert platform == "win32"
    assert file.replace("\\", "/").endswith(f"{ROOT.name}/pyiocp/__init__.py")


def test_arguments_arrive_as_they_were_given() -> None:
    """Quotes, spaces, backslashes, nothing at all and letters beyond ASCII survive."""
    given = ["two words", 'a "quote"', "back\\slash\\", "", "--python", "3.99", "é→", "*", "%PATH%"]
    code = "import json, sys; print(json.dumps(sys.argv[1:]))"
    output = subprocess.check_output([*RUN, "-c", code, *given], env=clean_environment())
    assert json.loads(output) == given


@pytest.mark.parametrize(
    ("ending", "code"),
    [
        ("pass", 0),
        ("sys.exit(3)", 3),
        ("sys.exit(255)", 255),
        ("raise RuntimeError", 1),
        ("os._exit(7)", 7),
        # More than POSIX can say; what would be left of 256 is success.
        pytest.param("sys.exit(256)", 255, marks=not_on_windows),
        pytest.param("os._exit(-1)", 255, marks=not_on_windows),
        pytest.param("os.kill(os.getpid(), 0xC0000005)", 255, marks=not_on_windows),
    ],
)
def test_exit_code(ending: str, code: int) -> None:
    """The exit code is the interpreter's, and never 0 when that was not."""
    assert finished(f"import os, sys; {ending}").returncode == code


def test_a_crash_says_its_windows_exit_code() -> None:
    """What 255 hides is on stderr."""
    if sys.platform == "win32":
        pytest.skip("there the exit code is not folded")
    done = finished("import os; os.kill(os.getpid(), 0xC0000005)")
    assert b"run.py: Python ended with Windows exit code 0xC0000005" in done.stderr


def test_output_comes_as_it_is_written() -> None:
    """The first line of either stream arrives while the program waits for an answer to it."""
    code = (
        "import sys; print('out', flush=True); print('err', file=sys.stderr, flush=True);"
        "sys.exit(5 if input() == 'answer' else 6)"
    )
    with started(code) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().strip() == b"out"
        assert process.stderr.readline().strip() == b"err"
        process.stdin.write(b"answer\n")
        process.stdin.flush()
        assert process.wait() == 5


def test_streams_are_binary_clean() -> None:
    """A megabyte of every byte value comes back unchanged, to the last byte."""
    data = bytes(range(256)) * 4096
    done = finished(
        "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); sys.stdout.flush()", data
    )
    assert (done.returncode, done.stdout) == (0, data)


def test_streams_may_be_files(tmp_path: Path) -> None:
    """Regular files as stdin and stdout work, which Windows Python under Wine cannot take."""
    source, target = tmp_path / "in", tmp_path / "out"
    source.write_bytes(b"from a file")
    code = "import sys; print(sys.stdin.read())"
    with source.open("rb") as stdin, target.open("wb") as stdout:
        subprocess.run(
            [*RUN, "-c", code], stdin=stdin, stdout=stdout, env=clean_environment(), check=True
        )
    assert target.read_bytes().strip() == b"from a file"


@not_on_windows
def test_text_is_utf_8() -> None:
    """What prints on Windows' console prints here, whatever the locale of this end."""
    environment = clean_environment() | {"LC_ALL": "C"}
    output = subprocess.check_output([*RUN, "-c", "print('╭→é')"], env=environment)
    assert output.decode().strip() == "╭→é"


@not_on_windows
def test_ctrl_c_is_a_keyboard_interrupt() -> None:
    """SIGINT raises KeyboardInterrupt in Windows Python, which may handle it."""
    code = (
        "import sys, time\n"
        "try: print('ready', flush=True); time.sleep(60)\n"
        "except KeyboardInterrupt: print('interrupted'); sys.exit(7)"
    )
    with started(code) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == b"ready"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read().strip() == b"interrupted"
        assert process.wait() == 7


@not_on_windows
def test_ctrl_c_without_a_handler_ends_as_shells_expect() -> None:
    """An unhandled KeyboardInterrupt is exit code 130."""
    with started("import time; print('ready', flush=True); time.sleep(60)") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert b"KeyboardInterrupt" in process.stderr.read()
        assert process.wait() == 130


@not_on_windows
def test_third_ctrl_c_ends_a_program_that_will_not() -> None:
    """A program that ignores Ctrl-C is ended by force."""
    code = (
        "import signal, time; signal.signal(signal.SIGINT, lambda *_: print('no', flush=True));"
        "print('ready', flush=True)\nwhile True: time.sleep(0.01)"
    )
    with started(code) as process:
        assert process.stdout is not None
        process.stdout.readline()
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            assert process.stdout.readline().strip() == b"no"
        process.send_signal(signal.SIGINT)
        assert process.wait() == 128 + signal.SIGKILL


@not_on_windows
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_children_end_with_run_py(number: signal.Signals) -> None:
    """However run.py ends, Windows Python and its own children end with it."""
    mark = f"mark-{os.getpid()}-{time.time_ns()}"
    code = (
        "import subprocess, sys, time\n"
        "if sys.argv[1] == 'parent':\n"
        "    subprocess.Popen([sys.executable, '-c', sys.argv[3], 'child', sys.argv[2], ''],\n"
        "        creationflags=subprocess.CREATE_NEW_PROCESS_GROUP)\n"
        "print('ready', flush=True); time.sleep(60)"
    )
    with started(code, "parent", mark, code) as process:
        assert process.stdout is not None
        assert [process.stdout.readline().strip() for _ in range(2)] == [b"ready", b"ready"]
        assert len(processes_with(mark)) >= 3  # run.py, the interpreter and its child
        process.send_signal(number)
        process.wait()
        deadline = time.monotonic() + 60
        while processes_with(mark) and time.monotonic() < deadline:
            time.sleep(0.05)  # for the system to end them; bounded above
        assert processes_with(mark) == []


def processes_with(argument: str) -> list[int]:
    """List the processes, zombies aside, that have a string among their arguments."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdecimal() and int(folder.name) != os.getpid():
            with contextlib.suppress(OSError):
                if argument.encode() in (folder / "cmdline").read_bytes():
                    found.append(int(folder.name))
    return found


def test_second_start_is_quick() -> None:
    """With the set-up done, Python runs within three seconds: of processors, which may be busy."""
    before = os.times()
    with started("print('running', flush=True)") as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.wait()
    after = os.times()
    taken = (after.children_user, after.children_system)
    assert sum(taken) - before.children_user - before.children_system < 3


def test_shell_reads_a_pipe() -> None:
    """`run.py shell` with a pipe as stdin is an interactive interpreter all the same."""
    done = subprocess.run(
        [*RUN[:-1], "shell"],
        input=b"print(6 * 7)\nimport sys; print(sys.platform)\n",
        capture_output=True,
        env=clean_environment(),
        check=False,
    )
    lines = done.stdout.decode().split()
    assert (done.returncode, lines[-2:]) == (0, ["42", "win32"])
