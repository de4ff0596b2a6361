"""When a client counts as having stopped, and when as merely having nothing to deliver."""

from types import SimpleNamespace

import pytest

from pipeline.kafka.contract import Arrivals, Delivery, EndOfPartition, TopicPartition
from pipeline.kafka.errors import AbortNeeded
from pipeline.kafka.silence import LOOK_EVERY_S, Silence

SPEECH, IMAGE = TopicPartition("speech", 0), TopicPartition("image", 0)


class Client:
    """What the broker holds, and the time."""

    def __init__(self) -> None:
        self.now = SimpleNamespace(s=0.0)
        self.ends: dict[TopicPartition, int | None] = {SPEECH: 5, IMAGE: 7}
        self.silence = Silence(lambda: self.now.s)
        self.silence.begin({SPEECH: 5, IMAGE: 7})

    def pass_silently(self, looks: int = 1) -> None:
        for _ in range(looks):
            self.now.s += LOOK_EVERY_S
            self.silence.note(Arrivals())
            self.silence.look(self.ends.__getitem__)


@pytest.fixture
def client() -> Client:
    return Client()


def test_nothing_is_owed_where_there_is_no_more(client: Client) -> None:
    client.pass_silently(looks=5)


def test_what_the_broker_has_for_two_looks_is_owed(client: Client) -> None:
    client.ends[IMAGE] = 8
    client.pass_silently()
    with pytest.raises(AbortNeeded, match=r"nothing of image\[0\] from offset 7 on for 30 s"):
        client.pass_silently()


def test_the_others_may_talk_meanwhile(client: Client) -> None:
    client.ends[IMAGE] = 8
    client.pass_silently()
    client.silence.note(Arrivals([Delivery(SPEECH, [5], [1], [b"k"], [b"v"], [])]))
    with pytest.raises(AbortNeeded, match="image"):
        client.pass_silently()


def test_what_came_between_is_no_longer_owed(client: Client) -> None:
    client.ends[SPEECH] = 6
    client.pass_silently()
    client.silence.note(Arrivals([Delivery(SPEECH, [5], [1], [b"k"], [b"v"], [])]))
    client.pass_silently(looks=3)


def test_an_end_beyond_the_last_record_counts(client: Client) -> None:
    client.ends[SPEECH] = 9
    client.silence.note(Arrivals([], [EndOfPartition("speech", 0, 9)]))
    client.pass_silently(looks=3)


def test_a_paused_partition_owes_nothing_until_it_is_resumed(client: Client) -> None:
    client.ends[SPEECH] = 6
    client.silence.paused([SPEECH])
    client.pass_silently(looks=3)
    client.silence.resumed([SPEECH])
    client.pass_silently()
    with pytest.raises(AbortNeeded):
        client.pass_silently()


def test_an_outage_is_no_silence_of_the_client(client: Client) -> None:
    client.ends[SPEECH] = None
    client.pass_silently(looks=5)


def test_an_outage_between_two_looks_makes_them_not_in_a_row(client: Client) -> None:
    for end in (6, None, 6):
        client.ends[SPEECH] = end
        client.pass_silently()
    with pytest.raises(AbortNeeded):
        client.pass_silently()


def test_one_look_in_its_time(client: Client) -> None:
    client.ends[SPEECH] = 6
    client.pass_silently()
    for _ in range(5):
        client.silence.look(client.ends.__getitem__)


def test_who_is_resumed_has_the_whole_time_again(client: Client) -> None:
    client.ends[SPEECH] = 6
    client.silence.paused([SPEECH])
    client.now.s += LOOK_EVERY_S - 1
    client.silence.resumed([SPEECH])
    client.now.s += 1
    client.silence.look(client.ends.__getitem__)
    client.pass_silently()
    with pytest.raises(AbortNeeded):
        client.pass_silently()


def test_who_begins_anew_is_not_paused(client: Client) -> None:
    client.silence.paused([SPEECH])
    client.silence.begin({SPEECH: 5})
    client.ends[SPEECH] = 6
    client.pass_silently()
    with pytest.raises(AbortNeeded):
        client.pass_silently()


def test_before_anything_is_read_nothing_is_owed() -> None:
    now = SimpleNamespace(s=0.0)
    silence = Silence(lambda: now.s)
    now.s += 2 * LOOK_EVERY_S
    silence.note(Arrivals([], [EndOfPartition("speech", 0, 9)]))
    silence.look({SPEECH: 9}.__getitem__)


def test_who_begins_anew_has_the_whole_time_again(client: Client) -> None:
    client.ends[SPEECH] = 6
    client.pass_silently()
    client.silence.begin({SPEECH: 5})
    client.pass_silently()
    with pytest.raises(AbortNeeded):
        client.pass_silently()
