"""`stack.json`: what runs, written at every change, so that any later command finds it."""

import fcntl
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.stack.errors import StackError
from pipeline.stack.layout import Layout
from pipeline.stack.processes import ServerProcess

FILE = "stack.json"
FOLDER = ".local"


@dataclass(frozen=True, slots=True)
class StackAddresses:
    """Where clients find the stack: Kafka's `bootstrap.servers` and Elasticsearch's URL."""

    bootstrap_servers: str
    elasticsearch_url: str


@dataclass(frozen=True, slots=True)
class State:
    """What `stack.json` says: the addresses and the recorded processes, alive or not."""

    addresses: StackAddresses
    processes: tuple[ServerProcess, ...]


def find_directory(start: Path) -> Path:
    """Returns the `.local` of `start` or its nearest parent that has a recorded stack, else `start`'s own."""
    for folder in (start, *start.parents):
        if (folder / FOLDER / FILE).is_file():
            return folder / FOLDER
    return start / FOLDER


def read_addresses(directory: Path) -> StackAddresses | None:
    """Returns the recorded stack's addresses, or nothing when none is recorded in `directory`.

    Raises:
        StackError: `stack.json` is damaged.
    """
    state = read_state(directory)
    return state.addresses if state else None


def read_state(directory: Path) -> State | None:
    """Reads `stack.json`.

    Raises:
        StackError: It is damaged.
    """
    file = directory / FILE
    if not file.is_file():
        return None
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
        settings = fields["settings"]
        addresses = StackAddresses(settings["kafka"]["bootstrap_servers"], settings["elasticsearch"]["url"])
        return State(addresses, tuple(ServerProcess(**process) for process in fields["processes"]))
    except (ValueError, KeyError, TypeError) as error:
        raise StackError(
            f"{file} is damaged ({error!r}): end the stack's Java processes by hand "
            "(`ps aux | grep trimodal.data` lists them) and remove the file"
        ) from error


def write_state(directory: Path, layout: Layout, processes: Sequence[ServerProcess]) -> None:
    """Writes `stack.json` whole or not at all; with no processes, removes it."""
    if not processes:
        (directory / FILE).unlink(missing_ok=True)
        return
    settings = {
        "kafka": {"bootstrap_servers": layout.bootstrap_servers},
        "elasticsearch": {"url": layout.elasticsearch_url},
    }
    fields = {"settings": settings, "processes": [asdict(process) for process in processes]}
    replace_text(directory / FILE, json.dumps(fields, indent=2) + "\n")


def replace_text(file: Path, text: str) -> None:
    """Replaces a file's content in one step, so that a reader never sees half of it."""
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)


@contextmanager
def only_one(file: Path, *, wait: bool) -> Iterator[None]:
    """Holds the lock that `file` stands for.

    Args:
        file: Made if it is not there, and kept.
        wait: Whether to wait for another holder.

    Raises:
        StackError: Somebody else holds it and `wait` is false.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            raise StackError(
                f"another `trimodal` command is at work in {file.parent}: try again when it is done"
            ) from error
        yield
