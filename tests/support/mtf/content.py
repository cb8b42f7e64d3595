"""What a FILE holds: the bytes of its STAN streams, whole, segmented, sparse or framed."""

from __future__ import annotations

import bisect
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from mtf.layout import (COMPRESSED, CONTINUATION, ENCRYPTED, SPARSE, VAR_END, VARIABLE, Block,
                        Medium, Stream, xor_words)

FRAME_HEADER_SIZE = 24


class Run:
    """The data of one stream or of one chain of VARIABLE segments, as one sequence of bytes."""

    def __init__(self, medium: Medium, streams: list[Stream]) -> None:
        self._medium = medium
        self._streams = streams
        self._starts: list[int] = []
        self.size = 0
        for stream in streams:
            self._starts.append(self.size)
            self.size += stream.length

    def chunks(self, offset: int, size: int) -> Iterator[bytes]:
        """`size` bytes from `offset`, which must lie inside the run."""
        index = bisect.bisect_right(self._starts, offset) - 1
        while size > 0:
            stream, skip = self._streams[index], offset - self._starts[index]
            part = min(size, stream.length - skip)
            yield from self._medium.chunks(stream.data + skip, part)
            offset, size, index = offset + part, size - part, index + 1

    def read(self, offset: int, size: int) -> bytes:
        return b"".join(self.chunks(offset, size))


@dataclass(frozen=True, slots=True)
class Frame:
    """A compression or encryption frame (section 3.5); `offset` is that of its body in the run."""

    offset: int
    size: int
    stored_size: int

    @property
    def is_raw(self) -> bool:
        return self.size == self.stored_size


@dataclass(frozen=True, slots=True)
class Chain:
    """A stream with the VARIABLE segments that go on from it, and the CSUM over all of them."""

    segments: list[Stream]
    checksum: Stream | None
    next_index: int


def chain_at(block: Block, index: int) -> Chain:
    """The chain that begins with stream `index` (section 3.3). Its CSUM stands behind it, or before
    the empty segment that ends it, where SQL Server puts it."""
    first = block.streams[index]
    segments, checksum, index = [first], None, index + 1
    while index < len(block.streams):
        stream = block.streams[index]
        is_open = segments[-1].format_attributes & (VARIABLE | VAR_END) == VARIABLE
        if stream.id == "CSUM" and checksum is None and first.id != "CSUM":
            checksum = stream
        elif is_open and stream.id == first.id:
            segments.append(stream)
        else:
            break
        index += 1
    if segments[-1].format_attributes & (VARIABLE | VAR_END) == VARIABLE:
        raise block.error(f"stream {first.id} at byte {first.offset}: its segments have no end")
    return Chain(segments, checksum, index)


def frames(block: Block, run: Run, first: Stream) -> Iterator[Frame]:
    """The frames that tile a run. MtfError for a damaged one (section 3.5)."""
    magic = b"EH" if first.format_attributes & ENCRYPTED else b"FH"
    offset, sequence, left = 0, 1, 0
    while offset < run.size:
        where = f"frame at +{offset} of stream {first.id} at byte {first.offset}"
        if run.size - offset < FRAME_HEADER_SIZE:
            raise block.error(f"{where}: the stream ends inside the frame header")
        raw = run.read(offset, FRAME_HEADER_SIZE)
        total, size, stored, number = struct.unpack_from("<QIIB", raw, 4)
        if raw[:2] != magic or xor_words(raw[:22]) != int.from_bytes(raw[22:], "little"):
            raise block.error(f"{where}: no {magic.decode()} header with a right checksum")
        if number != sequence & 0xFF:
            raise block.error(f"{where}: sequence number {number}, expected {sequence & 0xFF}")
        if total and (total < size or left not in (0, total)):
            raise block.error(f"{where}: {total} bytes from here to the end, expected {left}")
        offset += FRAME_HEADER_SIZE
        if stored > run.size - offset:
            raise block.error(f"{where}: {stored} bytes run past the end of the stream")
        yield Frame(offset, size, stored)
        offset, sequence, left = offset + stored, sequence + 1, total - size if total else 0
    if left:
        raise block.error(f"stream {first.id} at byte {first.offset}: its frames are {left} bytes "
                          f"short of what they announce")


@dataclass(frozen=True, slots=True)
class Content:
    """The data of one FILE. `size` is None where only a key could tell it."""

    block: Block
    size: int | None
    medium: Medium
    chain: tuple[Stream, ...]
    extents: tuple[Stream, ...]

    def chunks(self) -> Iterator[tuple[int, bytes]]:
        """Offset in the file and data, ascending. MtfError if it takes a codec or a key."""
        for stream in self.extents:
            start = int.from_bytes(self.medium.read(stream.data, 8), "little")
            for chunk in self.medium.chunks(stream.data + 8, stream.length - 8):
                yield start, chunk
                start += len(chunk)
        if self.chain:
            yield from self._chain_chunks(self.chain[0])

    def _chain_chunks(self, first: Stream) -> Iterator[tuple[int, bytes]]:
        run, position = Run(self.medium, list(self.chain)), 0
        if first.format_attributes & ENCRYPTED:
            raise self.block.error(f"stream STAN at byte {first.offset} is encrypted with "
                                   f"algorithm {first.encryption:#06x}")
        if not first.format_attributes & COMPRESSED:
            for chunk in run.chunks(0, run.size):
                yield position, chunk
                position += len(chunk)
            return
        for frame in frames(self.block, run, first):
            if not frame.is_raw:
                raise self.block.error(f"stream STAN at byte {first.offset} is compressed with "
                                       f"algorithm {first.compression:#06x}")
            for chunk in run.chunks(frame.offset, frame.size):
                yield position, chunk
                position += len(chunk)


def content_of(medium: Medium, block: Block) -> Content:
    """The content of a FILE; its size is checked against the displayable size (section 2.7)."""
    if block.attributes & CONTINUATION:
        raise block.error("its data began on an earlier medium")
    at = next((i for i, s in enumerate(block.streams) if s.id == "STAN"), None)
    if at is None:
        content = Content(block, 0, medium, (), ())
    elif block.streams[at].system_attributes & SPARSE:
        content = _sparse(medium, block)
    else:
        chain = chain_at(block, at).segments
        content = Content(block, _chain_size(medium, block, chain), medium, tuple(chain), ())
    if content.size is not None and content.size != block.displayable_size:
        raise block.error(f"displayable size {block.displayable_size}, but STAN has {content.size}")
    return content


def _chain_size(medium: Medium, block: Block, chain: list[Stream]) -> int | None:
    run, attributes = Run(medium, chain), chain[0].format_attributes
    if not attributes & (COMPRESSED | ENCRYPTED):
        return run.size
    size = sum(frame.size for frame in frames(block, run, chain[0]))
    return None if attributes & COMPRESSED and attributes & ENCRYPTED else size


def _sparse(medium: Medium, block: Block) -> Content:
    """SPAR extents: u64 offset, then data; the size is the displayable size (section 3.3)."""
    extents = tuple(stream for stream in block.streams if stream.id == "SPAR")
    reached = 0
    for stream in extents:
        start = int.from_bytes(medium.read(stream.data, 8), "little")
        if stream.length < 8 or start < reached:
            raise block.error(f"stream SPAR at byte {stream.offset}: extents overlap or lack data")
        reached = start + stream.length - 8
    size = block.displayable_size if reached <= block.displayable_size else reached
    return Content(block, size, medium, (), extents)


def xor_dwords(run: Run) -> int:
    """CSUM of section 3.4: XOR of the data as little-endian dwords, zero-extended at the end."""
    wide, tail = 0, b""  # A chunk and the tail before it are at most 1 MiB + 3: under 2**24 bits.
    for chunk in run.chunks(0, run.size):
        chunk = tail + chunk
        whole = len(chunk) & ~3
        wide, tail = wide ^ int.from_bytes(chunk[:whole], "little"), chunk[whole:]
    bits = 1 << 24
    while bits > 32:
        bits //= 2
        wide = wide >> bits ^ wide & (1 << bits) - 1
    return wide ^ int.from_bytes(tail, "little")
