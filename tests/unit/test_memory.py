"""What the process keeps of its memory, seen in a process of its own."""

import platform
import subprocess
import sys

import pytest

BATCHES = """
import resource, sys
from consumers.memory import keep_freed_memory
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def batch():
    [bytes([1]) * (1 << 20) for _ in range(6)]
if "keep" in sys.argv:
    keep_freed_memory()
batch()
before = faults()
for _ in range(20):
    batch()
print(faults() - before)
"""


def page_faults(*arguments: str) -> int:
    command = [sys.executable, "-c", BATCHES, *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_batches_that_come_and_go_are_no_new_pages() -> None:
    assert page_faults("keep") < 500 < page_faults() / 10
