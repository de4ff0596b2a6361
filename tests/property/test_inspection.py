"""Whether many records are looked at with arrays or few one by one, the verdict is the same."""

from collections.abc import Sequence
from operator import itemgetter
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from pipeline.events.records import Modality
from pipeline.join import inspection
from pipeline.join.inspection import Inspected, Inspector
from pipeline.join.partitioner import partition_of
from pipeline.kafka.contract import Delivery, TopicPartition
from tests.property.test_scan import events, mistreated
from tests.support.events import CODEC

PARTITIONS = 2
INSPECTOR = Inspector(CODEC, PARTITIONS, max_skew_ms=1_000, max_record_bytes=120)
KEYS = [key for key in (b"key-%d" % n for n in range(12)) if partition_of(key, PARTITIONS) == 0]


@st.composite
def deliveries(draw: st.DrawFn, modality: Modality) -> Delivery:
    """Records of partition 0, most of which are in order."""
    plain = events(modality).map(CODEC.encode_event)
    rows = draw(
        st.lists(
            st.tuples(
                st.one_of(
                    st.sampled_from(KEYS), st.sampled_from([None, b"", b"elsewhere", "é".encode(), b"\xff", b"k" * 257])
                ),
                st.one_of(plain, mistreated(modality), st.none()),
                st.sampled_from([0, 1_700_000_000_000, 2**62]),
            ),
            min_size=1,
            max_size=6,
        )
    )
    keys, values, timestamps_ms = map(list, zip(*rows, strict=True))
    return Delivery(TopicPartition("topic", 0), range(len(rows)), timestamps_ms, keys, values)


def verdicts(few: int, arrived: Sequence[tuple[Modality, Delivery]]) -> Sequence[Inspected]:
    with mock.patch.object(inspection, "FEW", few):
        return INSPECTOR.inspect(arrived)


@given(st.lists(st.sampled_from(Modality).flatmap(lambda m: st.tuples(st.just(m), deliveries(m))), max_size=5))
def test_arrays_see_what_a_full_look_sees(arrived: list[tuple[Modality, Delivery]]) -> None:
    arrived.sort(key=itemgetter(0))
    for by_arrays, one_by_one in zip(verdicts(0, arrived), verdicts(1_000, arrived), strict=True):
        assert_alike(by_arrays, one_by_one)


def assert_alike(by_arrays: Inspected, one_by_one: Inspected) -> None:
    refused = {place: (error.reason, str(error)) for place, error in one_by_one.refused}
    # Texts are looked at when the media are decoded.
    later = {place for place, (_, problem) in refused.items() if "UnicodeDecodeError" in problem}
    assert [record for record in by_arrays.records if record.offset not in later] == one_by_one.records
    assert {place: (error.reason, str(error)) for place, error in by_arrays.refused} == {
        place: why for place, why in refused.items() if place in dict(by_arrays.refused) or place not in later
    }
