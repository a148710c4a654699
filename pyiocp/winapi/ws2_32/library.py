"""ws2_32.dll, once."""

from ..binding import Library

ws2_32 = Library("ws2_32.dll")
