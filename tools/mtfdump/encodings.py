"""What MTF leaves no choice in: checksums, dates, sizes, the header of a stream.

The other reader of MTF in Python, tests/support/mtf, takes these from here. The readers differ in
all that judges a medium: this one knows what Capstan writes and lets nothing else pass, that one
takes what the specification allows any program to write.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from operator import xor

COMMON_SIZE = 52
STREAM_HEADER_SIZE = 22

# Fixed part of each type of block; strings come behind it.
FIXED_SIZE = {
    "TAPE": 94, "SSET": 98, "VOLB": 73, "DIRB": 84, "FILE": 88, "CFIL": 74, "ESPB": 52,
    "ESET": 85, "EOTM": 60, "SFMB": 60,
}

_ID = re.compile(rb"[A-Z][A-Z0-9]{3}")


def is_id(raw: bytes) -> bool:
    """Whether a block or a stream can be called so: a checksum of zeros is right, too."""
    return _ID.fullmatch(raw) is not None


def align_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit


def xor_words(raw: bytes) -> int:
    """The checksum of headers: XOR of the little-endian 16-bit words."""
    return reduce(xor, struct.unpack(f"<{len(raw) // 2}H", raw), 0)


def parse_date(raw: bytes) -> datetime | None:
    """The packed date of 5 bytes; None if unknown, ValueError if it is none."""
    bits = int.from_bytes(raw, "big")
    if bits == 0:
        return None
    return datetime(bits >> 26, bits >> 22 & 15, bits >> 17 & 31, bits >> 12 & 31, bits >> 6 & 63,
                    bits & 63)


@dataclass(frozen=True, slots=True)
class Stream:
    """A stream header and where its data is."""

    id: str
    offset: int
    data: int
    length: int
    system_attributes: int
    format_attributes: int
    encryption: int
    compression: int

    @property
    def end(self) -> int:
        return self.data + self.length


def parse_stream(raw: bytes, offset: int) -> Stream | None:
    """The stream whose header is at the offset, its data right behind it; None if there is none."""
    if len(raw) < STREAM_HEADER_SIZE or not is_id(raw[:4]) or xor_words(raw[:STREAM_HEADER_SIZE]):
        return None
    system, form, length, encryption, compression = struct.unpack_from("<HHQHH", raw, 4)
    return Stream(raw[:4].decode(), offset, offset + STREAM_HEADER_SIZE, length, system, form,
                  encryption, compression)
