"""Which partition a key belongs in: Kafka's murmur2, so that three topics agree on every key's partition number."""

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
