"""Addresses on a command line: ``127.0.0.1:9000``, ``[::1]:9000``."""

from __future__ import annotations

from argparse import ArgumentTypeError


def parse_address(text: str) -> tuple[str, int]:
    """Return host and port of ``HOST:PORT``; an IPv6 host is in brackets.

    An empty host is every IPv4 interface. Raises `ArgumentTypeError` with what is wrong.
    """
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ArgumentTypeError(f"{text!r} lacks a port: write HOST:PORT, such as 127.0.0.1:9000")
    if not (port.isascii() and port.isdecimal() and int(port) <= 65535):
        raise ArgumentTypeError(f"{port!r} is no port: a number from 0 to 65535 is needed")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ArgumentTypeError(f"write an IPv6 address in brackets: [{host}]:{port}")
    return host, int(port)
