"""How many records to ask for at once."""

TARGET_BYTES = 4 * 2**20
MOST_RECORDS = 2_000
FEWEST_RECORDS = 64
FIRST_RECORDS = 256
_SMOOTHING = 0.1


class PollSize:
    """So many small records that asking costs little, so few large ones that what is not yet counted stays small.

    Attributes:
        records: to ask for next.
    """

    def __init__(self) -> None:
        self.records = FIRST_RECORDS
        self._mean_bytes = TARGET_BYTES / FIRST_RECORDS

    def note(self, records: int, total_bytes: int) -> None:
        """So many have come, of so many bytes in all."""
        weight = 1 - (1 - _SMOOTHING) ** (records / FEWEST_RECORDS)
        self._mean_bytes += weight * (total_bytes / records - self._mean_bytes)
        fitting = TARGET_BYTES / max(1.0, self._mean_bytes)
        self.records = round(min(MOST_RECORDS, max(FEWEST_RECORDS, fitting)))
