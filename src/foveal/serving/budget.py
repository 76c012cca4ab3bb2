"""Bytes that may be held at once, counted."""

from threading import Lock


class Budget:
    """Bytes that may be held at once, of all requests together. Any thread may take some and give them back."""

    def __init__(self, most: int) -> None:
        """Start with nothing held.

        Args:
            most: Bytes.
        """
        self.most = most
        self.held = 0
        self._lock = Lock()

    def take(self, count: int) -> bool:
        """Hold some more. False, and nothing is held, if that would be too much."""
        with self._lock:
            if self.held + count > self.most:
                return False
            self.held += count
            return True

    def give_back(self, count: int) -> None:
        """Hold some less."""
        with self._lock:
            self.held -= count
