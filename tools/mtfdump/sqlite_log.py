"""The blocks of a log set of SQLite's, and the frames of the WAL in them (format.md, section 9)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from mtfdump.families import BackupSet
from mtfdump.payloads import PayloadStream, UnreadableError, readable_frames
from mtfdump.record_hash import record_hash
from mtfdump.writers import SQLITE, lsn_text

HEADER_SIZE = 96
FRAME_HEADER_SIZE = 24
BEGIN, FRAMES, AT_REST, END = 1, 2, 3, 4
KINDS = {BEGIN: "begin", FRAMES: "frames", AT_REST: "at rest", END: "end"}

_MAGIC, _VERSION = 0x474C5343, 1
_LAYOUT = struct.Struct("<IHHIIIIII8sIIqQqQQQ")
_PAYLOAD_MAX = 2 << 20
_text = lsn_text(SQLITE)


@dataclass(frozen=True, slots=True)
class WalFrame:
    """A page in the log. `commit_pages`: how many the database has then; 0: no commit ends here."""

    lsn: int
    page: int
    commit_pages: int
    at: int  # of the page in the block's payload


@dataclass(slots=True)
class LogBlock:
    """A block; its position is that behind it."""

    number: int
    position: int  # in the file of the set
    kind: int
    page_size: int
    count: int
    generation: int
    frame: int
    commit_frame: int
    order: str  # of the words under the running checksum
    salt: bytes
    checksum: tuple[int, int]
    time_us: int
    payload_bytes: int
    file_time_ns: int
    file_size: int
    payload_hash: int
    frames: list[WalFrame] = field(default_factory=list)
    payload: bytes = b""

    @property
    def last_lsn(self) -> int:
        return self.generation << 32 | self.frame

    @property
    def first_lsn(self) -> int:
        """In front of the block."""
        return self.last_lsn - self.count

    @property
    def commits(self) -> int:
        return sum(1 for frame in self.frames if frame.commit_pages)

    @property
    def name(self) -> str:
        return f"block {self.number} ({_text(self.first_lsn)} to {_text(self.last_lsn)})"


def parse_header(raw: bytes, number: int, position: int) -> LogBlock:
    """ValueError if it is no header of a block."""
    magic, version, *rest, header_hash = _LAYOUT.unpack(raw)
    if (magic, version) != (_MAGIC, _VERSION):
        raise ValueError(f"block {number}: no block begins here")
    if header_hash != record_hash(raw[:-8]):
        raise ValueError(f"block {number}: the hash of its header is wrong")
    kind, size, count, generation, frame, commit, order, salt, first, second, *last = rest
    block = LogBlock(number, position, kind, size, count, generation, frame, commit,
                     ">" if order else "<", salt, (first, second), *last)
    if (kind not in KINDS or count > frame or bool(count) != (kind == FRAMES) or commit > frame
            or block.payload_bytes != count * (size + FRAME_HEADER_SIZE)
            or block.payload_bytes > _PAYLOAD_MAX):
        raise ValueError(f"{block.name}: its fields contradict each other")
    return block


class LogChecker:
    """Checks that blocks are whole and follow each other."""

    def __init__(self) -> None:
        self._before: LogBlock | None = None

    def take(self, block: LogBlock, payload: bytes) -> None:
        """ValueError with what is wrong; the block's frames are known even so."""
        before, self._before = self._before, block
        block.payload = payload
        size = block.page_size + FRAME_HEADER_SIZE
        for index in range(block.count):
            page, commit_pages = struct.unpack_from(">II", payload, index * size)
            block.frames.append(WalFrame(block.first_lsn + index + 1, page, commit_pages,
                                         index * size + FRAME_HEADER_SIZE))
        if payload and record_hash(payload) != block.payload_hash:
            raise ValueError(f"{block.name}: the hash of its frames is wrong")
        if before is not None and block.kind == FRAMES:
            # Only the first block of a set may have something of what is in front of the set.
            gap = block.first_lsn - before.last_lsn
            is_new = block.generation > before.generation and block.frame == block.count
            if not is_new and (gap > 0 or gap < 0 and before.number > 1):
                raise ValueError(f"{block.name}: log from {_text(before.last_lsn)} on is missing")
        self._follow(block, before)
        last_commit = max((frame.lsn & 0xFFFFFFFF for frame in block.frames
                           if frame.commit_pages), default=0)
        if block.commit_frame != last_commit:
            raise ValueError(f"{block.name}: its last commit is frame {last_commit}, not "
                             f"{block.commit_frame}")

    def _follow(self, block: LogBlock, before: LogBlock | None) -> None:
        """The running checksum of the WAL. With what the first frame of a generation goes on
        stands in a header that is no part of the log, so that frame is believed."""
        known = before is not None and before.salt == block.salt and (
            before.last_lsn == block.first_lsn)
        checksum = before.checksum if known and before is not None else None
        for frame in block.frames:
            header = frame.at - FRAME_HEADER_SIZE
            stored: tuple[int, int] = struct.unpack_from(">II", block.payload, header + 16)
            if block.payload[header + 8:header + 16] != block.salt or frame.page == 0:
                raise ValueError(f"{block.name}: frame {_text(frame.lsn)} is of another WAL")
            if checksum is not None:
                checksum = wal_checksum(block.payload[header:header + 8]
                                        + block.payload[frame.at:frame.at + block.page_size],
                                        checksum, block.order)
            if checksum not in (None, stored):
                raise ValueError(f"{block.name}: the running checksum of frame "
                                 f"{_text(frame.lsn)} is wrong")
            checksum = stored
        if block.frames and checksum != block.checksum:
            raise ValueError(f"{block.name}: it ends with another running checksum")


def wal_checksum(data: bytes, checksum: tuple[int, int], order: str) -> tuple[int, int]:
    """SQLite's, over words of 32 bits, going on from that of what stood before."""
    first, second = checksum
    words = iter(struct.unpack(f"{order}{len(data) // 4}I", data))
    for word, other in zip(words, words):
        first = first + word + second & 0xFFFFFFFF
        second = second + other + first & 0xFFFFFFFF
    return first, second


def log_blocks(item: BackupSet) -> Iterator[LogBlock]:
    """The blocks of a log set. What is damaged is noted with the medium; the walk ends only where
    the next block cannot be found."""
    frames = readable_frames(item, despite_damage=True)
    if not frames:
        raise UnreadableError("it has no frames")
    stream = PayloadStream(item, frames)
    medium = frames[0].medium
    made = item.last.descriptor
    checker = LogChecker()
    number = position = 0
    kind = last = 0
    while not stream.at_end():
        number, position = number + 1, stream.position
        try:
            block = parse_header(stream.read(HEADER_SIZE), number, position)
        except ValueError as error:
            medium.damages.append(stream.damage(position, str(error)))
            return
        payload = stream.read(block.payload_bytes)
        try:
            checker.take(block, payload)
            if number == 1 and (block.kind, block.last_lsn) != (BEGIN, made.first_lsn):
                raise ValueError(f"{block.name}: the set begins at {_text(made.first_lsn)}")
        except ValueError as error:
            medium.damages.append(stream.damage(position, str(error)))
        kind, last = block.kind, block.last_lsn
        yield block
    if (kind, last) != (END, made.last_lsn):
        medium.damages.append(stream.damage(position, f"the log has no end at "
                                                      f"{_text(made.last_lsn)}"))
