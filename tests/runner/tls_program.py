"""A TLS server or client of pyiocp's, for test_openssl.py: runs in Python for Windows.

``serve N`` prints its port number, serves N connections by sending each line back in
capitals, and prints what was agreed upon and how each ended. ``ask PORT`` sends a line to a
server there, prints the answer, and the same.
"""

import json
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "helpers"))

from tls_context import client_context, server_context

from pyiocp import CompletionPort, Delimited, FramedSession


class Telling(FramedSession):
    """Tells how it ends."""

    framing = Delimited(b"\n")

    def on_close(self, error: OSError | None) -> None:
        """Print it, as a line of JSON."""
        tls = self.tls
        agreed = None if tls is None else [tls.version, tls.alpn]
        print(json.dumps({"agreed": agreed, "error": error and repr(error)}), flush=True)
        ended.append(self)
        if len(ended) == expected:
            port.stop()


class Capitals(Telling):
    """The server."""

    def on_frame(self, frame: memoryview) -> None:
        """Send the line back in capitals."""
        self.send_frame(bytes(frame).upper())


class Question(Telling):
    """The client."""

    def on_connect(self) -> None:
        """Ask."""
        self.send_frame(b"a question")

    def on_frame(self, frame: memoryview) -> None:
        """Print the answer, and leave."""
        print(bytes(frame).decode(), flush=True)
        self.close()


ended: list[Telling] = []
command, number = sys.argv[1], int(sys.argv[2])
expected = number if command == "serve" else 1
with CompletionPort() as port:
    port.call_later(60, port.stop)
    context = server_context() if command == "serve" else client_context()
    context.set_alpn_protocols(["game/2", "game/1"])
    if command == "serve":
        listener = port.listen(("127.0.0.1", 0), Capitals, tls=context)
        print(listener.address[1], flush=True)
    else:
        port.connect(("127.0.0.1", number), Question, tls=context, server_hostname="localhost")
    port.run()
