"""Finds free TCP ports on the loopback interface."""

import random
import socket

HOST = "127.0.0.1"

# Below the ranges that Linux (32768+) and macOS (49152+) give to outgoing connections: a client that retries a
# stopped server's port there can be given that very port, connect to itself, and keep the server from coming back.
_FIRST, _LAST = 15_000, 31_999


def is_free(port: int) -> bool:
    """Tells whether a server could listen on `port` now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def free_ports(count: int, taken: set[int] | None = None) -> tuple[int, ...]:
    """Picks free ports at random, outside the range of outgoing connections.

    Args:
        count: How many, all different.
        taken: Ports not to pick although nothing listens there yet.

    Returns:
        The ports. Another program may take one before you do; with 17,000 to pick from that is rare.
    """
    chosen = set(taken or ())
    ports: list[int] = []
    while len(ports) < count:
        port = random.randint(_FIRST, _LAST)
        if port not in chosen and is_free(port):
            chosen.add(port)
            ports.append(port)
    return tuple(ports)
