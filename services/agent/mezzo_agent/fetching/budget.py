"""How much one piece of work in a thread may still write, and whether anybody still wants it."""

import threading


class TooLarge(Exception):
    """More came than was allowed."""

    def __init__(self, bytes_max: int) -> None:
        super().__init__(f"it has more than {bytes_max} bytes")
        self.bytes_max = bytes_max


class Unwanted(Exception):
    """Whoever wanted the result has been cancelled."""


class Budget:
    """Counts bytes. Whoever writes says so beforehand, in pieces small enough to be stopped between them."""

    def __init__(self, bytes_max: int, unwanted: threading.Event | None = None) -> None:
        self._bytes_max = bytes_max
        self._unwanted = unwanted
        self.spent = 0

    def spend(self, count: int) -> None:
        """Count bytes that are about to be written.

        Raises:
            TooLarge: they are more than are left.
            Unwanted: nobody waits for them any more.
        """
        if self._unwanted is not None and self._unwanted.is_set():
            raise Unwanted
        self.spent += count
        if self.spent > self._bytes_max:
            raise TooLarge(self._bytes_max)
