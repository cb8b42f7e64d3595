"""Capstan's streams (format.md, section 2): versions, seals, and what they hold."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from uuid import UUID

from mtfdump.crc32c import crc32c
from mtfdump.encodings import Stream
from mtfdump.layout import Block, Image

SEAL_SIZE = 12
VERSION = 1
VOID_VERSION = 2  # of CPFR alone
DESCRIPTOR_MAX = 32 << 20


class Seals:
    """Checks seals as the walk meets them. Coverage begins at a TAPE, SSET, FILE, ESET or EOTM
    block or behind the seal before, whichever is later."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._begin = 0
        self.count = 0

    def begin_at(self, offset: int) -> None:
        self._begin = offset

    def check(self, stream: Stream, versions: tuple[int, ...] = (VERSION,)) -> bytes:
        """The stream's content without its seal, once version and seal are right."""
        image, seal = self._image, stream.end - SEAL_SIZE
        if stream.length < SEAL_SIZE + 4:
            raise image.damage(stream.offset, f"{stream.id}: {stream.length} bytes are too few")
        covered, stored = struct.unpack("<QI", image.read(seal, SEAL_SIZE))
        expected = seal + 8 - self._begin
        if covered != expected:
            raise image.damage(seal, f"{stream.id}: the seal covers {covered} bytes, "
                                     f"expected {expected}")
        data = image.read(self._begin, covered)
        if crc32c(data) != stored:
            raise image.damage(seal + 8, f"{stream.id}: the seal over the bytes from "
                                         f"{self._begin} is broken")
        content = data[stream.data - self._begin:seal - self._begin]
        version = int.from_bytes(content[:2], "little")
        if version not in versions:
            raise image.damage(stream.data, f"{stream.id}: version {version}, known is "
                                            f"{' and '.join(map(str, versions))}")
        if (stream.format_attributes, stream.system_attributes, stream.encryption,
                stream.compression) != (0, 0, 0, 0):
            raise image.damage(stream.offset, f"{stream.id}: attributes in its header")
        self._begin = stream.end
        self.count += 1
        return content


def unpack(block: Block, stream: Stream, content: bytes, layout: str) -> tuple[int, ...]:
    """The numbers of a stream of fixed size; the u16 version in front is left out."""
    if struct.calcsize(layout) != len(content):
        raise block.image.damage(stream.offset, f"{stream.id}: {stream.length} bytes, expected "
                                                f"{struct.calcsize(layout) + SEAL_SIZE}")
    return struct.unpack(layout, content)[1:]


def guid(raw: bytes) -> str:
    """A GUID in Windows byte order, as it is printed."""
    return str(UUID(bytes_le=raw)).upper()


@dataclass(frozen=True, slots=True)
class MediaSet:
    """CPMS."""

    compressed: int
    media_set_id: str
    families: int
    family: int
    mirrors: int
    encrypted: int
    date_unix_s: int


@dataclass(frozen=True, slots=True)
class Progress:
    """CPEM and CPCN: a family up to the end of a medium."""

    medium: int
    set_number: int
    set_guid: str
    frames: int
    payload_bytes: int
    digest: int


@dataclass(frozen=True, slots=True)
class Summary:
    """An entry of CPFS: what a family holds."""

    family: int
    digest: int
    frames: int
    payload_bytes: int


def parse_media_set(block: Block, stream: Stream, content: bytes) -> MediaSet:
    numbers = unpack(block, stream, content, "<HH16sHHHHq")
    return MediaSet(numbers[0], guid(bytes(numbers[1])), *numbers[2:])  # type: ignore[arg-type]


def parse_progress(block: Block, stream: Stream, content: bytes) -> Progress:
    medium, number, zero, identity, frames, payload, digest, zero2 = unpack(
        block, stream, content, "<HHHH16sQQII")
    if zero or zero2:
        raise block.image.damage(stream.data, f"{stream.id}: a reserved field is not 0")
    return Progress(medium, number, guid(bytes(identity)), frames, payload,  # type: ignore
                    digest)


def parse_counted(block: Block, stream: Stream, content: bytes, layout: str) -> list[tuple[int, ...]]:
    """CPFS and CPMM: u16 count, then entries."""
    count, = struct.unpack_from("<H", content, 2)
    if 4 + count * struct.calcsize(layout) != len(content):
        raise block.image.damage(stream.data + 2, f"{stream.id}: {count} entries do not fill it")
    return list(struct.iter_unpack(layout, content[4:]))


def parse_summaries(block: Block, stream: Stream, content: bytes) -> list[Summary]:
    summaries = []
    for family, zero, digest, frames, payload in parse_counted(block, stream, content, "<HHIQQ"):
        if zero:
            raise block.image.damage(stream.data, "CPFS: a reserved field is not 0")
        summaries.append(Summary(family, digest, frames, payload))
    if [summary.family for summary in summaries] != list(range(1, len(summaries) + 1)):
        raise block.image.damage(stream.data, "CPFS: the families are not numbered from 1")
    return summaries


def parse_descriptor(block: Block, stream: Stream, content: bytes) -> tuple[int, bytes]:
    """CPBD: whether it is final, and the message."""
    final, length = struct.unpack_from("<HI", content, 2)
    if length > DESCRIPTOR_MAX or 8 + length > len(content):
        raise block.image.damage(stream.data + 4, f"CPBD: a message of {length} bytes")
    if any(content[8 + length:]):
        raise block.image.damage(stream.data + 8 + length, "CPBD: no zeros behind the message")
    return final, content[8:8 + length]
