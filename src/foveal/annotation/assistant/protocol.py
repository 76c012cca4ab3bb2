"""Interface of whoever answers questions about pictures."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class AssistantProtocol(Protocol):
    """Interface of a model that answers questions about pictures, such as an `Assistant`."""

    @property
    def concurrency(self) -> int:
        """Questions on their way at once."""

    def ask(
        self,
        question: str,
        schema: Mapping[str, Any],
        picture: Path | bytes | None = None,
        check: Callable[[Any], Any] | None = None,
    ) -> Any:
        """Return the answer, as JSON or as what `check` makes of it."""


def threads(assistant: AssistantProtocol) -> int:
    """Return how many samples may wait: some prepare a picture or read an answer while others are asked."""
    return assistant.concurrency + assistant.concurrency // 4
