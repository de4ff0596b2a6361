"""The client's messages as ours: what their headers become."""

from collections.abc import Sequence

import pytest

from pipeline.events.records import Headers
from pipeline.kafka.messages import _pairs

TRACE = ("traceparent", b"00-1")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([None, None], []),
        ([None, [TRACE]], [(), (TRACE,)]),
        ([[TRACE, ("label", b"7")], []], [(TRACE, ("label", b"7")), ()]),
        ([[("empty", None)], [TRACE]], [(("empty", b""),), (TRACE,)]),
        ([[("text", "7")], {"label": b"7"}], [(("text", b"7"),), (("label", b"7"),)]),
    ],
)
def test_headers_are_pairs_of_names_and_bytes(
    given: Sequence[list[tuple[str, str | bytes | None]] | None], expected: list[Headers]
) -> None:
    assert list(_pairs(given)) == expected
