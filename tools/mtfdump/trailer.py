"""The end of a set: descriptor, set map, index and summaries (format.md, sections 1 and 2)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mtfdump import descriptor
from mtfdump.crc32c import crc32c
from mtfdump.encodings import Stream
from mtfdump.layout import Block
from mtfdump.vendor import parse_counted, parse_descriptor, parse_summaries, unpack

if TYPE_CHECKING:
    from mtfdump.backup_set import SetReader

_ENTRY_SIZE = 24
_PACKED_ENTRY_SIZE = 32
_SET_MAP_HEADER_SIZE = 8
_SET_MAP_MAX = 1 << 20  # of the entries of the sets before


def read_trailer(reader: SetReader, at: int) -> int:
    """Both ESETs and the third filemark, from `at` on; returns where the set ends."""
    medium = reader.medium
    first = medium.block(at, "ESET")
    second = medium.block(medium.expect_end(first), "ESET")
    for eset in (first, second):
        reader.check_place(eset)
        eset.expect(78, "H", reader.set.number, "the data set number")
        eset.expect(52, "I", reader.sset.number(52, "I"), "its attributes")
        eset.expect(56, "I", 0, "the number of corrupt files")
    _read_first(reader, first)
    _read_second(reader, first, second)
    end = medium.read_mark(medium.expect_end(second))
    reader.set.is_complete, reader.set.end = True, end
    return end


def _read_first(reader: SetReader, eset: Block) -> None:
    """ESET [CPBD TSMP CPFS CPMM CPIX]; CPMM of a family on several media, TSMP of media with
    a catalog."""
    medium, current = reader.medium, reader.set
    expected = ["CPBD", "TSMP", "CPFS", "CPMM", "CPIX", "SPAD"]
    if not current.is_continued:
        expected.remove("CPMM")
    if not has_set_map(reader, eset):
        expected.remove("TSMP")
    medium.expect_streams(eset, " ".join(expected))
    eset.expect(60, "Q", 0, "the PBA of the first ESET")
    eset.expect(68, "Q", 0, "the PBA of the set map")
    medium.seals.begin_at(eset.offset)
    for stream in eset.streams:
        if stream.id == "TSMP":
            _check_set_map(reader, stream)  # covered by the seal of CPFS
        elif stream.id != "SPAD":
            content = medium.seals.check(stream)
            _PARTS[stream.id](reader, eset, stream, content)


def _final_descriptor(reader: SetReader, eset: Block, stream: Stream, content: bytes) -> None:
    final, message = parse_descriptor(eset, stream, content)
    if final != 1:
        raise reader.image.damage(stream.data, "CPBD: not final, at the end of the set")
    current = reader.set
    current.final = reader.parse(message, stream.data)
    other = descriptor.difference(current.begin, current.final)
    if other:
        raise reader.image.damage(stream.data, f"CPBD: {other} is not what the copy at the "
                                               f"beginning says")


def _families(reader: SetReader, eset: Block, stream: Stream, content: bytes) -> None:
    """CPFS: this family's entry is what was seen."""
    current, medium = reader.set, reader.medium
    current.families = parse_summaries(eset, stream, content)
    number = medium.media_set.family if medium.media_set else 1
    count = medium.media_set.families if medium.media_set else 1
    if len(current.families) != count:
        raise reader.image.damage(stream.data, f"CPFS: {len(current.families)} families of {count}")
    own = current.families[number - 1]
    seen = (current.frames_total, current.payload_total, current.digest)
    if (own.frames, own.payload_bytes, own.digest) != seen:
        raise reader.image.damage(stream.data, f"CPFS: it says {own}; frames, payload and digest "
                                               f"of what was read are {seen}")
    stored = sum(family.payload_bytes for family in current.families)
    final = current.descriptor
    if stored != (final.compressed_size_bytes or final.backup_size_bytes):
        raise reader.image.damage(stream.data, f"CPFS: {stored} bytes of payload, the descriptor "
                                               f"has {final.backup_size_bytes}")


def _media(reader: SetReader, eset: Block, stream: Stream, content: bytes) -> None:
    """CPMM: its last medium is this one."""
    current = reader.set
    for number, zero, zero2, frames, payload in parse_counted(eset, stream, content, "<HHIQQ"):
        if zero or zero2:
            raise reader.image.damage(stream.data, "CPMM: a reserved field is not 0")
        current.media.append((number, frames, payload))
    own = (reader.medium.sequence, len(current.frames),
           current.payload_total - current.payload_before)
    before = (sum(frames for _, frames, _ in current.media[:-1]),
              sum(payload for _, _, payload in current.media[:-1]))
    if current.media[-1:] != [own] or before != (current.frames_before, current.payload_before):
        raise reader.image.damage(stream.data, f"CPMM: it says {current.media}, this medium is "
                                               f"{own}")


def _index(reader: SetReader, eset: Block, stream: Stream, content: bytes) -> None:
    """CPIX: the frames of the family in the order of its media."""
    current, image = reader.set, reader.image
    size, zero, count = struct.unpack_from("<HIQ", content, 2)
    expected = _PACKED_ENTRY_SIZE if current.packing else _ENTRY_SIZE
    if size != expected or zero or len(content) != 16 + count * size:
        raise image.damage(stream.data, f"CPIX: {count} entries of {size} bytes in "
                                        f"{len(content)}")
    current.index = content[16:]
    if count != current.frames_total or crc32c(current.index) != current.digest:
        raise image.damage(stream.data, f"CPIX: {count} entries, frames seen are "
                                        f"{current.frames_total}; or another digest")
    for number, frame in enumerate(current.frames, current.frames_before):
        if current.index[number * size:(number + 1) * size] != reader.entry(frame):
            raise image.damage(stream.data + 16 + number * size,
                               f"CPIX: entry {number} is not of the frame at {frame.offset}")


_PARTS = {"CPBD": _final_descriptor, "CPFS": _families, "CPMM": _media, "CPIX": _index}


def has_set_map(reader: SetReader, eset: Block) -> bool:
    """Media of Capstan's have one. On those of other programs it goes on with theirs."""
    medium = reader.medium
    return medium.media_set is not None or medium.has_set_map and "TSMP" in eset.stream_ids


def _check_set_map(reader: SetReader, stream: Stream) -> None:
    """TSMP: on a physical block, and an entry for each set of the medium that has room."""
    medium, image = reader.medium, reader.image
    if (stream.offset - medium.origin) % medium.mark_size:
        raise image.damage(stream.offset, "TSMP: it is not on a physical block")
    raw = image.read(stream.data, stream.length)
    if len(raw) < _SET_MAP_HEADER_SIZE:
        raise image.damage(stream.data, f"TSMP: {len(raw)} bytes")
    family, count = struct.unpack_from("<IH", raw)
    if family != medium.family_id or not 1 <= count <= len(medium.sets):
        raise image.damage(stream.data, f"TSMP: {count} sets of family {family:08X}, the medium "
                                        f"has {len(medium.sets)} of {medium.family_id:08X}")
    at = _SET_MAP_HEADER_SIZE
    for expected in medium.sets[-count:]:
        if at + 92 > len(raw):
            raise image.damage(stream.data + at, "TSMP: it ends within an entry")
        begin = at
        length, volumes = struct.unpack_from("<H58xH", raw, at)
        address, number = struct.unpack_from("<Q10xH", raw, at + 12)
        place = expected.offset // medium.unit
        if number != expected.number or address != place and not expected.is_continued:
            raise image.damage(stream.data + at, f"TSMP: set {number} at block {address}, expected "
                                                 f"set {expected.number} at {place}")
        at += length
        for _ in range(volumes):
            at += struct.unpack_from("<H", raw, at)[0] if at + 2 <= len(raw) else 2
        expected.map_size = at - begin
    if at != len(raw):
        raise image.damage(stream.data + at, "TSMP: its entries do not fill it")
    _check_left_out(reader, stream, count)


def _check_left_out(reader: SetReader, stream: Stream, count: int) -> None:
    """The oldest sets are left out where there is no room for them, and only there."""
    sets = reader.medium.sets
    before = sum(copy.map_size for copy in sets[-count:-1])
    if before > _SET_MAP_MAX:
        raise reader.image.damage(stream.data, f"TSMP: {before} bytes of the sets before this one")
    if count < len(sets) and 0 < sets[-count - 1].map_size <= _SET_MAP_MAX - before:
        raise reader.image.damage(stream.data, f"TSMP: set {sets[-count - 1].number} is left out, "
                                               f"for which there is room")


def _read_second(reader: SetReader, first: Block, second: Block) -> None:
    """ESET [CPAU CPSE]: where the first one and the set map stand."""
    medium = reader.medium
    second.expect(60, "Q", first.offset // medium.unit, "the PBA of the first ESET")
    set_map = first.stream("TSMP").offset // medium.unit if has_set_map(reader, first) else 0
    second.expect(68, "Q", set_map, "the PBA of the set map")
    medium.expect_streams(second, "CPAU CPSE SPAD" if reader.set.is_encrypted else "CPSE SPAD")
    medium.seals.begin_at(second.offset)
    if reader.set.is_encrypted:
        restarts = reader.check_tag(second, 0, 3)
        if restarts != reader.set.restarts:
            raise reader.image.damage(second.streams[0].data, f"CPAU: gone on with {restarts} times, "
                                      f"at the beginning {reader.set.restarts}")
    stream = second.streams[-2]
    if unpack(second, stream, medium.seals.check(stream), "<HH") != (0,):
        raise reader.image.damage(stream.data, "CPSE: a reserved field is not 0")
