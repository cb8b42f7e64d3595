"""Builds synthetic media from the MTF 1.00a specification, for the tests of the reader.

Shares nothing with the reader, not even constants. Offsets of everything written are kept, so that
a test can damage a known byte.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

FLB = 1024
MARK = 4096
VENDOR = 0x0777
DATE = bytes.fromhex("1F6E62D778")


def words_xor(raw: bytes) -> int:
    result = 0
    for at in range(0, len(raw), 2):
        result ^= raw[at] | raw[at + 1] << 8
    return result


def frame(data: bytes, left: int, number: int, stored: bytes | None = None) -> bytes:
    """A compression frame (section 3.5); raw unless `stored` says what it became."""
    body = data if stored is None else stored
    head = struct.pack("<2sHQIIBB", b"FH", 0, left, len(data), len(body), number, 0)
    return head + struct.pack("<H", words_xor(head)) + body


@dataclass
class Stream:
    """What a test asks for: section 3.1's header fields and the data."""

    id: str
    data: bytes
    format: int = 0
    system: int = 0
    compression: int = 0
    on_physical: bool = False


@dataclass
class Placed:
    """Where a block went, and its streams by id."""

    type: str
    offset: int
    fla: int = 0
    streams: dict[str, int] = field(default_factory=dict)


class MediumBuilder:
    """Writes blocks one behind the other. The caller keeps the order of section 1.2."""

    def __init__(self, family_id: int = 0x1234, *, mark_size: int = MARK,
                 sql_server: bool = False) -> None:
        self.data = bytearray()
        self.blocks: list[Placed] = []
        self.marks: list[int] = []
        self.origin = 0
        self.mark_size = mark_size
        self.sql_server = sql_server
        self.is_flush = False  # Backup Exec's habit: no padding before stream headers.
        self.family_id = family_id
        self.set_entries = b""
        self.sset_offset = 0
        self.control_id = 0
        fixed = struct.pack("<IIHHHH", family_id, 1, 1, 0, mark_size // 512, 1) + bytes(16)
        fixed += struct.pack("<HH5sB", FLB, 0x1200 if sql_server else VENDOR, DATE, 1)
        self.block("TAPE", fixed, {68: "Media", 80: "Builder"}, [], in_set=False, to_mark=True)
        self.mark()

    def place(self, kind: str, index: int = 0) -> Placed:
        return [block for block in self.blocks if block.type == kind][index]

    def block(self, kind: str, fixed: bytes, strings: dict[int, str], streams: list[Stream], *,
              attributes: int = 0, size: int = 0, in_set: bool = True, fla: bool = True,
              to_mark: bool = False) -> Placed:
        """One DBLK with its streams and SPAD; `strings` by the offset of their tape address."""
        placed = Placed(kind, len(self.data))
        head = bytearray(52) + fixed
        for at, text in strings.items():
            raw = text.encode("utf-16-le")
            head[at:at + 4] = struct.pack("<HH", len(raw), len(head))
            head += raw
        head += bytes(-len(head) % 4)
        placed.fla = (placed.offset - self.sset_offset) // FLB if in_set and fla else 0
        struct.pack_into("<4sIHBBQQ", head, 0, kind.encode(), attributes, len(head), 14, 1, size,
                         placed.fla)
        struct.pack_into("<I", head, 36, self.control_id if in_set else 0)
        head[48] = 2 if strings else 0
        struct.pack_into("<H", head, 50, words_xor(head[:50]))
        self.control_id += in_set
        self.data += head
        for stream in streams:
            self._stream(placed, stream)
        self._pad(placed, max(FLB, self.mark_size) if to_mark else FLB)
        self.blocks.append(placed)
        return placed

    def _header(self, placed: Placed, stream: Stream, length: int) -> None:
        placed.streams.setdefault(stream.id, len(self.data))
        head = struct.pack("<4sHHQHH", stream.id.encode(), stream.system, stream.format, length, 0,
                           stream.compression)
        self.data += head + struct.pack("<H", words_xor(head))

    def _stream(self, placed: Placed, stream: Stream) -> None:
        if stream.on_physical and len(self.data) % self.mark_size:
            gap = -len(self.data) % self.mark_size
            filler = gap - 22 if gap >= 22 else gap + self.mark_size - 22
            self._header(placed, Stream("XFIL", b""), filler)
            self.data += bytes(filler)
        self._header(placed, stream, len(stream.data))
        if stream.format & 1:  # CONTINUE: the data goes on at the next FLB (section 1.6).
            self.data += bytes(-(len(self.data) - self.origin) % FLB)
        self.data += stream.data
        self.data += bytes(0 if self.is_flush else -len(self.data) % 4)

    def _pad(self, placed: Placed, unit: int) -> None:
        room = -(len(self.data) - self.origin) % unit
        while room < 22:
            room += unit
        self._header(placed, Stream("SPAD", b""), room - 22)
        self.data += bytes(room - 22)

    def pba(self, offset: int) -> int:
        """Section 1.5: a physical block number, from SQL Server a byte offset."""
        return offset if self.sql_server else offset // self.mark_size

    def mark(self) -> None:
        """A soft filemark in the layout of the specification, or SQL Server's (section 2.11)."""
        offset, size = len(self.data), self.mark_size
        mark = bytearray(size)
        start, code = (72, "<Q") if self.sql_server else (60, "<I")
        struct.pack_into("<4sIHBBQQ", mark, 0, b"SFMB", self.sql_server << 31, size, 14, 1, 0,
                         self.pba(offset))
        struct.pack_into("<I", mark, 36, len(self.marks) + 1)
        struct.pack_into("<H", mark, 50, words_xor(mark[:50]))
        width = struct.calcsize(code)
        capacity = (size - start) // width
        entries = self.marks[::-1][:capacity]
        struct.pack_into("<III", mark, 52, capacity, len(entries), 72 if self.sql_server else 0)
        for index, before in enumerate(entries):
            struct.pack_into(code, mark, start + width * index, self.pba(before))
        self.data += mark
        self.marks.append(offset)
        self.origin = len(self.data)
        self.blocks.append(Placed("SFMB", offset))

    def begin_set(self, number: int, attributes: int = 0, compression: int = 0) -> None:
        self.sset_offset, self.control_id = len(self.data), 0
        fixed = struct.pack("<IHHHH", 4, 0, compression, VENDOR, number) + bytes(16)
        fixed += struct.pack("<Q5sBBbBB", self.pba(len(self.data)), DATE, 1, 0, 8, 0, 2)
        self.block("SSET", fixed, {64: f"Set {number}", 68: "Synthetic", 76: "tester"}, [],
                   attributes=attributes)
        volume = struct.pack("<I", 2) + bytes(12) + DATE
        self.block("VOLB", volume, {56: "C:", 60: "label", 64: "host"},
                   [Stream("XMET", b"private" * 300)], attributes=attributes)

    def directory(self, identity: int, path: str, attributes: int = 0) -> Placed:
        fixed = struct.pack("<I", 0) + DATE * 4 + struct.pack("<II", identity, 0)
        return self.block("DIRB", fixed, {80: path}, [], attributes=attributes)

    def file(self, identity: int, directory: int, name: str, streams: list[Stream], size: int,
             attributes: int = 0, type_attributes: int = 0, to_mark: bool = False) -> Placed:
        fixed = struct.pack("<I", type_attributes) + DATE * 4
        fixed += struct.pack("<III", directory, identity, 0)
        return self.block("FILE", fixed, {84: name} if name else {48: ""}, streams, size=size,
                          attributes=attributes, to_mark=to_mark)

    def plain_file(self, identity: int, directory: int, name: str, data: bytes,
                   to_mark: bool = False) -> Placed:
        """A FILE as the server writes it: a vendor stream, then one STAN with its CSUM."""
        padded = data + bytes(-len(data) % 4)
        checksum = 0
        for (dword,) in struct.iter_unpack("<I", padded):
            checksum ^= dword
        return self.file(identity, directory, name, [
            Stream("XFRM", b"frame header"), Stream("STAN", data, format=1 << 5),
            Stream("CSUM", struct.pack("<I", checksum))], len(data), to_mark=to_mark)

    def end_set(self, number: int, directories: int, files: int, attributes: int = 0,
                second_eset: bool = True) -> None:
        """ESPB, filemark, ESET with file catalog and set map, second ESET, filemark (section 4)."""
        self.block("ESPB", b"", {}, [], attributes=attributes, to_mark=True)
        self.mark()
        catalog = self._file_catalog(directories, files)
        unit = self.mark_size
        catalog_at = -(-(len(self.data) + 88 + 22) // unit) * unit
        map_at = -(-(catalog_at + 22 + len(catalog) + 22) // unit) * unit
        self.set_entries += self._set_entry(number, attributes, catalog_at, directories, files)
        set_map = struct.pack("<IHH", self.family_id, number, 0) + self.set_entries
        self._eset(number, 0, 0, attributes, [Stream("TFDD", catalog, on_physical=True),
                                              Stream("TSMP", set_map, on_physical=True)],
                   to_mark=not second_eset)
        if second_eset:
            self._eset(number, self.pba(catalog_at), self.pba(map_at), attributes, [],
                       to_mark=True)
        self.mark()

    def _eset(self, number: int, catalog: int, set_map: int, attributes: int,
              streams: list[Stream], to_mark: bool = False) -> None:
        fixed = struct.pack("<IIQQHH5s3x", 4, 0, catalog, set_map, 0, number, DATE)
        self.block("ESET", fixed, {}, streams, attributes=attributes, fla=False, to_mark=to_mark)

    def end_of_medium(self, eset_offset: int) -> None:
        """EOTM between two filemarks (sections 1.2 and 2.10)."""
        self.mark()
        self.block("EOTM", struct.pack("<Q", self.pba(eset_offset)), {}, [], in_set=False,
                   to_mark=True)
        self.mark()

    @staticmethod
    def _file_catalog(directories: int, files: int) -> bytes:
        kinds = ["VOLB"] + ["DIRB"] * directories + ["FILE"] * files + ["FEND"]
        return b"".join(struct.pack("<H4s", 72, kind.encode()) + bytes(66) for kind in kinds)

    def _set_entry(self, number: int, attributes: int, catalog: int, directories: int,
                   files: int) -> bytes:
        texts = {64: f"Set {number}", 72: "Synthetic", 76: "tester"}
        entry = bytearray(92)
        struct.pack_into("<IIQQHHQIII", entry, 4, attributes, 4, self.pba(self.sset_offset),
                         self.pba(catalog), 1, number, 0, directories, files, 0)
        struct.pack_into("<HH", entry, 60, 1, 0)
        struct.pack_into("<5sbBBBBB", entry, 80, DATE, 8, 14, 1, 2, 0, 2)
        volume = bytearray(62)
        struct.pack_into("<4sHIQ", volume, 2, b"VOLB", 1, attributes, 1)
        struct.pack_into("<BBB", volume, 32, 14, 1, 2)
        struct.pack_into("<I", volume, 36, 2)
        volume[56:61] = DATE
        for record, strings in ((entry, texts), (volume, {40: "C:", 44: "label", 48: "host"})):
            for at, text in strings.items():
                raw = text.encode("utf-16-le")
                struct.pack_into("<HH", record, at, len(raw), len(record))
                record += raw
            struct.pack_into("<H", record, 0, len(record))
        struct.pack_into("<H", entry, 2, 1)
        return bytes(entry + volume)
