"""The hash by which a block of a kept log is known to be whole (format.md, section 9)."""

from __future__ import annotations

import struct
from operator import mul

_MASK = (1 << 64) - 1
_SEED = 0x636170737461
_PART = 65536
_BEGIN = 0x2545F4914F6CDD1D
_LOW, _HIGH = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


def _make_key() -> tuple[list[int], list[int]]:
    """SplitMix64's numbers, every other one in either list."""
    state, words = _SEED, []
    for _ in range(_PART // 8):
        state = state + 0x9E3779B97F4A7C15 & _MASK
        word = (state ^ state >> 30) * 0xBF58476D1CE4E5B9 & _MASK
        word = (word ^ word >> 27) * 0x94D049BB133111EB & _MASK
        words.append(word ^ word >> 31)
    return words[::2], words[1::2]


_KEYS = _make_key()


def _sum(part: bytes) -> int:
    """NH: pairs of words are added to pairs of the key, multiplied, and summed up."""
    words = struct.unpack(f"<{len(part) // 8}Q", part)
    first, second = ([word + key & _MASK for word, key in zip(words[half::2], _KEYS[half])]
                     for half in (0, 1))
    return sum(map(mul, first, second))


def record_hash(data: bytes) -> int:
    result = _BEGIN ^ len(data)
    at, whole = 0, len(data) & ~15
    while at < len(data):
        end = min(at + _PART, whole) if at < whole else len(data)
        part = data[at:end] if at < whole else data[at:end].ljust(16, b"\0")
        total = _sum(part)
        product = (result ^ total & _MASK ^ _LOW) * (total >> 64 & _MASK ^ _HIGH)
        result = product & _MASK ^ product >> 64
        at = end
    return result
