"""The set-up of run.py: from nothing, twice at once, and with a damaged cache."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from checkouts import Checkout

from tools.setup.versions import Version

not_on_windows = pytest.mark.skipif(
    sys.platform == "win32", reason="there the set-up is a virtual environment"
)
MakeCheckout = Callable[[str], Checkout]


@pytest.fixture(scope="session")
def checkout(make_checkout: MakeCheckout) -> tuple[Checkout, list[str]]:
    """Return a checkout set up from nothing by two run.py at once, and what the two said."""
    checkout = make_checkout("checkout")
    both = [
        subprocess.Popen(
            checkout.command("python", "-c", "import iniconfig; print('both run')"),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            env=checkout.environment(),
        )
        for _ in range(2)
    ]
    return checkout, [process.communicate()[0] for process in both]


@not_on_windows
def test_two_at_once_set_up_once(checkout: tuple[Checkout, list[str]]) -> None:
    """Both of two first starts work, and each step of the set-up is done by one of them."""
    _, said = checkout
    assert ["both run" in text for text in said] == [True, True]
    together = "".join(said)
    for step in ("putting together Windows CPython", "a Windows for Wine", "installing for"):
        assert together.count(f"{step}") == 2, f"{step!r} begins and ends once in {together}"
    assert together.count("waiting for another run.py") == 1


@not_on_windows
def test_nothing_is_done_twice(checkout: tuple[Checkout, list[str]]) -> None:
    """A second start has nothing to say."""
    done = checkout[0].run("python", "-c", "print('again')")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "again", "")


@not_on_windows
def test_a_truncated_dll_is_repaired(checkout: tuple[Checkout, list[str]]) -> None:
    """An interpreter with a file cut short is built again, and its packages with it."""
    version = Version.running()
    (checkout[0].cache / f"cpython-{version.text}" / f"python{version.tag}.dll").write_bytes(b"MZ")
    done = checkout[0].run("python", "-c", "import iniconfig; print('repaired')")
    assert (done.returncode, done.stdout.strip()) == (0, "repaired"), done.stderr
    assert "putting together Windows CPython" in done.stderr


@not_on_windows
def test_a_damaged_package_is_repaired(checkout: tuple[Checkout, list[str]]) -> None:
    """A package that lost a module is installed again, although pip thinks that it is there."""
    library = checkout[0].cache / f"cpython-{Version.running().text}" / "Lib"
    (library / "site-packages" / "iniconfig" / "__init__.py").unlink()
    done = checkout[0].run("python", "-c", "import iniconfig; print(iniconfig.IniConfig)")
    assert (done.returncode, "IniConfig" in done.stdout) == (0, True), done.stderr
    assert "putting together" not in done.stderr


@not_on_windows
def test_an_interpreter_that_does_not_start_is_repaired(
    checkout: tuple[Checkout, list[str]],
) -> None:
    """Damage that sizes do not show is noticed when the interpreter cannot start."""
    library = checkout[0].cache / f"cpython-{Version.running().text}" / "Lib"
    codec = library / "encodings" / "__init__.py"
    codec.write_bytes(b"!" * codec.stat().st_size)
    for compiled in (codec.parent / "__pycache__").glob("__init__.*"):
        compiled.unlink()
    done = checkout[0].run("python", "-c", "print('repaired')")
    assert (done.returncode, done.stdout.strip()) == (0, "repaired")
    assert "run.py: the cached Windows Python does not start" in done.stderr


@not_on_windows
def test_a_failing_program_is_no_damage(checkout: tuple[Checkout, list[str]]) -> None:
    """An interpreter whose program fails is left as it is."""
    done = checkout[0].run("python", "-c", "import sys; sys.exit(9)")
    assert (done.returncode, done.stderr) == (9, "")


@not_on_windows
def test_a_broken_wine_prefix_is_made_again(checkout: tuple[Checkout, list[str]]) -> None:
    """A Windows without its kernel32.dll is made anew."""
    (checkout[0].cache / "wine" / "drive_c" / "windows" / "system32" / "kernel32.dll").unlink()
    done = checkout[0].run("python", "-c", "print('made again')")
    assert (done.returncode, done.stdout.strip()) == (0, "made again"), done.stderr
    assert "making a Windows for Wine" in done.stderr


@not_on_windows
def test_ctrl_c_during_the_set_up_is_one_line(empty_checkout: Checkout) -> None:
    """Ctrl-C while something is being set up ends it, with a line instead of a traceback."""
    fake = empty_checkout.root / "bin"
    fake.mkdir()
    for name in ("wine", "wineserver", "apt-get"):
        (fake / name).write_text("#!/bin/sh\n")
        (fake / name).chmod(0o755)
    pip = empty_checkout.root / "pip.py"  # the module that `python -m pip` finds: one that hangs
    pip.write_text("import sys, time\nif '--version' not in sys.argv: time.sleep(60)")
    process = subprocess.Popen(
        empty_checkout.command("setup"),
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=empty_checkout.environment()
        | {"PATH": f"{fake}:{os.environ['PATH']}", "PYTHONPATH": str(empty_checkout.root)},
        start_new_session=True,
        # In the background of a script, Ctrl-C is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    with process:
        assert process.stderr is not None
        assert "fetching Windows CPython" in process.stderr.readline()
        time.sleep(0.2)  # wherever it is by then, the same holds
        os.killpg(process.pid, signal.SIGINT)
        rest = process.stderr.read()
    assert (process.returncode, rest) == (130, "run.py: interrupted; what was finished is kept\n")
