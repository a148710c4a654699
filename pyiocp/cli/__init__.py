"""The command line, ``python -m pyiocp``: what can be seen of completion ports without code.

``command_line`` knows the commands. Each is a module with three names: ``HELP``, a line
for the list of commands; ``add_arguments``, which describes its options; and ``run``,
which does it and returns an exit code. Adding a command is adding such a module to
``command_line.COMMANDS``.

Everything here stands on what ``pyiocp`` itself exports, like a user's own program, and
works without any third-party package; with ``rich`` it looks better.
"""
