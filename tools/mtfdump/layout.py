"""A medium's bytes: blocks, streams, padding, each as Capstan writes it, or Damage."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from mtfdump.encodings import (COMMON_SIZE, FIXED_SIZE, STREAM_HEADER_SIZE, Stream, align_up, is_id,
                               parse_date, parse_stream, xor_words)

VENDOR = 0x4350
CHUNK_SIZE = 1 << 22

# Attributes of blocks.
CONTINUATION = 1 << 0
COMPRESSED_SET = 1 << 2
EOS_AT_EOM = 1 << 3
SET_MAP = 1 << 16  # TAPE
NO_ESET = 1 << 16  # EOTM
ENCRYPTED_SET = 1 << 17  # SSET


class Damage(Exception):
    """What is wrong with a medium, and at which byte."""

    def __init__(self, path: Path, offset: int, what: str) -> None:
        super().__init__(f"{path}: byte {offset}: {what}")
        self.path, self.offset, self.what = path, offset, what


class Image:
    """A medium's bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        self._file.close()

    def damage(self, offset: int, what: str) -> Damage:
        return Damage(self.path, offset, what)

    def read(self, offset: int, size: int) -> bytes:
        """Exactly so many bytes."""
        if offset + size > self.size:
            raise self.damage(offset, f"the medium ends at {self.size}, within {size} bytes here")
        data = os.pread(self._file.fileno(), size, offset)
        while len(data) < size:
            more = os.pread(self._file.fileno(), size - len(data), offset + len(data))
            if not more:
                raise self.damage(offset + len(data), "the medium became shorter")
            data += more
        return data

    def expect_zeros(self, begin: int, end: int, what: str) -> None:
        while begin < end:
            chunk = self.read(begin, min(CHUNK_SIZE, end - begin))
            if chunk.count(0) != len(chunk):
                at = begin + len(chunk) - len(chunk.lstrip(b"\0"))
                raise self.damage(at, f"{what} is not zero")
            begin += len(chunk)


@dataclass(slots=True)
class Block:
    """A descriptor block: its header with the strings, and its streams."""

    image: Image
    type: str
    offset: int
    raw: bytes
    streams: list[Stream] = field(default_factory=list)
    end: int = 0

    def number(self, offset: int, code: str) -> int:
        return int(struct.unpack_from("<" + code, self.raw, offset)[0])

    @property
    def attributes(self) -> int:
        return self.number(4, "I")

    @property
    def event(self) -> int:
        return self.number(8, "H")

    @property
    def stream_ids(self) -> str:
        return " ".join(stream.id for stream in self.streams)

    def damage(self, offset: int, what: str) -> Damage:
        return self.image.damage(self.offset + offset, f"{self.type}: {what}")

    def expect(self, offset: int, code: str, expected: int, what: str) -> None:
        value = self.number(offset, code)
        if value != expected:
            raise self.damage(offset, f"{what} is {value}, expected {expected}")

    def octets(self, offset: int) -> bytes:
        """What the tape address there points to."""
        size, begin = struct.unpack_from("<HH", self.raw, offset)
        if size == 0:
            return b""
        if begin < COMMON_SIZE or begin + size > len(self.raw):
            raise self.damage(offset, f"{size} bytes at +{begin} are not within the block")
        return self.raw[begin:begin + size]

    def text(self, offset: int) -> str:
        """A string without the terminator that is inside its size."""
        raw = self.octets(offset)
        try:
            text = raw.decode({1: "cp1252", 2: "utf-16-le"}.get(self.raw[48], "ascii"))
        except UnicodeDecodeError as error:
            raise self.damage(offset, f"no text: {error.reason}") from None
        return text[:-1] if text.endswith("\0") else text

    def date(self, offset: int) -> datetime | None:
        try:
            return parse_date(self.raw[offset:offset + 5])
        except ValueError as error:
            raise self.damage(offset, f"no date: {error}") from None

    def stream(self, stream_id: str) -> Stream:
        for stream in self.streams:
            if stream.id == stream_id:
                return stream
        raise self.damage(0, f"no {stream_id} stream")


def read_header(image: Image, offset: int, flb: int) -> Block:
    """A block whose type and checksum hold; its lengths are believed only then."""
    raw = image.read(offset, min(flb, max(image.size - offset, COMMON_SIZE)))
    if not is_id(raw[:4]):
        raise image.damage(offset, f"no block begins here, but {raw[:8].hex(' ')}")
    block = Block(image, raw[:4].decode(), offset, raw)
    if block.number(50, "H") != xor_words(raw[:50]):
        raise block.damage(50, "the checksum of the block's header is wrong")
    if block.type != "SFMB":
        if not FIXED_SIZE.get(block.type, COMMON_SIZE) <= block.event <= len(raw):
            raise block.damage(8, f"offset to first event is {block.event}")
        block.raw = raw[:block.event]
    return block


def is_stream_at(image: Image, offset: int) -> bool:
    """Old writers have blocks without streams: the checksum tells."""
    if offset + STREAM_HEADER_SIZE > image.size:
        return False
    return parse_stream(image.read(offset, STREAM_HEADER_SIZE), offset) is not None


def read_stream(image: Image, offset: int) -> Stream:
    raw = image.read(offset, STREAM_HEADER_SIZE)
    stream = parse_stream(raw, offset)
    if stream is None:
        raise image.damage(offset, f"no sound stream header, but {raw[:8].hex(' ')}")
    if stream.end > image.size:
        raise image.damage(offset, f"{stream.id}: {stream.length} bytes run past the medium's end "
                                   f"at {image.size}")
    return stream


def iterate_streams(block: Block) -> Iterator[Stream]:
    """Headers on 4-byte boundaries with zeros between, to SPAD."""
    at = block.offset + block.event
    while True:
        begin = align_up(at, 4)
        block.image.expect_zeros(at, begin, f"{block.type}: padding before a stream header")
        stream = read_stream(block.image, begin)
        yield stream
        if stream.id == "SPAD":
            return
        at = stream.end


def read_block(image: Image, offset: int, origin: int, flb: int) -> Block:
    """A block with its streams. FLBs are counted from the end of the last filemark, `origin`."""
    block = read_header(image, offset, flb)
    block.streams = list(iterate_streams(block))
    pad = block.streams[-1]
    image.expect_zeros(pad.data, pad.end, f"{block.type}: SPAD")
    block.end = pad.end
    if (block.end - origin) % flb:
        raise image.damage(pad.offset, f"{block.type}: SPAD ends at {block.end}, amid an FLB")
    return block
