"""Sensor events from CSV, .npy and arrays."""

from pathlib import Path

import numpy as np
import pytest

from producers import sensor
from producers.errors import InvalidInput


def table(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    file = folder / "s.csv"
    file.write_text(text, encoding=encoding)
    return file


@pytest.mark.parametrize(
    ("text", "given", "rate"),
    [
        ("x,y\n1,2\n3,4\n", 50.0, 50.0),
        ("time,x,y\n0,1,2\n0.5,3,4\n", None, 2.0),
        ("time_s, x, y\r\n10,1,2\r\n10.25,3,4\r\n", None, 4.0),
        ("Time_ms,x,y\n0,1,2\n\n10,3,4", None, 100.0),
        ("time_us,x,y\n0,1,2\n10,3,4\n", None, 100_000.0),
        ("time,x,y\n0,1,2\n0.5,3,4\n", 7.0, 7.0),
        ("\ufefftime,x,y\n0,1,2\n0.5,3,4\n", None, 2.0),
        ('"x","y"\n1e0," 2"\n3.0,+4\n', 1.0, 1.0),
    ],
)
def test_a_table_becomes_channels_and_a_rate(tmp_path: Path, text: str, given: float | None, rate: float) -> None:
    event = sensor.from_csv(table(tmp_path, text), 9, given)
    assert event.channels == ("x", "y")
    assert event.sample_rate == pytest.approx(rate)
    assert event.values == np.array([[1, 2], [3, 4]], "<f4").tobytes()
    assert (event.event_time_ms, event.source) == (9, "s.csv")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "not a line of channel names"),
        ("x,y\n", "not a line of channel names"),
        ("1,2\n3,4\n", "not a line of channel names"),
        ("x,y\n1,2\n3\n", "line 3: 1 values under 2 names"),
        ("x,y\n1,2\n3,4,5\n", "line 3: 3 values under 2 names"),
        ("x,y\n1,zwei\n", "line 2, column y: 'zwei' is not a number"),
        ("x,y\n1,\n", "line 2, column y: '' is not a number"),
        ("x,y\n1,2\n", "does not say its sample rate"),
        ("time,x\n0,1\n", "two frames or more with rising times"),
        ("time,x\n1,1\n0,1\n", "rising times"),
        ("time,x\n0,1\n0,1\n", "rising times"),
        ("time,x\nnan,1\n0,1\n", "rising times"),
        ("time\n0\n1\n", "have one or more"),
        ("time,x,x\n0,1,1\n1,1,1\n", r"\['x', 'x'\]"),
        ("time,x,\n0,1,1\n1,1,1\n", r"\['x', ''\]"),
        ("time,x\n0,nan\n1,1\n", "NaN"),
        ("time,x\n0,1e300\n1,1\n", "infinite"),
    ],
)
def test_what_is_no_such_table_is_refused_by_line(tmp_path: Path, text: str, wrong: str) -> None:
    file = table(tmp_path, text)
    with pytest.raises(InvalidInput, match=wrong) as caught:
        sensor.from_csv(file, 0)
    assert str(file) in str(caught.value)


def test_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not UTF-8"):
        sensor.from_csv(table(tmp_path, "höhe\n1\n", "latin-1"), 0, 1.0)


@pytest.mark.parametrize("kind", ["f8", "f4", ">f4", "i2", "u1"])
def test_a_npy_file_travels_as_float32(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "s.npy"
    np.save(file, np.array([[1, 2], [3, 4]], kind))
    event = sensor.from_npy(file, 9, 50.0, ["x", "y"])
    assert event.values == np.array([[1, 2], [3, 4]], "<f4").tobytes()
    assert (event.sample_rate, event.channels, event.source) == (50.0, ("x", "y"), "s.npy")


def test_a_fortran_array_is_sent_row_by_row() -> None:
    event = sensor.from_array(np.asfortranarray([[1.0, 2.0], [3.0, 4.0]]), 1.0, ["x", "y"], 0)
    assert np.frombuffer(event.values, "<f4").tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("values", "rate", "channels", "wrong"),
    [
        (np.zeros(4), 1.0, ["x"], r"float64 \[4\]"),
        (np.zeros((4, 2)), 1.0, ["x"], "2 columns and 1 channel names"),
        (np.zeros((4, 1), complex), 1.0, ["x"], "complex128"),
        (np.zeros((4, 1), bool), 1.0, ["x"], "bool"),
        (np.zeros((0, 1)), 1.0, ["x"], "0 bytes"),
        (np.zeros((4, 0)), 1.0, [], "have one or more"),
        (np.zeros((4, 1)), 0.0, ["x"], r"sample_rate is 0\.0"),
        (np.zeros((4, 1)), float("nan"), ["x"], "sample_rate is nan"),
        (np.full((4, 1), np.inf), 1.0, ["x"], "infinite"),
    ],
)
def test_arrays_of_another_kind_are_refused(
    values: np.ndarray,
    rate: float,
    channels: list[str],
    wrong: str,
) -> None:
    with pytest.raises(InvalidInput, match=wrong):
        sensor.from_array(values, rate, channels, 0)


@pytest.mark.parametrize("content", [b"", b"x,y\n1,2\n", b"\x93NUMPY\x01\x00"])
def test_what_is_no_npy_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "s.npy"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match=r"s\.npy is not a \.npy file"):
        sensor.from_npy(file, 0, 1.0, ["x"])


def test_pickles_and_archives_are_refused(tmp_path: Path) -> None:
    pickled, archive = tmp_path / "p.npy", tmp_path / "a.npz"
    np.save(pickled, np.array([{"a": 1}], object), allow_pickle=True)
    np.savez(archive, a=np.zeros((2, 1)))
    with pytest.raises(InvalidInput, match="not a \\.npy file"):
        sensor.from_npy(pickled, 0, 1.0, ["x"])
    with pytest.raises(InvalidInput, match="several arrays"):
        sensor.from_npy(archive, 0, 1.0, ["x"])
