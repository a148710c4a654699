"""pyiocp's echo with sessions that wait without a buffer."""

from . import pyiocp
from .control import Control


def serve_echo(control: Control) -> None:
    """Send back what comes."""
    pyiocp.Echo.zero_byte_after = 0
    pyiocp.serve_echo(control)
