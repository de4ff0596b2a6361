"""An indexer in a process of its own: settings from the environment, like `trimodal run indexer`.

With `TEST_KILL=before-commit` it kills itself after its first bulk and before the commit, as `kill -9` would.
"""

import os
import signal
import threading
from collections.abc import Mapping
from unittest import mock

from consumers import indexer
from pipeline.kafka.contract import TopicPartition
from pipeline.kafka.subscriber import KafkaSubscriber
from pipeline.settings import load


def _killed(_self: KafkaSubscriber, following: Mapping[TopicPartition, int]) -> None:
    if following:
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    if os.environ.get("TEST_KILL") == "before-commit":
        mock.patch.object(KafkaSubscriber, "commit", _killed).start()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    indexer.build(load().settings).run(stop)


if __name__ == "__main__":
    main()
