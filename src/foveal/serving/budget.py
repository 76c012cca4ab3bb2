"""Bytes that may be held at once, counted."""

from threading import Lock


class Budget:
    """Bytes that may be held at once, of all requests together. Any thread may take and give back."""

    def __init__(self, most: int) -> None:
        """Start with nothing held.

        Args:
            most: Bytes.
        """
        self.most = most
        self.held = 0
        self._lock = Lock()

    def take(self, count: int) -> bool:
        """Hold more bytes. Return False, and hold no more than before, if that would be too many."""
        with self._lock:
            if self.held + count > self.most:
                return False
            self.held += count
            return True

    def give_back(self, count: int) -> None:
        """Hold fewer bytes."""
        with self._lock:
            self.held -= count
