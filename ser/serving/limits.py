"""What a visitor may ask for, and how it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from ser.errors import SerError

MEGABYTE = 1_000_000
USUAL_RATE_HZ = 48_000  # a recording has at most as many samples as the longest one of this rate


class RefusedError(SerError):
    """A request that is not answered, with its HTTP status."""

    def __init__(self, status: int, text: str) -> None:
        """``text`` says what is wrong, and what to do."""
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Limits:
    """Bounds of a request, and of all requests at a time.

    Attributes:
        seconds: of audio in a recording.
        megabytes: of an upload.
        upload_s: how long an upload may take.
        answer_s: how long a visitor waits for the answer then.
        requests: how many may be sent, wait or be answered at a time.
        connections: how many may be open at a time.
        header_s: how long the lines before an upload may take.
    """

    seconds: int = 300
    megabytes: int = 32
    upload_s: float = 30.0
    answer_s: float = 60.0
    requests: int = 16
    connections: int = 64
    header_s: float = 10.0

    @property
    def bytes(self) -> int:
        """Of an upload."""
        return self.megabytes * MEGABYTE

    @property
    def samples(self) -> int:
        """Of a recording, for each channel."""
        return self.seconds * USUAL_RATE_HZ
