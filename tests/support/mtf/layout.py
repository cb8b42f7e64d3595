"""Where things are on a medium: fields, checksums, blocks, streams, and the walk over them all."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from mtfdump.encodings import (COMMON_SIZE, FIXED_SIZE, STREAM_HEADER_SIZE, Stream, align_up, is_id,
                               parse_date, parse_stream, xor_words)

SQL_SERVER_VENDOR = 0x1200
CHUNK_SIZE = 1 << 20

# Block attributes, section 2.12.
CONTINUATION = 1 << 0
COMPRESSION = 1 << 2
NO_ESET_PBA = 1 << 16
ESET_PBA_INVALID = 1 << 17
SQL_MARK_LAYOUT = 1 << 31

# DIRB and FILE attribute, sections 2.6 and 2.7: the name is in a PNAM or FNAM stream.
NAME_IN_STREAM = 1 << 17

# Stream attributes, section 3.1: the first is a file-system attribute, the rest media-format ones.
SPARSE = 1 << 3
CONTINUE = 1 << 0
VARIABLE = 1 << 1
VAR_END = 1 << 2
ENCRYPTED = 1 << 3
COMPRESSED = 1 << 4
CHECKSUMED = 1 << 5

# Field -> (offset from the start of the DBLK, struct code or one of: date, text, path, octets).
# The last three are tape addresses (section 2). Sections 2.3 to 2.11.
FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "TAPE": {
        "family_id": (52, "I"), "type_attributes": (56, "I"), "media_sequence": (60, "H"),
        "password_algorithm": (62, "H"), "mark_units": (64, "H"), "catalog_type": (66, "H"),
        "media_name": (68, "text"), "description": (72, "text"), "password": (76, "octets"),
        "software": (80, "text"), "flb_size": (84, "H"), "vendor": (86, "H"),
        "date": (88, "date"), "mtf_major": (93, "B"),
    },
    "SSET": {
        "type_attributes": (52, "I"), "password_algorithm": (56, "H"),
        "compression_algorithm": (58, "H"), "vendor": (60, "H"), "set_number": (62, "H"),
        "set_name": (64, "text"), "description": (68, "text"), "password": (72, "octets"),
        "user": (76, "text"), "pba": (80, "Q"), "date": (88, "date"), "software_major": (93, "B"),
        "software_minor": (94, "B"), "time_zone": (95, "b"), "mtf_minor": (96, "B"),
        "catalog_version": (97, "B"),
    },
    "VOLB": {
        "type_attributes": (52, "I"), "device": (56, "text"), "volume": (60, "text"),
        "machine": (64, "text"), "date": (68, "date"),
    },
    "DIRB": {
        "type_attributes": (52, "I"), "modified": (56, "date"), "created": (61, "date"),
        "backed_up": (66, "date"), "accessed": (71, "date"), "directory_id": (76, "I"),
        "path": (80, "path"),
    },
    "FILE": {
        "type_attributes": (52, "I"), "modified": (56, "date"), "created": (61, "date"),
        "backed_up": (66, "date"), "accessed": (71, "date"), "directory_id": (76, "I"),
        "file_id": (80, "I"), "name": (84, "text"),
    },
    "CFIL": {"type_attributes": (52, "I"), "stream_offset": (64, "Q"), "stream_number": (72, "H")},
    "ESPB": {},
    "ESET": {
        "type_attributes": (52, "I"), "corrupt_files": (56, "I"), "catalog_pba": (60, "Q"),
        "set_map_pba": (68, "Q"), "catalog_sequence": (76, "H"), "set_number": (78, "H"),
        "date": (80, "date"),
    },
    "EOTM": {"eset_pba": (52, "Q")},
    "SFMB": {"capacity": (52, "I"), "used": (56, "I")},
}


class MtfError(Exception):
    """What is wrong, in which block (its type, or "medium"), and at which byte of the medium."""

    def __init__(self, block: str, offset: int, reason: str) -> None:
        super().__init__(f"{block} at byte {offset}: {reason}")
        self.block = block
        self.offset = offset
        self.reason = reason
        self.path: Path | None = None


def decode_text(raw: bytes, string_type: int) -> str:
    """Decodes by string type (section 2.1); trailing nulls stay. ValueError if malformed."""
    if not raw:
        return ""
    if string_type == 1:
        return raw.decode("cp1252")
    if string_type == 2:
        return raw.decode("utf-16-le")
    raise ValueError(f"a string of {len(raw)} bytes under string type {string_type}")


def decode_path(text: str) -> tuple[str, ...]:
    """Components of a path string (section 2.1): each ends in one null, the root is one null."""
    if not text.endswith("\0"):
        raise ValueError("the path does not end in a null character")
    if text == "\0":
        return ()
    components = tuple(text[:-1].split("\0"))
    if not all(components):
        raise ValueError("the path has an empty component")
    return components


@dataclass(slots=True)
class Block:
    """One DBLK. `raw` is its header with the strings; `end` is the byte behind its last stream."""

    type: str
    offset: int
    raw: bytes
    end: int
    streams: list[Stream] = field(default_factory=list)

    def integer(self, offset: int, code: str) -> int:
        return int(struct.unpack_from("<" + code, self.raw, offset)[0])

    @property
    def attributes(self) -> int:
        return self.integer(4, "I")

    @property
    def event_offset(self) -> int:
        return self.integer(8, "H")

    @property
    def displayable_size(self) -> int:
        return self.integer(12, "Q")

    @property
    def fla(self) -> int:
        return self.integer(20, "Q")

    @property
    def control_id(self) -> int:
        return self.integer(36, "I")

    @property
    def string_type(self) -> int:
        return self.raw[48]

    def error(self, reason: str) -> MtfError:
        return MtfError(self.type, self.offset, reason)

    def number(self, name: str) -> int:
        offset, code = FIELDS[self.type][name]
        return self.integer(offset, code)

    def date(self, name: str) -> datetime | None:
        offset, _ = FIELDS[self.type][name]
        try:
            return parse_date(self.raw[offset:offset + 5])
        except ValueError as error:
            raise self.error(f"{name} is no date: {error}") from None

    def octets(self, offset: int) -> bytes:
        """What the tape address at `offset` points to; it must lie before the first stream."""
        size, start = self.integer(offset, "H"), self.integer(offset + 2, "H")
        if size == 0:
            return b""
        if start < FIXED_SIZE.get(self.type, COMMON_SIZE) or start + size > self.event_offset:
            raise self.error(f"tape address at +{offset} names {size} bytes at +{start}, "
                             f"outside of the block's string area")
        return self.raw[start:start + size]

    def text(self, name: str) -> str:
        """A string without its trailing nulls, which section 2 lets a writer add."""
        return self.raw_text(name).rstrip("\0")

    def raw_text(self, name: str) -> str:
        try:
            return decode_text(self.octets(FIELDS[self.type][name][0]), self.string_type)
        except ValueError as error:
            raise self.error(f"{name} is malformed: {error}") from None


class Medium:
    """A medium in a file, read in small pieces. Close it, or use it in a with statement."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = open(path, "rb", buffering=0)
        try:
            self.size = os.fstat(self._file.fileno()).st_size
            self.flb_size = 1024
            self.tape = self._read_tape()
        except MtfError as error:
            error.path = path
            self._file.close()
            raise

    def __enter__(self) -> Medium:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, offset: int, size: int) -> bytes:
        """Exactly `size` bytes, or MtfError."""
        data = os.pread(self._file.fileno(), size, offset)
        while 0 < len(data) < size:
            more = os.pread(self._file.fileno(), size - len(data), offset + len(data))
            if not more:
                break
            data += more
        if len(data) < size:
            raise MtfError("medium", offset, f"ends {size - len(data)} bytes too early")
        return data

    def chunks(self, offset: int, size: int) -> Iterator[bytes]:
        """The same bytes in pieces of at most CHUNK_SIZE."""
        end = offset + size
        while offset < end:
            chunk = self.read(offset, min(CHUNK_SIZE, end - offset))
            yield chunk
            offset += len(chunk)

    @property
    def is_sql_server(self) -> bool:
        return self.tape.number("vendor") == SQL_SERVER_VENDOR

    @property
    def physical_size(self) -> int:
        """The physical block, on disk the size of a soft filemark (sections 1.1 and 2.3)."""
        return self.tape.number("mark_units") * 512

    @property
    def has_soft_marks(self) -> bool:
        return bool(self.tape.number("type_attributes") & 1)

    def is_pba(self, value: int, offset: int) -> bool:
        """Whether `value` addresses byte `offset` (section 1.5). SQL Server counts bytes, MTF names
        the physical block that holds the byte."""
        return value == (offset if self.is_sql_server else offset // (self.physical_size or 1))

    def blocks(self) -> Iterator[Block]:
        """All DBLKs in order. FLBs are counted from the end of the last filemark (section 1.3)."""
        offset = origin = 0
        while offset < self.size:
            block = self._read_block(offset)
            if block.type == "SFMB":
                block.end = origin = self._mark_end(block)
                offset = origin
            else:
                self._read_streams(block, origin)
                offset = origin + align_up(block.end - origin, self.flb_size)
            yield block

    def _read_tape(self) -> Block:
        """The media header and the sizes it declares (sections 2.3 and 7.1)."""
        if self.size == 0:
            raise MtfError("medium", 0, "is empty")
        if self.size >= 8 and self.read(0, 8) == b"MSSQLBAK":
            raise MtfError("medium", 0, "is a compressed SQL Server container, not a tape format")
        tape = self._read_block(0)
        if tape.type != "TAPE":
            raise tape.error("the first block is not TAPE")
        if len(tape.raw) < FIXED_SIZE["TAPE"]:
            raise tape.error("the medium ends inside the block")
        if tape.number("mtf_major") != 1:
            raise tape.error(f"MTF major version {tape.number('mtf_major')}, not 1")
        if tape.number("flb_size") not in (512, 1024):
            raise tape.error(f"FLB size {tape.number('flb_size')}, not 512 or 1024")
        self.flb_size = tape.number("flb_size")
        return tape

    def _read_block(self, offset: int) -> Block:
        """A DBLK whose type and checksum hold (section 2.2); its lengths are trusted only then."""
        if self.size - offset < COMMON_SIZE:
            raise MtfError("medium", offset, f"ends {self.size - offset} bytes into a block header")
        raw = self.read(offset, min(self.flb_size, self.size - offset))
        if not is_id(raw[:4]):
            raise MtfError("medium", offset, f"no block begins here but {raw[:8].hex(' ')}")
        block = Block(raw[:4].decode(), offset, raw, offset)
        stored, computed = block.integer(50, "H"), xor_words(raw[:50])
        if stored != computed:
            raise block.error(f"block checksum {stored:#06x}, computed {computed:#06x}")
        fixed = FIXED_SIZE.get(block.type, COMMON_SIZE)
        if block.type != "SFMB" and not fixed <= block.event_offset <= self.flb_size:
            raise block.error(f"offset to first event {block.event_offset} is outside of "
                              f"{fixed}..{self.flb_size}")
        if len(raw) < max(fixed, min(block.event_offset, self.flb_size)):
            raise block.error("the medium ends inside the block")
        if block.type != "SFMB":
            block.raw = raw[:block.event_offset]
        return block

    def _mark_end(self, block: Block) -> int:
        """Where a soft filemark ends: go by TAPE+64, the size in the mark is 16 bits (1.4)."""
        size = self.physical_size or block.event_offset
        if size < COMMON_SIZE or block.event_offset != size & 0xFFFF:
            raise block.error(f"offset to first event {block.event_offset}, "
                              f"the soft filemark size is {size}")
        if block.offset + size > self.size:
            raise block.error(f"its {size} bytes run past the end of the medium at {self.size}")
        return block.offset + size

    def _read_streams(self, block: Block, origin: int) -> None:
        """Follows the stream headers to SPAD (section 3), or to the next block of old writers."""
        block.end = block.offset + block.event_offset
        while not block.streams or block.streams[-1].id != "SPAD":
            stream = self._next_stream(block, origin)
            if stream is None:
                return
            if stream.end > self.size:
                raise block.error(f"stream {stream.id} at byte {stream.offset}: {stream.length} "
                                  f"bytes of data run past the end of the medium at {self.size}")
            block.streams.append(stream)
            block.end = stream.end

    def _next_stream(self, block: Block, origin: int) -> Stream | None:
        """Tries the 4-byte boundary, then flush behind the data, then a DBLK (section 1.3)."""
        aligned = origin + align_up(block.end - origin, 4)
        for offset in dict.fromkeys((aligned, block.end)):
            stream = self._stream_at(offset, origin)
            if stream is not None:
                return stream
        if (aligned - origin) % self.flb_size == 0 and self._block_begins_at(aligned):
            return None
        raw = os.pread(self._file.fileno(), STREAM_HEADER_SIZE, aligned)
        if len(raw) < STREAM_HEADER_SIZE:
            raise block.error(f"stream header at byte {aligned}: the medium ends at {self.size}")
        stored, computed = int.from_bytes(raw[20:], "little"), xor_words(raw[:20])
        if stored != computed:
            raise block.error(f"stream header at byte {aligned}: checksum {stored:#06x}, "
                              f"computed {computed:#06x}")
        raise block.error(f"stream header at byte {aligned}: no stream id but {raw[:4].hex(' ')}")

    def _stream_at(self, offset: int, origin: int) -> Stream | None:
        stream = parse_stream(os.pread(self._file.fileno(), STREAM_HEADER_SIZE, offset), offset)
        if stream is not None and stream.format_attributes & CONTINUE:
            # Data goes on at the next FLB, not behind the header (section 1.6).
            at = origin + align_up(stream.data - origin, self.flb_size)
            return replace(stream, data=at)
        return stream

    def _block_begins_at(self, offset: int) -> bool:
        """Whether a block can begin here; the end of the medium counts (section 1.3)."""
        raw = os.pread(self._file.fileno(), COMMON_SIZE, offset)
        if not raw:
            return True
        return (len(raw) == COMMON_SIZE and is_id(raw[:4])
                and xor_words(raw[:50]) == int.from_bytes(raw[50:], "little"))


def name_of(medium: Medium, block: Block) -> str:
    """The DIRB's path or the FILE's name, from the block or its first stream (section 3.2)."""
    name, stream_id = ("path", "PNAM") if block.type == "DIRB" else ("name", "FNAM")
    if not block.number("type_attributes") & NAME_IN_STREAM:
        return block.raw_text(name)
    if not block.streams or block.streams[0].id != stream_id:
        raise block.error(f"its name should be in a {stream_id} stream, but that is not the first")
    stream = block.streams[0]
    if stream.length > 1 << 16:
        raise block.error(f"stream {stream_id} at byte {stream.offset}: a name of "
                          f"{stream.length} bytes")
    try:
        return decode_text(medium.read(stream.data, stream.length), block.string_type)
    except ValueError as error:
        raise block.error(f"stream {stream_id} at byte {stream.offset}: {error}") from None


def directory_of(medium: Medium, block: Block) -> tuple[str, ...]:
    """Path components of a DIRB."""
    try:
        return decode_path(name_of(medium, block))
    except ValueError as error:
        raise block.error(str(error)) from None


def leaf_of(medium: Medium, block: Block) -> str:
    """Name of a FILE, never empty and without a null inside."""
    name = name_of(medium, block).rstrip("\0")
    if not name or "\0" in name:
        raise block.error(f"file name {name!r} is empty or has a null character inside")
    return name
