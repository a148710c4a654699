"""What run.py puts together, runs and says; nothing but the standard library is needed.

In the order in which a first run uses it:

==================  ============================================================
places              this checkout, and the folder for what is downloaded and made
messages            the lines that begin with `run.py:`
failures            `Failure`, and what a program's last words mean
command_line        the command, the version of Python and the rest
versions            a version of Python as the user writes it: 3.13, or 3.13t
windows_python      what both kinds of Windows Python can do, and which one it is
native_python       on Windows: a virtual environment
wine_python         elsewhere: Windows CPython under Wine
programs            programs of this machine that are run without being shown
cache               the lock on the cache, its disk space and its folders
steps               the steps of the set-up, and the records of those that are done
debian              Debian packages, installed when a program is missing
interpreter         the Windows CPython that is put together
standard_library    where this machine has the library of a version of Python
library_tests       the same of the library's tests, which Debian has in a package
host_pip            the pip of the running Python, and its settings
downloads           the wheels that are fetched, each pinned by its SHA-256
c_programs          python.c and supervise.c, compiled for Windows
wine                Wine's prefix, its environment and its server
extras              what pyproject.toml requires
children            programs that have our terminal or streams, and Ctrl-C
streams             passing on what a child writes and reads
host_tools          ruff, mypy and pytest for the running Python
pytest_runs         which tests run where
coverage            the tests again, and how many branches they take
==================  ============================================================

Imports of these modules go one way; `tests/runner` holds them to it.
"""
