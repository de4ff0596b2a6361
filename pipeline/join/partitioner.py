"""Which partition a key belongs in: Kafka's murmur2, so that three topics agree on every key's partition number."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Hashes = npt.NDArray[np.uint32]

_MASK = 0xFFFF_FFFF
_SEED = 0x9747_B28C
_MULTIPLIER = 0x5BD1_E995
_SHIFT = 24
_POSITIVE = 0x7FFF_FFFF


def murmur2(key: bytes) -> int:
    """Returns the 32-bit hash, unsigned; Java shows the same bits as a signed int.

    Source: `org.apache.kafka.common.utils.Utils.murmur2`, which is Austin Appleby's MurmurHash2 (the one with a
    seed and four-byte words) over the key's length and words, little-endian.
    """
    h = _SEED ^ len(key)
    words_end = len(key) & ~3
    for start in range(0, words_end, 4):
        k = int.from_bytes(key[start : start + 4], "little") * _MULTIPLIER & _MASK
        k = (k ^ k >> _SHIFT) * _MULTIPLIER & _MASK
        h = h * _MULTIPLIER & _MASK ^ k
    if rest := key[words_end:]:
        h = (h ^ int.from_bytes(rest, "little")) * _MULTIPLIER & _MASK
    h = (h ^ h >> 13) * _MULTIPLIER & _MASK
    return h ^ h >> 15


def partition_of(key: bytes, count: int) -> int:
    """Returns the partition of a key among `count`, as Java's producers, Kafka Streams and librdkafka choose it.

    Source: `org.apache.kafka.clients.producer.internals.BuiltInPartitioner.partitionForKey` (the sign bit is
    cleared, then modulo), librdkafka's `murmur2_random`. Records without a key have no partition of their own.
    """
    return (murmur2(key) & _POSITIVE) % count


def partitions_of(keys: Sequence[bytes], count: int) -> npt.NDArray[np.int64]:
    """Returns `partition_of` of each key, int64 [len(keys)], in a few array calls for each length that keys have."""
    partitions = np.empty(len(keys), np.int64)
    lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    for length in np.unique(lengths).tolist():
        places = np.flatnonzero(lengths == length)
        words = -(-length // 4)
        padded = np.zeros((len(places), 4 * words), np.uint8)
        joined = b"".join([keys[place] for place in places.tolist()])
        padded[:, :length] = np.frombuffer(joined, np.uint8).reshape(len(places), length)
        partitions[places] = (_murmur2_of(padded.view("<u4"), length) & np.uint32(_POSITIVE)) % count
    return partitions


def _murmur2_of(words: Hashes, length: int) -> Hashes:
    """Returns `murmur2` of keys of one length, given as zero-padded words, uint32 [keys, words]; overflow wraps."""
    multiplier, shift = np.uint32(_MULTIPLIER), np.uint32(_SHIFT)
    h: Hashes = np.full(len(words), _SEED ^ length, np.uint32)
    for place in range(length // 4):
        k = words[:, place] * multiplier
        k = (k ^ k >> shift) * multiplier
        h = h * multiplier ^ k
    if length % 4:
        h = (h ^ words[:, -1]) * multiplier
    h = (h ^ h >> np.uint32(13)) * multiplier
    return h ^ h >> np.uint32(15)
