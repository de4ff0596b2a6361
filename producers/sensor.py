"""Sensor events from tables and arrays."""

import csv
import io
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.events.errors import RecordError
from pipeline.events.records import SensorEvent
from pipeline.model.media import decode_sensor
from pipeline.model.specs import SensorSpec
from producers import files
from producers.errors import InvalidInput

TIME_COLUMNS = {"time": 1.0, "time_s": 1.0, "time_ms": 1e-3, "time_us": 1e-6}
"""Names of a leading time column, and its unit in seconds. Any other first column is a channel."""


def from_csv(file: Path, event_time_ms: int, sample_rate: float | None = None, source: str = "") -> SensorEvent:
    """Builds an event of a CSV file: a line of channel names, then a line a frame.

    A first column called time or time_s (seconds), time_ms or time_us is not a channel; it must rise, and gives the
    sample rate (frames between the first and the last over the time between them) where none is given.

    Args:
        file: UTF-8, comma-separated, a point for decimals.
        event_time_ms: when the first frame was taken, milliseconds since the epoch.
        sample_rate: frames per second.
        source: what measured it; without it the file's name.

    Raises:
        InvalidInput: it is not such a table; the message names the line.
    """
    names, rows = _table(file)
    unit = TIME_COLUMNS.get(names[0].lower())
    if unit is not None:
        names, times, rows = names[1:], rows[:, 0] * unit, rows[:, 1:]
        sample_rate = _rate(file, times) if sample_rate is None else sample_rate
    if sample_rate is None:
        raise InvalidInput(
            f"{file} does not say its sample rate: give it, or put a column {', '.join(TIME_COLUMNS)} first."
        )
    return _event(str(file), rows, sample_rate, names, event_time_ms, source or file.name)


def from_npy(
    file: Path, event_time_ms: int, sample_rate: float, channels: Sequence[str], source: str = ""
) -> SensorEvent:
    """Builds an event of a NumPy .npy file with a real array [frames, channels].

    Args:
        file: as `numpy.save` writes it.
        event_time_ms: when the first frame was taken, milliseconds since the epoch.
        sample_rate: frames per second.
        channels: a name for each column.
        source: what measured it; without it the file's name.

    Raises:
        InvalidInput: it is not such a file.
    """
    content = files.read(file)
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InvalidInput(f"{file} is not a .npy file of numbers ({error}): write it with numpy.save.") from error
    if not isinstance(values, np.ndarray):
        raise InvalidInput(f"{file} holds several arrays: save the one with numpy.save.")
    return _event(str(file), values, sample_rate, channels, event_time_ms, source or file.name)


def from_array(
    values: npt.NDArray[np.generic],
    sample_rate: float,
    channels: Sequence[str],
    event_time_ms: int,
    source: str = "",
) -> SensorEvent:
    """Builds an event of numbers [frames, channels], which travel as float32.

    Args:
        values: real numbers [frames, channels].
        sample_rate: frames per second.
        channels: a name for each column.
        event_time_ms: when the first frame was taken, milliseconds since the epoch.
        source: what measured it.

    Raises:
        InvalidInput: the array is not of that kind.
    """
    return _event("The array", values, sample_rate, channels, event_time_ms, source)


def _event(
    what: str,
    values: npt.NDArray[np.generic],
    sample_rate: float,
    channels: Sequence[str],
    event_time_ms: int,
    source: str,
) -> SensorEvent:
    """Decodes what it built as the consumer will, so that what is refused there is refused here first."""
    if values.ndim != 2 or values.dtype.kind not in "iuf":
        raise InvalidInput(
            f"{what} is {values.dtype} {list(values.shape)}: give real numbers [frames, channels], "
            "one channel as [frames, 1]."
        )
    if values.shape[1] != len(channels):
        raise InvalidInput(
            f"{what} has {values.shape[1]} columns and {len(channels)} channel names ({', '.join(channels)}): "
            "name each column."
        )
    if not channels or not all(channels) or len(set(channels)) != len(channels):
        raise InvalidInput(
            f"{what} has channels called {list(channels)}: have one or more, each with a name of its own."
        )
    with np.errstate(over="ignore"):  # what overflows becomes infinite, which is refused below
        numbers = values.astype("<f4").tobytes()
    event = SensorEvent(event_time_ms, source, float(sample_rate), tuple(channels), numbers)
    try:
        decode_sensor(event, SensorSpec(channels=event.channels))
    except RecordError as error:
        raise InvalidInput(f"{what}: {error}") from error
    return event


def _table(file: Path) -> tuple[list[str], npt.NDArray[np.float64]]:
    try:
        lines = csv.reader(io.StringIO(files.read(file).decode("utf-8-sig")))
        names = [name.strip() for name in next(lines, [])]
        rows = [_numbers(file, lines.line_num, names, line) for line in lines if line]
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{file} is not UTF-8 text ({error}): save it as CSV in UTF-8.") from error
    except csv.Error as error:
        raise InvalidInput(f"{file} is not CSV: {error}.") from error
    if not rows or any(_is_number(name) for name in names):
        raise InvalidInput(f"{file} is not a line of channel names and then a line a frame: write it so.")
    return names, np.array(rows, dtype=np.float64)


def _numbers(file: Path, line_number: int, names: Sequence[str], line: Sequence[str]) -> list[float]:
    if len(line) != len(names):
        raise InvalidInput(
            f"{file}, line {line_number}: {len(line)} values under {len(names)} names; give each column a value."
        )
    numbers = []
    for name, text in zip(names, line, strict=True):
        try:
            numbers.append(float(text))
        except ValueError:
            raise InvalidInput(
                f"{file}, line {line_number}, column {name}: {text!r} is not a number; write it with a point."
            ) from None
    return numbers


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _rate(file: Path, seconds: npt.NDArray[np.float64]) -> float:
    times = seconds.tolist()
    if len(times) < 2 or not all(later > earlier for earlier, later in pairwise(times)):
        raise InvalidInput(
            f"{file}: a sample rate needs two frames or more with rising times; sort them, or give the rate."
        )
    return float((len(times) - 1) / (times[-1] - times[0]))
