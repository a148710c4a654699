"""SubprocessTransport: a child process of asyncio's, whose end is a packet on the port."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from ..handles.waits.process import Process, ProcessWaitOperation
from .asyncio_internals import BaseSubprocessTransport, popen

if TYPE_CHECKING:
    from ..engine.packet import Packet


class SubprocessTransport(BaseSubprocessTransport):
    """The transport of a process; see `asyncio.SubprocessTransport`.

    No thread waits for the process: any number of them may run.

    Lifetime: a process that runs when the loop is closed is ended then.
    """

    def _start(
        self,
        args: Any,
        shell: bool,
        stdin: Any,
        stdout: Any,
        stderr: Any,
        bufsize: int,
        **settings: Any,
    ) -> None:
        """Start the process; called by the base."""
        self._proc = popen(
            args,
            shell=shell,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            bufsize=bufsize,
            **settings,
        )
        try:
            self._process = Process.open(self._loop._queue, self._proc, None, None, None)
            operation = ProcessWaitOperation(self._process)
            operation.receiver = self._ended
            operation.post()
        except BaseException:
            self._proc.kill()
            self._proc.wait()
            for pipe in (self._proc.stdin, self._proc.stdout, self._proc.stderr):
                if pipe is not None:
                    pipe.close()
            raise

    def _ended(self, operation: Packet, count: int, status: int) -> None:
        """Tell the protocol that the process has ended: a receiver."""
        operation.finish(count, status)
        self._process.close()
        if self._process.home.closing:
            self._end_with_the_loop()
            return
        # What subprocess says, who may have been asked before: it knows the same handle.
        code = self._proc.poll()
        if code is not None:
            self._process_exited(code)

    def _end_with_the_loop(self) -> None:
        """End the process, as `close` does: when the program exits it may be too late for that."""
        if not self._closed:
            warnings.warn(f"unclosed transport {self!r}", ResourceWarning, 2, source=self)
            self.close()
