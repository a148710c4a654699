"""Target: what a client connects to, and how, checked once when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..resolve import check_address, is_numeric, resolve_all
from .local_address import LocalAddress

if TYPE_CHECKING:
    from ssl import SSLContext

    from ..tls.tls_side import TlsSide


class Target:
    """What to connect to, and how: a plain value, for any number of connections.

    The arguments are those of ``CompletionPort.connect``. When to try again is not part
    of it: each kind of client has its own way.

    Raises TypeError and ValueError for bad arguments.
    """

    def __init__(
        self,
        address: Any,
        timeout: float | None,
        no_delay: bool,
        tls: SSLContext | None,
        server_hostname: str | None,
        handshake_timeout: float,
        local_address: Any,
    ) -> None:
        self.address = address
        """As it was given, for messages."""
        self.addresses = tuple(address) if isinstance(address, list) else (address,)
        """One or more ``(host, port)``."""
        if not self.addresses:
            raise ValueError("an address to connect to is needed, not an empty list")
        for each in self.addresses:
            check_address(each)
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be None or more than 0 seconds, not {timeout}")
        self.timeout = timeout
        self.no_delay = no_delay
        self.local = LocalAddress(local_address, self.addresses)
        self.tls = None
        if tls is not None:
            name = _as_in_certificates(server_hostname) if server_hostname else server_hostname
            self.tls = make_tls_side(
                tls,
                handshake_timeout,
                server_side=False,
                server_hostname=self._host() if name is None else name,
            )

    def _host(self) -> str:
        """Return the name that the server's certificate must have, if the user has said none."""
        hosts = {_as_in_certificates(host) for host, *_ in self.addresses}
        if len(hosts) > 1:
            raise ValueError(
                f"server_hostname is needed: the addresses are of several hosts ({sorted(hosts)}),"
                " and a certificate is checked against one name"
            )
        return hosts.pop()


def _as_in_certificates(host: str) -> str:
    """Return a host as certificates and TLS's server_name write it (RFC 6066, section 3).

    That is a name without the dot at its end, or an IP address, in its usual form and without a
    zone, which is this machine's own. `ssl` sends an IP address to nobody, and checks for it.
    """
    if is_numeric((host, 0)):
        [(_, numeric), *_] = resolve_all((host, 0))
        return str(numeric[0]).partition("%")[0]
    return host.removesuffix(".")


def make_tls_side(
    context: SSLContext | None,
    handshake_timeout: float,
    *,
    server_side: bool,
    server_hostname: str | None = None,
) -> TlsSide | None:
    """Return the TLS settings for a context, if there is one; raises what `TlsSide` raises.

    server_hostname: as certificates have it.
    """
    if context is None:
        return None
    # Importing ssl takes 20 ms: only do it when TLS is used.
    from ..tls.tls_side import TlsSide  # noqa: PLC0415

    return TlsSide(
        context,
        server_side=server_side,
        server_hostname=server_hostname or None,
        handshake_timeout=handshake_timeout,
    )
