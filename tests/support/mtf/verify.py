"""Every rule that a sound medium keeps, checked in one pass; the first broken one is raised."""

from __future__ import annotations

from dataclasses import dataclass, field

from mtf.catalog import SetSummary, check_file_catalog, check_set_map
from mtf.content import Run, chain_at, content_of, xor_dwords
from mtf.layout import (CHECKSUMED, COMPRESSED, COMPRESSION, CONTINUATION,
                        ESET_PBA_INVALID, FIELDS, NO_ESET_PBA, SQL_MARK_LAYOUT, SQL_SERVER_VENDOR,
                        Block, Medium, MtfError, Stream, directory_of, leaf_of)

# Phase of the walk -> block type -> next phase (section 1.2). Unknown types leave it as it is.
_BODY = {"VOLB": "body", "DIRB": "body", "FILE": "body", "CFIL": "body", "ESPB": "padded",
         "SFMB": "closed"}
_PHASES: dict[str, dict[str, str]] = {
    "start": {"TAPE": "media header"},
    "media header": {"SFMB": "between sets"},
    "between sets": {"SSET": "body", "SFMB": "before EOTM", "EOTM": "ended"},
    "body": _BODY,
    "padded": {"SFMB": "closed"},
    "closed": {"ESET": "trailer", "EOTM": "ended"},
    "trailer": {"ESET": "trailer", "SFMB": "between sets"},
    "before EOTM": {"EOTM": "ended"},
    "ended": {"SFMB": "ended"},
}


@dataclass(slots=True)
class _OpenSet:
    """The data set that the walk is in."""

    summary: SetSummary
    vendor: int
    is_continued: bool
    next_control_id: int = 1
    next_directory_id: int = 1
    next_file_id: int = 1
    directories: dict[int, tuple[str, ...]] = field(default_factory=dict)
    paths: set[tuple[str, ...]] = field(default_factory=set)
    esets: list[Block] = field(default_factory=list)


class Verifier:
    """Checks one medium. Memory grows with sets, filemarks and directories, not with the data."""

    def __init__(self, medium: Medium) -> None:
        self._medium = medium
        self._phase = "start"
        self._last: Block | None = None
        self._origin = 0
        self._marks: list[int] = []
        self._sets: list[SetSummary] = []
        self._set: _OpenSet | None = None
        self._last_eset: Block | None = None
        self._by_type = {
            "TAPE": self._check_tape, "SSET": self._check_sset, "VOLB": self._check_volb,
            "DIRB": self._check_dirb, "FILE": self._check_file, "CFIL": self._check_cfil,
            "ESET": self._check_eset, "EOTM": self._check_eotm, "SFMB": self._check_mark,
        }

    def run(self) -> None:
        for block in self._medium.blocks():
            self._advance(block)
            self._check_header(block)
            if block.type != "SFMB":
                self._check_streams(block)
            if block.type in self._by_type:
                self._by_type[block.type](block)
            if self._set is not None and block.type not in ("SSET", "SFMB", "EOTM"):
                self._check_place(block, self._set)
            self._last = block
        self._check_end()

    def _advance(self, block: Block) -> None:
        """Order of the blocks (section 1.2); those of unknown type may stand anywhere (2.13)."""
        if block.type in FIELDS:
            phase = _PHASES[self._phase].get(block.type)
            if phase is None:
                raise block.error(f"{block.type} may not stand here ({self._phase})")
            self._phase = phase

    def _check_end(self) -> None:
        """The last block is a filemark behind a complete set (1.2, 7.1). That the blocks tile the
        file needs no check: the walk reads each where the one before ends, up to the last byte."""
        last = self._last
        if last is None:
            raise MtfError("medium", 0, "is empty")
        if self._set is not None and self._phase != "ended":
            raise self._set.summary.sset.error("the set has no end: its ESET or the filemark "
                                               f"behind it is missing at byte {last.end}")
        if last.type != "SFMB":
            raise last.error("the medium does not end in a filemark")

    # What all blocks have.

    def _check_header(self, block: Block) -> None:
        """Reserved bytes, string type, every string and date, in sections 2 to 2.11."""
        if any(block.raw[28:36]) or any(block.raw[40:44]) or block.raw[49]:
            raise block.error("a reserved byte of the common header is not zero")
        if block.string_type > 2:
            raise block.error(f"string type {block.string_type}")
        if block.type != "FILE" and block.displayable_size:
            raise block.error(f"displayable size {block.displayable_size}, but it is no FILE")
        if block.type != "SFMB":
            block.octets(44)
        for name, (offset, code) in FIELDS.get(block.type, {}).items():
            if code == "date":
                block.date(name)
            elif code == "octets":
                block.octets(offset)
            elif code == "text" and "\0" in block.text(name):
                raise block.error(f"{name} has a null character inside")

    def _check_streams(self, block: Block) -> None:
        """Alignment (1.3), SPAD last and only last, attributes (3.1), CSUM (3.4)."""
        if not block.streams or block.streams[-1].id != "SPAD":
            raise block.error(f"no SPAD: its streams end at byte {block.end}")
        if (block.end - self._origin) % self._medium.flb_size:
            raise block.error(f"SPAD ends at byte {block.end}, off the FLB boundaries counted "
                              f"from the last filemark")
        position = block.offset + block.event_offset
        for stream in block.streams:
            if (stream.offset - self._origin) % 4:
                raise block.error(f"stream {stream.id} at byte {stream.offset} is not on a 4-byte "
                                  f"boundary")
            self._expect_zeros(block, position, stream.offset, "padding before a stream header")
            self._check_stream(block, stream)
            position = stream.end
        self._check_checksums(block)

    def _check_stream(self, block: Block, stream: Stream) -> None:
        if stream.id == "SPAD":
            self._expect_zeros(block, stream.data, stream.end, "SPAD")
        if stream.id in ("PNAM", "FNAM") and stream is not block.streams[0]:
            raise block.error(f"stream {stream.id} at byte {stream.offset} is not the first")
        if stream.id in ("TSMP", "TFDD") and stream.offset % self._physical_size:
            raise block.error(f"stream {stream.id} at byte {stream.offset} is not on a physical "
                              f"block boundary")
        if stream.format_attributes & COMPRESSED:
            algorithm = self._set.summary.sset.number("compression_algorithm") if self._set else 0
            if not block.attributes & COMPRESSION or stream.compression != algorithm:
                raise block.error(f"stream {stream.id} at byte {stream.offset} is compressed with "
                                  f"{stream.compression:#06x}, the set declares {algorithm:#06x}")

    def _check_checksums(self, block: Block) -> None:
        """A stream with BIT5 is followed by its CSUM; SQL Server's own sum is not judged."""
        index = 0
        while index < len(block.streams):
            chain = chain_at(block, index)
            index = chain.next_index
            first, checksum = chain.segments[0], chain.checksum
            if not first.format_attributes & CHECKSUMED:
                continue
            where = f"stream {first.id} at byte {first.offset}"
            if checksum is None or checksum.length != 4:
                raise block.error(f"{where} is not followed by its CSUM")
            stored = int.from_bytes(self._medium.read(checksum.data, 4), "little")
            computed = xor_dwords(Run(self._medium, chain.segments))
            if stored != computed and not self._medium.is_sql_server:
                raise block.error(f"{where}: CSUM {stored:#010x}, computed {computed:#010x}")

    def _expect_zeros(self, block: Block, start: int, end: int, what: str) -> None:
        for chunk in self._medium.chunks(start, end - start):
            if chunk.count(0) != len(chunk):
                at = start + next(i for i, byte in enumerate(chunk) if byte)
                raise block.error(f"{what} is not zero at byte {at}")
            start += len(chunk)

    def _check_place(self, block: Block, current: _OpenSet) -> None:
        """FLA (1.5) and control block id (2.2) of a block inside a set."""
        sset = current.summary.sset
        fla = sset.fla + (block.offset - sset.offset) // self._medium.flb_size
        expected_fla = 0 if block.type == "ESET" else fla
        if block.fla != expected_fla:
            raise block.error(f"FLA {block.fla}, expected {expected_fla}")
        sql_trailer = block.type == "ESET" and current.vendor == SQL_SERVER_VENDOR
        if block.control_id != current.next_control_id and not (sql_trailer
                                                                and block.control_id == 0):
            raise block.error(f"control block id {block.control_id}, "
                              f"expected {current.next_control_id}")
        current.next_control_id += 1
        if (block.attributes ^ sset.attributes) & COMPRESSION:
            raise block.error("its COMPRESSION attribute differs from the SSET's")

    # One method per type.

    @property
    def _physical_size(self) -> int:
        return self._medium.physical_size or self._medium.flb_size

    def _check_tape(self, tape: Block) -> None:
        """Section 2.3. Without soft filemarks nothing in a file could mark the ends of sets."""
        if not self._medium.has_soft_marks or self._medium.physical_size == 0:
            raise tape.error("the medium declares no soft filemarks, its file cannot be judged")
        if tape.fla or tape.control_id:
            raise tape.error(f"FLA {tape.fla} and control block id {tape.control_id}, expected 0")
        if tape.number("media_sequence") == 0:
            raise tape.error("media sequence number 0, the first is 1")

    def _check_sset(self, sset: Block) -> None:
        """Section 2.4; FLA and control block id start again."""
        continued = bool(sset.attributes & CONTINUATION)
        number = sset.number("set_number")
        expected = self._sets[-1].sset.number("set_number") + 1 if self._sets else 1
        if number != expected and (self._sets or not continued):
            raise sset.error(f"data set number {number}, expected {expected}")
        if (sset.fla and not continued) or sset.control_id:
            raise sset.error(f"FLA {sset.fla} and control block id {sset.control_id}, expected 0")
        if not self._medium.is_pba(sset.number("pba"), sset.offset):
            raise sset.error(f"PBA {sset.number('pba')} is not where the block is")
        self._set = _OpenSet(SetSummary(sset), sset.number("vendor"), continued)
        self._sets.append(self._set.summary)

    def _current(self, block: Block) -> _OpenSet:
        if self._set is None:
            raise block.error("it is outside of a data set")
        return self._set

    def _check_volb(self, volb: Block) -> None:
        """Section 2.5; a volume starts its own directory tree."""
        current = self._current(volb)
        current.summary.volumes.append(volb)
        current.paths.clear()

    def _check_dirb(self, block: Block) -> None:
        """Section 2.6: ids from 1, a volume first, every ancestor before its children."""
        current = self._current(block)
        if not current.summary.volumes:
            raise block.error("no VOLB stands before it")
        path, identity = directory_of(self._medium, block), block.number("directory_id")
        repeated = bool(block.attributes & CONTINUATION)
        if identity != current.next_directory_id and not repeated:
            raise block.error(f"directory id {identity}, expected {current.next_directory_id}")
        if path and path[:-1] not in current.paths and not current.is_continued:
            raise block.error(f"directory {'/'.join(path)!r} stands before its parent")
        if path in current.paths:
            raise block.error(f"directory {'/'.join(path)!r} stands here a second time")
        current.next_directory_id = identity + 1
        current.directories[identity] = path
        current.paths.add(path)
        current.summary.directories += 1

    def _check_file(self, block: Block) -> None:
        """Section 2.7: a known directory, ids from 1, displayable size = size of STAN."""
        current = self._current(block)
        leaf_of(self._medium, block)
        if block.number("directory_id") not in current.directories:
            raise block.error(f"directory id {block.number('directory_id')} has no DIRB before it")
        identity = block.number("file_id")
        repeated = bool(block.attributes & CONTINUATION)
        if identity != current.next_file_id and not repeated:
            raise block.error(f"file id {identity}, expected {current.next_file_id}")
        current.next_file_id = identity + 1
        current.summary.files += 1
        if not repeated:
            content_of(self._medium, block)

    def _check_cfil(self, block: Block) -> None:
        """Section 2.8: it speaks of the FILE before it."""
        if self._last is None or self._last.type not in ("FILE", "CFIL"):
            raise block.error("it does not follow a FILE")
        if self._last.type == "FILE":
            self._current(block).summary.corrupt_files += 1

    def _check_eset(self, eset: Block) -> None:
        """Section 2.9 and the catalog streams of section 4."""
        current = self._current(eset)
        summary, sset = current.summary, current.summary.sset
        for label, stated, expected in (
                ("data set number", eset.number("set_number"), sset.number("set_number")),
                ("attributes", eset.number("type_attributes"), sset.number("type_attributes"))):
            if stated != expected:
                raise eset.error(f"{label} {stated}, the SSET has {expected}")
        if eset.number("corrupt_files") != summary.corrupt_files and not current.is_continued:
            raise eset.error(f"{eset.number('corrupt_files')} corrupt files, "
                             f"the set has {summary.corrupt_files}")
        self._check_catalog(eset, current)
        self._check_eset_pbas(eset, current)
        current.esets.append(eset)

    def _check_catalog(self, eset: Block, current: _OpenSet) -> None:
        for stream in eset.streams:
            if stream.id == "TFDD":
                current.summary.file_catalog_offset = stream.offset
                if not current.is_continued:
                    check_file_catalog(self._medium, eset, stream, current.summary)
        for stream in eset.streams:
            if stream.id == "TSMP":
                check_set_map(self._medium, eset, stream, self._sets)

    def _check_eset_pbas(self, eset: Block, current: _OpenSet) -> None:
        """The second ESET points at TFDD and TSMP; SQL Server has it point at the first ESET."""
        first = current.esets[0] if current.esets else None
        catalog = current.summary.file_catalog_offset
        set_map = next((stream.offset for each in (*current.esets, eset)
                        for stream in each.streams if stream.id == "TSMP"), 0)
        targets = (("catalog_pba", catalog or (first or eset).offset, bool(catalog)),
                   ("set_map_pba", set_map, bool(set_map)))
        for name, offset, exists in targets:
            value = eset.number(name)
            required = first is not None and exists and not self._medium.is_sql_server
            if value == 0 and not required:
                continue
            if not offset or not self._medium.is_pba(value, offset):
                raise eset.error(f"{name.replace('_', ' ')} {value} is not that of byte {offset}")
        sequence = eset.number("catalog_sequence")
        if sequence not in (0, self._medium.tape.number("media_sequence")):
            raise eset.error(f"FDD media sequence number {sequence}")

    def _check_eotm(self, eotm: Block) -> None:
        """Section 2.10: the PBA of the last complete ESET, unless an attribute takes it back."""
        if eotm.fla or eotm.control_id:
            raise eotm.error(f"FLA {eotm.fla} and control block id {eotm.control_id}, expected 0")
        if eotm.attributes & (NO_ESET_PBA | ESET_PBA_INVALID):
            return
        if self._last_eset is None:
            raise eotm.error("no ESET stands before it, but its attributes do not say so")
        if not self._medium.is_pba(eotm.number("eset_pba"), self._last_eset.offset):
            raise eotm.error(f"ESET PBA {eotm.number('eset_pba')}, "
                             f"the last ESET is at byte {self._last_eset.offset}")

    # Soft filemarks.

    def _check_mark(self, mark: Block) -> None:
        """Sections 1.4 and 2.11: the nearest filemark before this one first, unused slots zero."""
        if mark.offset % self._physical_size:
            raise mark.error(f"it is not on a physical block boundary of {self._physical_size}")
        sql = self._medium.is_sql_server
        number = len(self._marks) + 1
        if mark.control_id != number and not (sql and mark.control_id == 0):
            raise mark.error(f"control block id {mark.control_id}, expected {number}")
        if not self._medium.is_pba(mark.fla, mark.offset) and not (sql and mark.fla == 0):
            raise mark.error(f"FLA {mark.fla} is not its physical block number")
        self._check_entries(mark)
        self._marks.insert(0, mark.offset)
        self._origin = mark.end
        if self._phase == "between sets" and self._set is not None:
            self._close_set(self._set)

    def _close_set(self, current: _OpenSet) -> None:
        """The filemark behind the trailer: a type 1 catalog needs its second ESET (section 4)."""
        eset = current.esets[-1]
        if len(current.esets) == 1 and any(stream.id == "TSMP" for stream in eset.streams):
            raise eset.error("no second ESET follows that with the set map")
        self._last_eset = eset
        self._set = None

    def _check_entries(self, mark: Block) -> None:
        raw = self._medium.read(mark.offset, mark.end - mark.offset)
        start, width = self._mark_layout(mark)
        capacity, used = mark.number("capacity"), mark.number("used")
        if capacity == 0 or start + capacity * width > len(raw):
            raise mark.error(f"an array of {capacity} entries does not fit")
        expected = self._marks[:capacity]
        if used != len(expected):
            raise mark.error(f"{used} entries used of {capacity}, expected {len(expected)}")
        for index, offset in enumerate(expected):
            at = start + index * width
            value = int.from_bytes(raw[at:at + width], "little")
            if not self._medium.is_pba(value, offset):
                raise mark.error(f"entry {index} is {value}, "
                                 f"but that filemark is at byte {offset}")
        if any(raw[start + used * width:]):
            raise mark.error("an unused entry is not zero")

    def _mark_layout(self, mark: Block) -> tuple[int, int]:
        """Offset of the array and width of an entry (section 2.11). SQL Server's newer layout has
        the offset at 60; the number of used entries is at 56 in every real one seen."""
        if not self._medium.is_sql_server:
            if mark.attributes & SQL_MARK_LAYOUT:
                raise mark.error("SQL Server's mark layout on a medium of another vendor")
            return 60, 4
        return (mark.integer(60, "I") if mark.attributes & SQL_MARK_LAYOUT else 60), 8
