"""A real Kafka and a real Elasticsearch on this machine, as plain Java processes: no container engine, no root."""

from pipeline.stack.errors import DownloadFailed, StackError, ToolMissing
from pipeline.stack.launch import OnProgress, Step
from pipeline.stack.local import LocalStack
from pipeline.stack.logs import follow, tail
from pipeline.stack.ports import free_ports, is_free
from pipeline.stack.state import StackAddresses, find_directory, only_one, read_addresses
from pipeline.stack.status import ServerStatus

__all__ = [
    "DownloadFailed",
    "LocalStack",
    "OnProgress",
    "ServerStatus",
    "StackAddresses",
    "StackError",
    "Step",
    "ToolMissing",
    "find_directory",
    "follow",
    "free_ports",
    "is_free",
    "only_one",
    "read_addresses",
    "tail",
]
