"""How each server of the stack is."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import psutil

from pipeline.stack.processes import ServerProcess, find
from pipeline.stack.servers import Server


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How one recorded server is.

    Attributes:
        name: For instance `kafka-1`.
        pid: Its process as recorded.
        port: Where its clients connect.
        state: `silent` is a process that lives but does not answer.
        log: Its log file.
        memory_bytes: Its resident memory, 0 when it is down.
    """

    name: str
    pid: int
    port: int
    state: Literal["up", "silent", "down"]
    log: Path
    memory_bytes: int


def status_of(process: ServerProcess, server: Server) -> ServerStatus:
    """Looks at a recorded process and asks its server whether it answers, waiting at most a second."""
    alive = find(process)
    status = ServerStatus(process.name, process.pid, process.port, "down", Path(process.log), 0)
    if alive is None:
        return status
    try:
        memory = alive.memory_info().rss
    except psutil.NoSuchProcess:
        return status
    return replace(status, state="up" if server.answers() else "silent", memory_bytes=memory)
