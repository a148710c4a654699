"""ModelLimitError: a network model cannot serve another connection."""

from __future__ import annotations


class ModelLimitError(OSError):
    """The model can serve no further connection.

    ``model`` is its name, ``connections_max`` how many it serves at most, ``limit`` the name
    of what limits it, such as ``WSA_MAXIMUM_WAIT_EVENTS``. It is a plain value.
    """

    def __init__(self, model: str, connections_max: int, limit: str, why: str) -> None:
        super().__init__(
            f"the model {model!r} serves {connections_max} connections at most, "
            f"because of {limit}: {why}"
        )
        self.model = model
        self.connections_max = connections_max
        self.limit = limit
