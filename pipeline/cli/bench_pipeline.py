"""The work of `trimodal bench pipeline`; it loads PyTorch, so it is imported late."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import repeat

import psutil
from rich.console import Console

from consumers.assembly import fusion_consumer
from consumers.fusion import FusionConsumer
from pipeline.digits.replay import triples as digits
from pipeline.events.codec import Codec
from pipeline.kafka.admin import TopicAdmin
from pipeline.kafka.contract import TopicPartition
from pipeline.kafka.errors import Retriable
from pipeline.kafka.producer import RecordProducer
from pipeline.kafka.reader import TopicReader
from pipeline.settings import Settings
from pipeline.telemetry import logs, metrics
from pipeline.telemetry.clock import wall_ms
from producers.digits import Plan, Replay

RUN = "bench"
SEED = 1
QUIET_S = 60.0
POLL_RECORDS = 10_000
_out = Console()
_err = Console(stderr=True)


def run(settings: Settings, triples: int, *, as_json: bool) -> None:
    """Publishes, answers, prints and cleans up. Raises KafkaFailure and what `fusion_consumer` raises."""
    settings = _apart(settings)
    logs.configure(settings.monitoring, program="bench")
    admin = TopicAdmin(settings.kafka, settings.topics)
    admin.create()
    try:
        with _err.status(f"publishing {triples:,} triples of held-out digits"):
            _publish(settings, triples)
        with _err.status("answering them"):
            seconds, cpu_s, memory_mb = _answer(settings, triples)
    finally:
        admin.delete()
    figures = {
        "triples": triples,
        "seconds": round(seconds, 3),
        "triples_per_s": round(triples / seconds, 1),
        "cpu_s_per_1000": round(cpu_s / triples * 1_000, 3),
        "memory_mb": memory_mb,
    }
    if as_json:
        _out.print_json(json.dumps(figures))
        return
    _out.print(
        f"{triples:,} triples in {seconds:.1f} s, from the first record read to the last prediction committed: "
        f"{figures['triples_per_s']:,} a second, {figures['cpu_s_per_1000']} CPU s per 1,000, {memory_mb:,} MB"
    )


def _apart(settings: Settings) -> Settings:
    """Returns the settings with topics and a group that nobody else uses, and without a metrics server."""
    name = f"{RUN}-{wall_ms()}"
    topics = settings.topics.model_copy(update={"prefix": f"{settings.topics.prefix}{name}."})
    kafka = settings.kafka.model_copy(update={"group": name, "start": "earliest"})
    monitoring = settings.monitoring.model_copy(update={"enable_metrics": False, "log_level": "WARNING"})
    return settings.model_copy(update={"topics": topics, "kafka": kafka, "monitoring": monitoring})


def _publish(settings: Settings, triples: int) -> None:
    plan = Plan(Replay(RUN, triples), digits(triples, SEED), repeat(wall_ms()), settings.topics, Codec())
    with RecordProducer(settings.kafka, RUN, settings.topics.max_record_bytes) as producer:
        for planned in plan:
            producer.publish(planned.output)


def _answer(settings: Settings, triples: int) -> tuple[float, float, int]:
    """Returns seconds and processor seconds from the first record read to the last prediction committed, and MB then.

    Time and memory are those of this process and of the model's; memory that they share does not count.
    """
    consumer = fusion_consumer(settings)
    with _running(consumer), TopicReader(settings.kafka, RUN) as reader:
        partitions = range(settings.topics.partitions)
        reader.follow({TopicPartition(settings.topics.predictions, number): 0 for number in partitions})
        while not any(map(_received, settings.topics.sources)):
            time.sleep(0.001)
        begin, cpu_begin = time.monotonic(), _processor_s()
        missing, heard = triples, begin
        while missing > 0:
            if answered := len(reader.poll(POLL_RECORDS, 0.1)):
                missing, heard = missing - answered, time.monotonic()
            if time.monotonic() - heard > QUIET_S:
                raise Retriable(
                    f"{missing:,} of {triples:,} predictions have not come and none for {QUIET_S:.0f} s: see the "
                    f"dead letters of {settings.topics.dead_letters} and the broker's log."
                )
        memory_mb = sum(process.memory_full_info().uss for process in _processes()) >> 20
        return heard - begin, _processor_s() - cpu_begin, memory_mb


def _processes() -> list[psutil.Process]:
    """Returns this process and those that it has started, the model's among them."""
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def _processor_s() -> float:
    return sum(sum(process.cpu_times()[:2]) for process in _processes())


def _received(topic: str) -> float | None:
    return metrics.REGISTRY.get_sample_value("trimodal_records_total", {"topic": topic})


@contextmanager
def _running(consumer: FusionConsumer) -> Iterator[None]:
    stop = threading.Event()
    worker = threading.Thread(target=consumer.run, args=(stop,), name="fusion")
    worker.start()
    try:
        yield
    finally:
        stop.set()
        worker.join()
