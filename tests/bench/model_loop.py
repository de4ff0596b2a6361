"""The fusion consumer with the shipped model, as `trimodal run fusion` starts it. It works until SIGTERM."""

import signal
import threading

from consumers.assembly import fusion_consumer
from pipeline.settings import load
from pipeline.telemetry import logs
from tests.bench.first import await_first


def main() -> None:
    """Classifies and commits until it is told to stop."""
    settings = load().settings
    logs.configure(settings.monitoring, program="bench")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    worker = threading.Thread(target=fusion_consumer(settings).run, args=(stop,))
    worker.start()
    await_first(worker)
    worker.join()


if __name__ == "__main__":
    main()
