"""The Windows CPython that is put together: DLLs of a wheel, library of the host, our python.exe.

Its pip comes from PyPI too: Debian's Python lacks the copy that ensurepip would unpack.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from . import c_programs, debian, downloads, places, standard_library
from .cache import files_under, replace_folder
from .messages import progress
from .steps import Step
from .versions import Version

NOT_COPIED = (
    *("__pycache__", "lib-dynload", "site-packages", "dist-packages", "config-*"),
    "EXTERNALLY-MANAGED",
)
"""Parts of the library that are not for Windows, and Debian's mark that pip must not install."""


class Interpreter:
    """A version of Windows CPython in the cache, and the steps that make it."""

    def __init__(self, version: Version) -> None:
        self.version = version
        self.root = places.CACHE / f"cpython-{version.text}"
        self.program = self.root / "python.exe"
        self.supervisor = self.root / "supervise.exe"
        self.site = self.root / "Lib" / "site-packages"
        self.built_from = (
            (downloads.PANDA3D, downloads.PANDA3D_SHA256.get(version.text)),
            *(source.read_text(encoding="utf-8") for source in c_programs.SOURCES),
            (c_programs.FLAGS, version.text),
        )
        name, pip = f"cpython-{version.text}", (downloads.PIP, downloads.PIP_SHA256)
        self.build_step = Step(name, self.built_from, 500, self.build)
        self.pip_step = Step(f"{name}-pip", (self.built_from, pip), 50, self.install_pip)

    def build(self, _damaged: bool) -> tuple[Path, list[Path]]:
        """Put the interpreter together."""
        library = standard_library.find(self.version.minor)
        wheel = downloads.windows_cpython(self.version)
        debian.require_programs(debian.COMPILER)
        new = self.root.with_name(f"{self.root.name}.partial")
        with progress(f"putting together Windows CPython {self.version.text}"):
            shutil.rmtree(new, ignore_errors=True)
            (new / "DLLs").mkdir(parents=True)
            unpack(wheel, new)
            shutil.copytree(library, new / "Lib", ignore=shutil.ignore_patterns(*NOT_COPIED))
            (new / "Lib" / "site-packages").mkdir()
            dll = f'PYTHON_DLL=L"python{self.version.tag}.dll"'
            c_programs.compile_for_windows(c_programs.PYTHON, new / self.program.name, [dll])
            c_programs.compile_for_windows(c_programs.SUPERVISE, new / self.supervisor.name)
            replace_folder(new, self.root)
        return self.root, files_under(self.root)

    def install_pip(self, _damaged: bool) -> tuple[Path, list[Path]]:
        """Unpack pip."""
        for old in self.site.glob("pip*"):  # files of two versions would be mixed otherwise
            shutil.rmtree(old)
        with zipfile.ZipFile(downloads.pip()) as wheel:
            wheel.extractall(self.site)
        return self.site, files_under(self.site / "pip")


def unpack(wheel: Path, root: Path) -> None:
    """Take the interpreter, its extension modules and their DLLs out of the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder, _, file = name.rpartition("/")
            if folder != "deploy_libs" or not file.endswith((".dll", ".pyd")):
                continue
            # The C runtime is Wine's own. Importing _wmi ends the process, as Wine 8 lacks a
            # function that it needs; platform works without the module.
            if file.startswith(("api-ms-", "ucrtbase", "_wmi.")):
                continue
            beside_exe = file.lower().startswith(("python3", "vcruntime"))
            target = root / file if beside_exe else root / "DLLs" / file
            target.write_bytes(archive.read(name))
