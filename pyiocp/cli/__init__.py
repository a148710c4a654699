"""The command line, ``python -m pyiocp``: completion ports at work, without writing code.

``command_line`` lists the commands. Each is a module with three names: ``HELP``, a line for the
list of commands; ``add_arguments``, which describes its options; and ``run``, which runs it and
returns an exit code. To add a command, add such a module to ``command_line.COMMANDS``.

Everything here uses only what ``pyiocp`` exports, like a user's own program, and works without
any third-party package; with ``rich`` it looks better.
"""
