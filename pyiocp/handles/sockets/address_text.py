"""Addresses as people read and write them: ``127.0.0.1:9000``, ``[::1]:9000``."""

from __future__ import annotations

from typing import Any


def show_address(address: Any) -> str:
    """Return a socket's address as text, or several, separated by commas; others as they are."""
    if not isinstance(address, (tuple, list)) or not address:
        return str(address)
    if not isinstance(address[0], str):
        return ", ".join(map(show_address, address))
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
