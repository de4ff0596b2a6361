"""Writes `docs/benchmarks.md` from the newest figures in `results/`."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tests.bench.comparison import standard_error
from tests.bench.report import ROOT, newest

FILE = ROOT / "docs" / "benchmarks.md"
WORKS = ("small", "realistic")
Record = Mapping[str, Any]
_MACHINE = {
    "processor": "{}",
    "cores": "{} cores",
    "memory_gb": "{} GB",
    "platform": "{}",
    "python": "Python {}",
    **{name: f"{name} {{}}" for name in ("confluent-kafka", "fastavro", "numpy", "torch")},
}

_HEAD = """# Benchmarks

Written by `make bench` (`python -m tests.bench report`) from [tests/bench/results](../tests/bench/results).

Ratios count, taken side by side in one run, since machines differ. A figure is the median of its runs, with the
range in parentheses. Bars are those of the project; one that was not reached is marked.

The work: three topics of 6 partitions, one event of each per key, each up to 200 keys out of place; join, a stub for
a model (the mean of the bytes, on batches of 64), one prediction a key. `small` is 3 x 200 B of payload, `realistic`
16 + 6 + 2 KB. The clock runs from the first byte read until the last prediction is committed, as a reader with
`isolation.level=read_committed` sees it. Every answer of every run is read back and compared: "exact" means that
each key has one answer, and the right one. CPU and memory are those of the whole process, its start included; the
broker runs on the same cores and is not counted.
"""

_PEERS_NOTE = """
Each peer is written as its own documentation has it, in [tests/bench/peers](../tests/bench/peers). They and the bare
loop take the records' values as bytes; trimodal decodes the Avro events, keeps deadlines and an offset map, and
encodes whole predictions. Who is too slow for the whole work got the share of it that is shown. Pathway's clock
starts at its first answer, up to half a second late: there is no earlier place in Python.
"""


def write() -> None:
    """Writes the report, and in it which benchmarks have no figures."""
    sections = {
        "pipeline": _pipeline(),
        "peers": _peers(),
        "latency": _latency(),
        "memory": _memory(),
        "scaling": _scaling(),
        "model": _model(),
        "overhead": _overhead(),
        "indexer": _indexer(),
    }
    missing = [name for name, section in sections.items() if not section]
    note = f"\nThere are no figures yet of: {', '.join(missing)}. `make bench` takes them.\n" if missing else ""
    FILE.write_text(_HEAD + note + "".join(sections.values()), encoding="utf-8")


def _pipeline() -> str:
    parts = []
    for record in _records("pipeline"):
        parts.append(f"\n### {record['work']}\n\n" + _contenders(record))
        if ratios := record.get("ratios"):
            parts.append(
                f"\ntrimodal / bare loop: {_figure(ratios['bare loop'], '.2f')}{_bar(ratios['bare loop'], 0.6)}\n"
            )
        parts.append(_where(record))
    return _section("The pipeline without the model", "", parts)


def _peers() -> str:
    bars = {
        "small": {"bare loop": 0.6, "Kafka Streams": 2.5, "Quix Streams": 4.0},
        "realistic": {"bare loop": 0.6, "Kafka Streams": 8.0, "Quix Streams": 2.0},
    }
    parts = []
    for record in _records("peers"):
        parts.append(f"\n### {record['work']}\n\n" + _contenders(record))
        rows = []
        for name, ratios in record["ratios"].items():
            bar = bars[record["work"]].get(name)
            rows.append((f"trimodal / {name}", _figure(ratios, ".2f") + (_bar(ratios, bar) if bar else "")))
        parts.append("\n" + _table(("", "times as fast"), rows))
        parts += [f"\n{name} could not be installed: {reason}\n" for name, reason in record["missing"].items()]
        parts.append(f"\n{', '.join(record['versions'])}.\n{_where(record)}")
    return _section("Beside the alternatives", _PEERS_NOTE, parts)


def _latency() -> str:
    rows = []
    for record in _records("latency"):
        bare = record["bare_transaction_ms"]
        cells = [record["work"], f"{record['triples_per_s']:,}", f"{bare:.1f} ms"]
        for name, bar in (("p50", 4), ("p99", 8)):
            times = [value / bare for value in record[f"{name}_ms"]]
            found = _figure(record[f"{name}_ms"], ".1f")
            cells.append(f"{found} ms, {_figure(times, '.1f')} x{_bar(times, bar, at_most=True)}")
        rows.append(cells)
    note = (
        "\nFrom a triple handed to its publisher's client, which is set as the shipped one is, until a reader "
        "outside has the committed prediction, at a quarter of the saturated rate, beside the median of one bare "
        "transaction (64 records and the offsets).\n\n"
    )
    columns = ("", "triples/s", "bare transaction", "p50", "p99")
    return _section("Latency", note, _tabled("latency", columns, rows))


def _memory() -> str:
    rows = [
        (record["work"], *(f"{_figure(mb)} MB" for mb in record["peak_rss_mb"].values()),
         _figure(record["ratios"], ".2f") + _bar(record["ratios"], 1.2, at_most=True))
        for record in _records("memory")
    ]  # fmt: skip
    columns = ("", "10,000 triples", "100,000 triples", "ratio")
    note = (
        "\nPeak memory of the consumer in front of a backlog. The model has processes of its own, so most of this is "
        "what the consumer holds of the topics: what was fetched ahead, payload that waits for its partners, and the "
        "keys of one window. All three have their bounds, whatever the backlog.\n\n"
    )
    return _section("Memory", note, _tabled("memory", columns, rows))


def _scaling() -> str:
    rows = [
        (record["work"], *(f"{_figure(rates)}" for rates in record["triples_per_s"].values()),
         _figure(record["ratios"], ".2f") + _bar(record["ratios"], 1.5))
        for record in _records("scaling")
    ]  # fmt: skip
    note = "\nTriples a second of one replica and of two. They and the broker share the cores of one machine.\n\n"
    return _section("Two replicas", note, _tabled("scaling", ("", "one", "two", "ratio"), rows))


def _model() -> str:
    if (record := newest("model")) is None:
        return ""
    whole = record["triples_per_s"]
    rows = []
    for way, rates in record["bare_samples_per_s"].items():
        ratios = [one / other for one, other in zip(whole, rates, strict=True)]
        bar = _bar(ratios, 0.85) if "as shipped" in way else ""
        rows.append((way, _figure(rates), _figure(ratios, ".2f") + bar))
    note = (
        "\nThe shipped bundle through the whole consumer (real events, media decoded, log-mel, predictions committed): "
        f"{_figure(whole)} triples/s, {_figure(record['cpu_s_per_1000'], '.2f')} CPU s per 1,000. Beside it the bare "
        "network on tensors that are ready, in the same run, several ways:\n\n"
    )
    return _section(
        "The model on the CPU", note, [_table(("bare network", "samples/s", "consumer / bare"), rows), _where(record)]
    )


def _overhead() -> str:
    if (record := newest("overhead")) is None:
        return ""
    rows = []
    for name, costs in record["costs"].items():
        mean = statistics.mean(costs)
        bar = _bar([mean], 0.03, at_most=True, form=".0%") if name.startswith(("metrics", "spans")) else ""
        told = f"{mean:.1%} ± {standard_error(costs):.1%}{bar}"
        rows.append((name, told, _figure(costs, ".1%"), f"{len(costs)}"))
    note = (
        f"\nThe pipeline as above, `{record['work']}`, {record['triples']:,} triples, with the stub for a model. "
        "Metrics and spans are\nswitched on and off within a run, every two seconds, and each turn with them is "
        "compared with the one before and the one\nafter: from run to run the machine varies by more than they cost. A "
        "trace that is carried is a header of each event,\nread, checked and passed on with spans off; it ran beside a "
        "backlog without headers, and so did the bare loop, which\nreads and gives on headers, unchecked: "
        "this is what a header costs the client, from Python. The first figure is the mean with its standard error.\n\n"
    )
    columns = ("", "cost in triples/s", "median (range)", "comparisons")
    return _section("What metrics and traces cost", note, [_table(columns, rows), _where(record)])


def _indexer() -> str:
    if (record := newest("indexer")) is None:
        return ""
    rows = []
    for name in ("bare loop", "indexer"):
        columns = ("documents_per_s", ",.0f"), ("cpu_s_per_1000", ".3f")
        rows.append((name, *(_figure([one[key] for one in record[name]], form) for key, form in columns)))
    note = (
        f"\n{record['predictions']:,} predictions from their topic into Elasticsearch, beside a loop of `consume` and "
        "the client's bulk helper.\n\n"
    )
    table = _table(("", "documents/s", "CPU s per 1,000"), rows)
    ratios = record["ratios"]
    told = f"\nindexer / bare loop: {_figure(ratios, '.2f')}{_bar(ratios, 0.7)}\n"
    return _section("The indexer", note, [table, told, _where(record)])


def _records(name: str) -> list[Record]:
    return [record for work in WORKS if (record := newest(name, work=work)) is not None]


def _contenders(record: Record) -> str:
    rows = []
    for name, one in record["contenders"].items():
        if not one["triples_per_s"]:
            rows.append((name, one["guarantee"], f"{one['triples']:,}", "failed", "", "", ""))
            continue
        exact = all(not (v["missing"] or v["doubled"] or v["wrong"]) for v in one["verdicts"])
        rows.append(
            (
                name,
                one["guarantee"],
                f"{one['triples']:,}",
                _figure(one["triples_per_s"]),
                _figure(one["cpu_s_per_1000"], ".3f"),
                _figure(one["peak_rss_mb"]) if "peak_rss_mb" in one else "not measured",
                "exact" if exact else str(one["verdicts"][-1]),
            )
        )
    columns = ("", "guarantee", "triples", "triples/s", "CPU s per 1,000", "peak MB", "answers")
    return _table(columns, rows)


def _section(title: str, note: str, parts: Sequence[str]) -> str:
    return f"\n## {title}\n{note}{''.join(parts)}" if parts else ""


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _tabled(name: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_table(columns, rows), *(_where(record) for record in _records(name)[-1:])] if rows else []


def _where(record: Record) -> str:
    """Returns how, when and on what it was measured; the oldest records do not say all of it."""
    how = f"`{record['command']}` at {record['commit']}, {record['taken'][:10]}: " if "command" in record else ""
    place = record["machine"]
    return f"\n{how}{', '.join(form.format(place[name]) for name, form in _MACHINE.items() if name in place)}.\n"


def _figure(values: Sequence[float], form: str = ",.0f") -> str:
    middle = format(statistics.median(values), form)
    return middle if len(values) == 1 else f"{middle} ({min(values):{form}} to {max(values):{form}})"


def _bar(values: Sequence[float], bar: float, *, at_most: bool = False, form: str = "g") -> str:
    reached = statistics.median(values) <= bar if at_most else statistics.median(values) >= bar
    return f" (bar: {'≤' if at_most else '≥'} {bar:{form}}{'' if reached else '; **missed**'})"
