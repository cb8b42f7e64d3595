"""What the frames of a set hold, decoded, in whatever order they are asked for."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from mtfdump.coding import HEADER_SIZE, ZstdProgram, lz4_block
from mtfdump.families import BackupSet
from mtfdump.layout import Damage, Image
from mtfdump.medium import Medium
from mtfdump.records import Frame


class UnreadableError(Exception):
    """Why what a set holds cannot be had."""


@dataclass(frozen=True, slots=True)
class PlacedFrame:
    """A frame and the medium that it is on."""

    frame: Frame
    medium: Medium
    is_plain: bool  # its payload is on the medium as it was in the database

    @property
    def image(self) -> Image:
        return self.medium.image

    def damage(self, at: int, what: str) -> Damage:
        """To the payload's byte `at`; of a coded one there is no place for each byte."""
        offset = self.frame.payload + (at if self.is_plain else 0)
        return self.image.damage(offset, f"{self.frame.name}: {what}")


def readable_frames(item: BackupSet, despite_damage: bool = False) -> list[PlacedFrame]:
    """All frames of a set that hold something and can be decoded. `despite_damage`: those that are damaged
    are left in if they are not coded, so that it can be said what is damaged in them."""
    last = item.last
    if last.is_encrypted:
        raise UnreadableError("it is encrypted, and the key is not here")
    if last.begin.is_snapshot:
        raise UnreadableError("it was made WITH SNAPSHOT and has no frames")
    if item.missing:
        raise UnreadableError(f"not given: {'; '.join(item.missing)}")
    is_plain = last.codec == ""
    frames = [PlacedFrame(frame, medium, is_plain) for medium, copy in item.copies
              for frame in copy.frames if not frame.is_void]
    if not all(placed.frame.sound or despite_damage and is_plain for placed in frames):
        raise UnreadableError("a payload is damaged")
    return frames


def payloads(item: BackupSet, frames: list[PlacedFrame]) -> Iterator[bytes]:
    """The payload of each of these frames, one at a time."""
    if item.last.codec != "ZSTD":
        for placed in frames:
            data = placed.image.read(placed.frame.payload, placed.frame.stored)
            yield data if item.last.codec == "" else _decode(placed, data)
        return
    coded = [placed for placed in frames if _is_coded(placed.frame)]
    program = ZstdProgram(placed.image.read(placed.frame.payload + HEADER_SIZE,
                                            placed.frame.stored - HEADER_SIZE)
                          for placed in coded)
    try:
        for placed in frames:
            frame = placed.frame
            try:
                yield (program.read(frame.length) if _is_coded(frame)
                       else placed.image.read(frame.payload + HEADER_SIZE, frame.length))
            except ValueError as error:
                raise _undecodable(placed, error) from None
        program.close()
    except ValueError as error:
        raise UnreadableError(str(error)) from None
    finally:
        program.kill()


def _is_coded(frame: Frame) -> bool:
    """A payload that did not become smaller stands behind its FH as it is."""
    return frame.stored - HEADER_SIZE < frame.length


def _decode(placed: PlacedFrame, data: bytes) -> bytes:
    """A payload of LZ4."""
    if not _is_coded(placed.frame):
        return data[HEADER_SIZE:]
    try:
        return lz4_block(data[HEADER_SIZE:], placed.frame.length)
    except ValueError as error:
        raise _undecodable(placed, error) from None


def _undecodable(placed: PlacedFrame, error: ValueError) -> Damage:
    return placed.image.damage(placed.frame.payload, f"the payload of {placed.frame.name} cannot "
                                                     f"be decoded: {error}")


class PayloadStream:
    """A file of a set from its first byte to its last, whichever family its frames are on."""

    def __init__(self, item: BackupSet, frames: list[PlacedFrame]) -> None:
        self._frames = sorted(frames, key=lambda placed: placed.frame.file_offset)
        self._begins = [placed.frame.file_offset for placed in self._frames]
        self._payloads = payloads(item, self._frames)
        self._buffer = bytearray()
        self._next = 0  # frame
        self.position = 0  # of the buffer in the file

    def damage(self, position: int, what: str) -> Damage:
        placed = self._frames[max(0, bisect_right(self._begins, position) - 1)]
        return placed.damage(position - placed.frame.file_offset, what)

    def at_end(self) -> bool:
        return not self._buffer and self._next == len(self._frames)

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self._buffer) < size:
            end = self.position + len(self._buffer)
            if self._next == len(self._frames):
                raise self.damage(end, f"{size - len(self._buffer)} bytes behind its end are "
                                       f"missing")
            if self._begins[self._next] != end:
                raise self.damage(end, f"the next frame begins at {self._begins[self._next]}, "
                                       f"expected {end}")
            self._buffer += next(self._payloads)
            self._next += 1
            if self._next == len(self._frames):
                next(self._payloads, None)  # nothing comes; but it ends, and says if it should not
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        self.position += size
        return data
