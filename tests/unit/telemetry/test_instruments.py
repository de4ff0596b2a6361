"""The instruments of our own show what Prometheus's client would."""

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, Histogram, generate_latest

from pipeline.telemetry.instruments import BatchHistogram, SampledGauge

STEPS = (0.5, 1.0, 2.0, 10.0)
VALUES = st.lists(st.one_of(st.sampled_from(STEPS), st.integers(-4, 50).map(lambda number: number / 4)))


@given(batches=st.lists(st.tuples(VALUES, st.sampled_from(["2", "3"]))))
def test_a_batch_counts_as_its_values_one_by_one(batches: list[tuple[list[float], str]]) -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    histogram = BatchHistogram("waits", "How long.", ["inputs"], STEPS, ours)
    reference = Histogram("waits", "How long.", ["inputs"], buckets=STEPS, registry=theirs)
    for values, label in batches:
        histogram.observe(values, label)
        for value in values:
            reference.labels(label).observe(value)
        reference.labels(label)
    assert generate_latest(ours) == generate_latest(theirs)


def test_series_are_replaced_together() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    gauge = SampledGauge("lag", "How far.", ["lane"], ours)
    gauge.replace({("0",): 3.0, ("1",): 4.0})
    gauge.replace({("1",): 5.0})
    Gauge("lag", "How far.", ["lane"], registry=theirs).labels("1").set(5.0)
    assert generate_latest(ours) == generate_latest(theirs)
