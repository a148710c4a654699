"""Ring 4: the same `Session` under every network model of Windows.

There is more than one way in which a program can wait for many sockets at once, and people
come to completion ports by way of the others. Here they stand side by side, each in a file
of its own that can be read as a lesson on it, and each runs a `Session` unchanged::

    from pyiocp import Session, models

    class Echo(Session):
        def on_receive(self, data):
            self.send(data)

    with models.serve("select", ("127.0.0.1", 9000), Echo) as server:
        server.run()

``python -m pyiocp models`` measures them against each other, and docs/models.md compares.

They are there to compare and to learn from. A server that is to serve is better off with
`CompletionPort`, which has TLS, files, limits and several threads besides.
"""

from __future__ import annotations

from .limit import ModelLimitError as ModelLimitError
from .server import ModelServer as ModelServer
from .serving import MODELS as MODELS
from .serving import serve as serve
