"""The partition a key gets here is the one that Java's producers choose."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.join.partitioner import murmur2, partition_of, partitions_of

# Kafka's own: clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java, testMurmur2.
JAVA = [
    (b"21", -973932308),
    (b"foobar", -790332482),
    (b"a-little-bit-long-string", -985981536),
    (b"a-little-bit-longer-string", -1486304829),
    (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
    (b"abc", 479470107),
]
# librdkafka's own: src/rdmurmur2.c, unittest_murmur2, made with the Java client; every length of the last word.
LIBRDKAFKA = [
    (b"kafka", 0xD067CF64),
    (b"giberish123456789", 0x8F552B0C),
    (b"1234", 0x9FC97B14),
    (b"234", 0xE7C009CA),
    (b"34", 0x873930DA),
    (b"4", 0x5A4B5CA1),
    (b"PreAmbleWillBeRemoved,ThePrePartThatIs", 0x78424F1C),
    (b"reAmbleWillBeRemoved,ThePrePartThatIs", 0x4A62B377),
    (b"eAmbleWillBeRemoved,ThePrePartThatIs", 0xE0E4E09E),
    (b"AmbleWillBeRemoved,ThePrePartThatIs", 0x62B8B43F),
    (b"", 0x106E08D9),
]


@pytest.mark.parametrize(("key", "signed"), JAVA)
def test_hashes_as_java(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed % 2**32


@pytest.mark.parametrize(("key", "unsigned"), LIBRDKAFKA)
def test_hashes_as_librdkafka(key: bytes, unsigned: int) -> None:
    assert murmur2(key) == unsigned


def test_clears_the_sign_before_the_modulo() -> None:
    assert partition_of(b"foobar", 50) == (-790332482 & 0x7FFF_FFFF) % 50 == 16


@given(st.binary(max_size=256), st.integers(1, 1_000))
def test_every_key_has_a_partition_that_exists(key: bytes, count: int) -> None:
    assert 0 <= partition_of(key, count) < count


@given(st.lists(st.binary(max_size=40), max_size=20), st.integers(1, 50))
def test_many_keys_at_once_are_each_keys_own_partition(keys: list[bytes], count: int) -> None:
    assert partitions_of(keys, count).tolist() == [partition_of(key, count) for key in keys]
