from typing import Any

from consumers.board.lanes import LanesView
from consumers.board.watch import LOOKS_KEPT, Connection, Watch
from pipeline.kafka.errors import Retriable


class Broker:
    """Answers while it is up."""

    def __init__(self) -> None:
        self.up = True
        self.behind = 0

    def look(self) -> LanesView:
        if not self.up:
            raise Retriable("Nobody answers: check kafka.bootstrap_servers.")
        self.behind += 1
        return LanesView("group", self.behind, 0, 0, ())


def test_the_connection_is_told_when_it_changes_and_since_when() -> None:
    said: list[tuple[str, Any]] = []
    broker, times = Broker(), iter(range(1_000, 2_000))
    watch = Watch(broker.look, lambda kind, state: said.append((kind, state)), lambda: next(times))
    watch.step()
    watch.step()
    broker.up = False
    began = next(times) + 1
    watch.step()
    watch.step()
    broker.up = True
    watch.step()
    connections = [state for kind, state in said if kind == "connection"]
    assert [connection.up for connection in connections] == [True, False, True]
    assert connections[1] == Connection(
        up=False, since_ms=began, problem="Nobody answers: check kafka.bootstrap_servers."
    )
    assert connections[2].problem == ""


def test_what_was_behind_is_remembered_so_long() -> None:
    said: list[Any] = []
    watch = Watch(Broker().look, lambda kind, state: said.append(state) if kind == "lanes" else None)
    for _ in range(LOOKS_KEPT + 5):
        watch.step()
    assert said[0].history == (1,)
    assert said[-1].history == tuple(range(6, LOOKS_KEPT + 6))
