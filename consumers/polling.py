"""How many records to ask for at once."""

TARGET_BYTES = 4 * 2**20
MOST_RECORDS = 2_000
FEWEST_RECORDS = 64
FIRST_RECORDS = 256
ENOUGH_BATCHES = 16
_SMOOTHING = 0.1


class PollSize:
    """So many small records that asking costs little, so few large ones that what is not yet counted stays small.

    Few, too, while a full model has enough waiting for it: to join more would only take the processor from the model.

    Args:
        batch_size: samples that the model takes at a time.
        most: records that may be read at a time, whatever their size.
    """

    def __init__(self, batch_size: int, most: int = MOST_RECORDS) -> None:
        self._most = max(1, min(MOST_RECORDS, most))
        self._enough_samples = ENOUGH_BATCHES * batch_size
        self._records = FIRST_RECORDS
        self._mean_bytes = TARGET_BYTES / FIRST_RECORDS

    def records(self, waiting: int, *, has_room: bool) -> int:
        """Returns how many to ask for.

        Args:
            waiting: samples that wait for the model.
            has_room: whether it would take another batch.
        """
        wanted = FEWEST_RECORDS if waiting > self._enough_samples and not has_room else self._records
        return min(self._most, wanted)

    def note(self, records: int, total_bytes: int) -> None:
        """So many have come, of so many bytes in all."""
        weight = 1 - (1 - _SMOOTHING) ** (records / FEWEST_RECORDS)
        self._mean_bytes += weight * (total_bytes / records - self._mean_bytes)
        fitting = TARGET_BYTES / max(1.0, self._mean_bytes)
        self._records = round(min(MOST_RECORDS, max(FEWEST_RECORDS, fitting)))
