"""Inbox: entries that are worked off one at a time, by whichever thread is there.

A session's completions and calls pass through one, and so do the changes in a directory: what
calls a hook is never called twice at once. No thread waits for another: one that finds the inbox
in use leaves the entry to the thread that is using it.

Whatever an entry raises goes to its owner's `on_failure`: KeyboardInterrupt and SystemExit too,
which then go on to who runs the port. A signal handler of the user's may raise anywhere (see
`queue`), also on the way to `on_failure`. So the turn is taken, an entry taken out and a failure
written down without a call, after which one might; and if anything is raised while there are
entries, the inbox becomes an event in the port's ready queue. It may be there twice: the second
time there is nothing left to do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable


class Inbox:
    """Calls functions one at a time, in the order in which they came.

    ready: the ready queue of the port, which goes on here after an exception.
    on_failure: called with what an entry has raised, within the exclusion. It must be good for
        being called again: it is if it was interrupted.
    """

    __slots__ = ("_entries", "_on_failure", "_ready", "_turn", "state")

    state: Any
    """Set when a port takes it from its ready queue, as an operation's."""

    def __init__(self, ready: deque[Any], on_failure: Callable[[BaseException], None]) -> None:
        #: A list, not a deque, which takes 700 bytes when it is empty, and mostly it is.
        self._entries: list[tuple[Callable[..., None], tuple[Any, ...]]] = []
        #: One item. Who removes it works; only one thread can. As good as a lock that is only ever
        #: tried, but 40 ns less; and up to CPython 3.12 each lock is a semaphore of the kernel's.
        self._turn = [True]
        self._on_failure = on_failure
        self._ready = ready

    def deliver(self, function: Callable[..., None], *arguments: Any) -> None:
        """Call the function, after what is there already, unless another thread is at it.

        Then that one calls it. What it raises goes to `on_failure`, within the exclusion.
        """
        try:
            self._entries.append((function, arguments))
            self.work()
        except BaseException:
            if self._entries:
                self._ready += ((self, 0, 0),)
            raise

    def deliver_end(self, function: Callable[[int, int], None], count: int, status: int) -> None:
        """The same for the end of an operation, with its byte count and its status.

        A receiver that calls this does nothing else: see `_not_begun` in `queue`.
        """
        entries, turn = self._entries, self._turn
        try:
            if entries:
                entries.append((function, (count, status)))
            else:
                try:
                    del turn[0]
                except IndexError:
                    entries.append((function, (count, status)))
                else:
                    # Nothing is there and nobody at it, as nearly always: 210 ns less.
                    try:
                        function(count, status)
                    except BaseException as error:  # noqa: BLE001, it may be a user's hook
                        entries[:0] = ((self._on_failure, (error,)),)
                        self._fail()
                    finally:
                        turn += (True,)
            if entries:
                self.work()
        except BaseException:
            if entries:
                self._ready += ((self, 0, 0),)
            raise

    @property
    def busy(self) -> bool:
        """Whether a thread is working it off: a `deliver` would leave its entry to that thread."""
        return not self._turn

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, function: Callable[..., None], *arguments: Any) -> None:
        """Leave an entry; the caller calls `work` when it may be worked off."""
        self._entries.append((function, arguments))

    def work(self) -> None:
        """Work off what is there, unless another thread is at it."""
        entries, turn = self._entries, self._turn
        # Nobody waits for a turn, and after giving it back the entries are looked at again: an
        # entry that came just too late for one pass is in the next.
        try:
            while entries:
                try:
                    del turn[0]
                except IndexError:
                    return
                try:
                    while entries:
                        function, arguments = entries[0]
                        del entries[0]
                        try:
                            function(*arguments)
                        except BaseException as error:  # noqa: BLE001, it may be a user's hook
                            entries[:0] = ((self._on_failure, (error,)),)
                            self._fail()
                finally:
                    turn += (True,)
        except BaseException:
            if entries:
                self._ready += ((self, 0, 0),)
            raise

    def _fail(self) -> None:
        """Call `on_failure`, which is the first entry; raise on what is no Exception."""
        entry = self._entries[0]
        del self._entries[0]
        function, (error,) = entry
        try:
            function(error)
        except Exception:
            raise  # nobody's hook: whoever dispatches logs it
        except BaseException:
            self._entries[:0] = (entry,)
            raise
        if not isinstance(error, Exception):
            raise error

    def receiver(self, _packet: Any, _count: int, _status: int) -> None:
        """Go on after an exception; called by the port, like an operation's."""
        try:
            self.work()
        except BaseException:
            if self._entries:  # it was interrupted at its beginning
                self._ready += ((self, 0, 0),)
            raise
