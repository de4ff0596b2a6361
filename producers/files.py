"""Reads input files."""

from pathlib import Path

from producers.errors import InvalidInput

MAX_FILE_BYTES = 256 * 2**20


def read(file: Path) -> bytes:
    """Returns a file's bytes.

    Raises:
        InvalidInput: it cannot be read, or is too large for any event.
    """
    try:
        size = file.stat().st_size
        if size > MAX_FILE_BYTES:
            raise InvalidInput(f"{file} has {size} bytes, more than any event may: cut it.")
        return file.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{file} cannot be read: {error.strerror}.") from error
