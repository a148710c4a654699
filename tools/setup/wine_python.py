"""Windows Python where there is no Windows: the interpreter that is put together, under Wine."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from . import debian, extras, host_pip, places, wine
from .cache import files_under
from .children import run_inherited, run_piped
from .failures import Failure
from .interpreter import Interpreter
from .messages import progress, say
from .programs import call
from .steps import Step, set_up
from .versions import Version

PROBE_WITHIN_SECONDS = 10
"""A command that fails sooner than this may have failed because the interpreter is broken."""


class WinePython:
    """Windows CPython under Wine: the interpreter in the cache, in a Wine prefix of its own."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.interpreter = Interpreter(version)

    def set_up(self, names: Sequence[str]) -> None:
        """Put together what is not there yet, with the extras of these names."""
        if platform.machine() not in ("x86_64", "AMD64"):
            raise Failure(f"Wine needs an x86-64 machine here, not {platform.machine()}")
        debian.require_programs(debian.WINE)
        self.wine_step = wine.prefix_step()
        wanted = extras.requirements_under_wine(names)
        self.steps = [
            self.interpreter.build_step,  # first: it fails where the host lacks something
            self.interpreter.pip_step,
            self.wine_step,
            Step(
                f"cpython-{self.version.text}-{'-'.join(sorted(names))}",
                (self.interpreter.built_from, wanted, str(places.HERE)),
                200,
                lambda damaged: self.install(wanted, damaged),
            ),
        ]
        set_up(self.steps)

    def install(self, wanted: Sequence[str], damaged: bool) -> tuple[Path, list[Path]]:
        """Install what the extras require with pip under Wine, so that Windows markers hold."""
        site = self.interpreter.site
        checkout = wine.windows_path(places.HERE)
        (site / "pyiocp-checkout.pth").write_text(checkout + "\n", encoding="utf-8")
        with progress(f"installing for Windows Python {self.version.text}: {' '.join(wanted)}"):
            pip = ["wine", str(self.interpreter.program), "-m", "pip"]
            pip += ["--disable-pip-version-check", "--no-input", "install", "-q"]
            pip += ["--no-warn-script-location"]
            # A free-threaded build gets the newest version that has a wheel for it, not a newer one
            # whose source needs a compiler.
            pip += ["--prefer-binary"]
            pip += ["--no-compile"]  # Python compiles what it imports; all of it takes 7 s here
            pip += ["--force-reinstall"] if damaged else []
            # OpenSSL verifies, with pip's certificates or PIP_CERT: Windows' own verification, as
            # Wine has it, cannot be given any.
            pip += ["--use-deprecated", "legacy-certs"]
            call([*pip, *wanted], "pip in Windows Python", wine.environment() | pip_settings())
        others = [path for path in files_under(site) if "pip" not in path.parts]
        return site, others

    def run(self, arguments: Sequence[str], *, stdin: bool = True, cwd: Path | None = None) -> int:
        """Run the interpreter with our standard streams and return its exit code."""
        started = time.monotonic()
        code = run_piped(self.command(arguments), wine.environment(), stdin=stdin, cwd=cwd)
        if code and time.monotonic() - started < PROBE_WITHIN_SECONDS and self.repair():
            code = run_piped(self.command(arguments), wine.environment(), stdin=stdin, cwd=cwd)
        return code

    def interact(self, arguments: Sequence[str]) -> int:
        """Run the interpreter in Wine's console, which edits lines and passes on Ctrl-C."""
        if not all(os.isatty(stream) for stream in (0, 1, 2)):
            return self.run(arguments)
        import termios  # noqa: PLC0415 (not there on Windows)

        mode = termios.tcgetattr(0)
        env = wine.environment()
        env.pop("PYTHONIOENCODING", None)  # a console has an encoding of its own
        env["PYTHON_BASIC_REPL"] = "1"  # the new one edits lines too, and gets in Wine's way
        try:
            return run_inherited(self.command(arguments), env)
        finally:
            termios.tcsetattr(0, termios.TCSADRAIN, mode)

    def path(self, path: Path) -> str:
        """Return the name of a file as the interpreter sees it."""
        return wine.windows_path(path)

    def command(self, arguments: Sequence[str]) -> list[str]:
        """Return the command of the host that runs the interpreter."""
        wine.keep_warm()
        python = wine.windows_path(self.interpreter.program)
        return ["wine", str(self.interpreter.supervisor), python, *arguments]

    def repair(self) -> bool:
        """If the interpreter cannot even run `pass`, make it again and return True."""
        if self.starts():
            return False
        say("the cached Windows Python does not start: building it again")
        set_up([self.interpreter.build_step], again=True)
        if not self.starts():
            say("that did not help: making the Windows for Wine again too")
            set_up([self.wine_step], again=True)
        if not self.starts():
            raise Failure(f"Wine cannot run {self.interpreter.program}: is Wine all right?")
        set_up(self.steps)  # the packages that the new interpreter lacks
        return True

    def starts(self) -> bool:
        """Tell whether the interpreter starts."""
        try:
            call(["wine", self.interpreter.program, "-c", "pass"], "", wine.environment())
        except Failure:
            return False
        return True


def pip_settings() -> dict[str, str]:
    """Return what the host's pip knows of mirrors and certificates, for pip in Windows Python."""
    settings = host_pip.settings()
    shared = ("index-url", "extra-index-url", "trusted-host", "proxy")
    env = {f"PIP_{n.upper().replace('-', '_')}": settings[n] for n in shared if n in settings}
    bundle = Path(settings.get("cert", "/etc/ssl/certs/ca-certificates.crt"))
    return env | ({"PIP_CERT": wine.windows_path(bundle)} if bundle.is_file() else {})
