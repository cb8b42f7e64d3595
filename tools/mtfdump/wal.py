"""PostgreSQL's write-ahead log as sets hold it: pages and records (format.md, section 9)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mtfdump.crc32c import crc32c
from mtfdump.layout import Damage
from mtfdump.payloads import UnreadableError
from mtfdump.postgres_set import WRITER
from mtfdump.writers import lsn_text

PAGE_SIZE = 8192
# Of PostgreSQL 15; the numbers of managers have stayed the same since 9.5, later ones are added.
MANAGERS = ("XLOG", "Transaction", "Storage", "CLOG", "Database", "Tablespace", "MultiXact",
            "RelMap", "Standby", "Heap2", "Heap", "Btree", "Hash", "Gin", "Gist", "Sequence",
            "SPGist", "BRIN", "CommitTs", "ReplicationOrigin", "Generic", "LogicalMessage")

_PAGE_HEADER, _LONG_PAGE_HEADER = struct.Struct("<HHIQI4x"), struct.Struct("<HHIQI4xQII")
_RECORD_HEADER = struct.Struct("<IIQBB2xI")
_CONTINUES, _LONG, _OVERWRITES, _KNOWN_FLAGS = 1, 2, 8, 15
_SWITCH = 0x40
_KINDS = {  # of manager and info, without what says how the record is made up
    (0, 0x00): "shutdown checkpoint", (0, 0x10): "checkpoint", (0, 0x40): "switch of segments",
    (0, 0x50): "end of a backup", (0, 0x70): "restore point", (0, 0x90): "end of recovery",
    (1, 0x00): "commit", (1, 0x10): "prepare", (1, 0x20): "abort", (1, 0x30): "commit prepared",
    (1, 0x40): "abort prepared"}
_text = lsn_text(WRITER)


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the log that are together in a set. `damage` makes one of an LSN in it."""

    lsn: int
    data: bytes
    damage: Callable[[int, str], Damage]


@dataclass(frozen=True, slots=True)
class WalRecord:
    lsn: int
    end: int  # where the next one may begin
    length: int
    transaction: int
    previous: int
    info: int
    manager: int

    @property
    def manager_name(self) -> str:
        return MANAGERS[self.manager] if self.manager < len(MANAGERS) else f"#{self.manager}"

    @property
    def meaning(self) -> str:
        """Of records that are of interest by themselves."""
        mask = 0x70 if self.manager == 1 else 0xF0
        return _KINDS.get((self.manager, self.info & mask), "")


@dataclass(frozen=True, slots=True)
class _Page:
    """A page, or what of it is in the set."""

    begin: int
    data: bytes
    piece: Piece
    flags: int = 0
    remaining: int = 0  # bytes of the record that goes on here
    header_size: int = 0


class _GivenUp(Exception):
    """A record that its server did not finish: log goes on at the next page."""


@dataclass(frozen=True, slots=True)
class WalRange:
    """Which log a set holds."""

    start: int  # where a record begins
    end: int
    segment_size: int
    system_identifier: int


class WalReader:
    """The records of a stretch of log. Memory: a piece, whatever the length of a record."""

    def __init__(self, pieces: Iterator[Piece], wanted: WalRange) -> None:
        self._pages = self._split(pieces)
        self._wanted = wanted
        self._page: _Page | None = None
        self._at = 0  # in the page
        self._magic = self._timeline = 0
        self._previous = -1  # where the record before began
        self._end = wanted.start  # of what was read
        self._piece: Piece | None = None

    @property
    def position(self) -> int:
        return self._page.begin + self._at if self._page else 0

    def records(self) -> Iterator[WalRecord]:
        """Up to the end of the log; raises Damage where it ends before."""
        wanted = self._wanted
        if wanted.end <= wanted.start:
            return
        if not self._seek(wanted.start):
            if self._piece is None:
                raise UnreadableError("it has no log")
            raise self._damage(wanted.start, "there is no log from here on")
        while self.position < wanted.end:
            try:
                record = self._record()
            except _GivenUp:
                continue
            if record is None:
                break
            yield record
            self._previous, self._end = record.lsn, record.end
            if record.end > self.position and not self._seek(record.end):
                break
        if self._end < wanted.end:
            raise self._damage(self.position, f"the log ends at {_text(self._end)}, the set says "
                                              f"at {_text(wanted.end)}")

    # Pages.

    def _split(self, pieces: Iterator[Piece]) -> Iterator[_Page]:
        buffer = bytearray()
        begin, first = -1, None
        for piece in pieces:
            self._piece = piece
            if begin >= 0 and begin + len(buffer) != piece.lsn:
                raise piece.damage(piece.lsn, f"the log goes on at {_text(piece.lsn)}, expected "
                                              f"{_text(begin + len(buffer))}")
            if not buffer:
                begin, first = piece.lsn, piece
            buffer += piece.data
            while begin + len(buffer) >= (end := (begin // PAGE_SIZE + 1) * PAGE_SIZE):
                assert first is not None
                yield _Page(begin, bytes(buffer[:end - begin]), first)
                del buffer[:end - begin]
                begin, first = end, piece
        if buffer and first is not None:
            yield _Page(begin, bytes(buffer), first)

    def _check(self, page: _Page) -> _Page:
        """With its header, which must be right; the set may begin amid a page."""
        begin, piece = page.begin, page.piece
        if begin % PAGE_SIZE:
            return page
        is_first = begin % self._wanted.segment_size == 0
        size = (_LONG_PAGE_HEADER if is_first else _PAGE_HEADER).size
        if len(page.data) < size:
            raise piece.damage(begin, f"the page at {_text(begin)} has {len(page.data)} bytes")
        magic, flags, timeline, address, remaining = _PAGE_HEADER.unpack_from(page.data)
        if magic >> 8 != 0xD1 or self._magic not in (0, magic) or address != begin or (
                flags & ~_KNOWN_FLAGS) or bool(flags & _LONG) != is_first:
            raise piece.damage(begin, f"there is no page of log at {_text(begin)}")
        if timeline < self._timeline:
            raise piece.damage(begin, f"the page at {_text(begin)} is of timeline {timeline}")
        if is_first and _LONG_PAGE_HEADER.unpack_from(page.data)[5:] != (
                self._wanted.system_identifier, self._wanted.segment_size, PAGE_SIZE):
            raise piece.damage(begin, f"the segment at {_text(begin)} is of another cluster")
        self._magic, self._timeline = magic, timeline
        return _Page(begin, page.data, piece, flags, remaining, size)

    def _next_page(self) -> bool:
        """False at the end of the log, with the last page left as it is."""
        page = next(self._pages, None)
        if page is not None:
            self._page, self._at = self._check(page), 0
        return page is not None

    def _seek(self, lsn: int) -> bool:
        """To an LSN at which a record begins, or its page. Nothing is said of pages before it."""
        page = self._page
        while page is None or page.begin + len(page.data) <= lsn:
            page = next(self._pages, None)
            if page is None:
                return False
        if page is not self._page:
            self._page = self._check(page)
        self._at = max(0, lsn - page.begin)
        return True

    def _damage(self, lsn: int, what: str) -> Damage:
        piece = self._page.piece if self._page else self._piece
        assert piece is not None
        return piece.damage(max(lsn, piece.lsn), what)

    # Records.

    def _record(self) -> WalRecord | None:
        """The next one; None where the log of the set ends."""
        assert self._page is not None
        if self._at >= len(self._page.data) and not self._next_page():
            return None
        page = self._page
        if self._at < page.header_size:
            if page.flags & _CONTINUES:
                raise self._damage(page.begin, f"the page at {_text(page.begin)} continues a "
                                               f"record that is not before it")
            self._at = page.header_size
        lsn = self.position
        length = int.from_bytes(page.data[self._at:self._at + 4], "little")
        if length < _RECORD_HEADER.size:
            raise self._damage(lsn, f"there is no record at {_text(lsn)}")
        header = b"".join(self._read(_RECORD_HEADER.size, length, lsn))
        _, transaction, previous, info, manager, expected = _RECORD_HEADER.unpack(header)
        if previous != self._previous if self._previous >= 0 else previous >= lsn:
            raise self._damage(lsn, f"the record at {_text(lsn)} does not follow the one before")
        checksum = 0
        rest = length - len(header)
        for part in self._read(rest, rest, lsn):
            checksum = crc32c(part, checksum)
        if crc32c(header[:-4], checksum) != expected:
            raise self._damage(lsn, f"the checksum of the record at {_text(lsn)} is wrong")
        self._at += -self.position % 8
        end = self.position
        if (manager, info & 0xF0) == (0, _SWITCH):
            end = -(-end // self._wanted.segment_size) * self._wanted.segment_size
        return WalRecord(lsn, end, length, transaction, previous, info, manager)

    def _read(self, size: int, remaining: int, lsn: int) -> Iterator[bytes]:
        """The next bytes of a record of which so many are left, from page to page."""
        while size:
            assert self._page is not None
            if self._at >= len(self._page.data):
                if not self._next_page():
                    raise self._damage(lsn, f"the log ends amid the record at {_text(lsn)}")
                if self._page.flags & _OVERWRITES:
                    raise _GivenUp
                if not self._page.flags & _CONTINUES or self._page.remaining != remaining:
                    raise self._damage(lsn, f"the record at {_text(lsn)} does not go on at "
                                            f"{_text(self._page.begin)}")
                self._at = self._page.header_size
            part = self._page.data[self._at:self._at + size]
            self._at += len(part)
            size -= len(part)
            remaining -= len(part)
            yield part
