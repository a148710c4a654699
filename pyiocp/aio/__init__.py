"""An asyncio event loop on a completion port.

``aio.run(main())`` in any version of Python, and from 3.12 on
``asyncio.run(main(), loop_factory=aio.new_event_loop)``.

The map:

- ``event_loop`` has the loop, and ``run``;
- ``port_selector`` asks the port what has happened, in the place of asyncio's selector;
- ``socket_transport`` has the transport of a TCP connection, ``accepting`` the accepts of a server;
- ``datagram_transport`` has that of a UDP socket, ``pipe_transport`` that of a pipe, and
  ``subprocess_transport`` that of a child; ``pipe_serving`` has servers of named pipes;
- ``signal_handlers`` has what ``add_signal_handler`` adds;
- ``completing`` has `completed`, which awaits an operation on the port; ``files`` has `open`;
- ``asyncio_internals`` names what is used of asyncio that its documentation does not promise.
"""

from .completing import completed as completed
from .event_loop import EventLoop as EventLoop
from .event_loop import new_event_loop as new_event_loop
from .event_loop import run as run
from .files.binary_file import BinaryFile as BinaryFile
from .files.opening import open as open  # noqa: A004
from .files.text_file import TextFile as TextFile

__all__ = ["BinaryFile", "EventLoop", "TextFile", "completed", "new_event_loop", "open", "run"]
