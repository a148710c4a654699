"""mswsock.dll, once: only for the one extension function that has no socket to ask."""

from ..binding import Library

mswsock = Library("mswsock.dll")
