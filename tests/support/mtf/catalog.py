"""The media based catalog of type 1: set map (TSMP) and file catalog (TFDD), section 4."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from mtf.content import Run
from mtf.layout import CONTINUATION, Block, Medium, Stream, decode_text

SET_ENTRY_SIZE = 91
FDD_HEADER_SIZE = 36
VOLUME_ENTRY_SIZE = 61
SET_MAP_LIMIT = 64 << 20


@dataclass(slots=True)
class SetSummary:
    """What a walk has seen of one data set, for comparison with what the catalog says of it."""

    sset: Block
    volumes: list[Block] = field(default_factory=list)
    directories: int = 0
    files: int = 0
    corrupt_files: int = 0
    file_catalog_offset: int = 0


class _Entry:
    """One length-prefixed catalog record; tape addresses count from its start."""

    def __init__(self, raw: bytes, string_type: int) -> None:
        self.raw = raw
        self._string_type = string_type

    def number(self, offset: int, code: str) -> int:
        return int(struct.unpack_from("<" + code, self.raw, offset)[0])

    def text(self, offset: int) -> str:
        size, start = self.number(offset, "H"), self.number(offset + 2, "H")
        if start + size > len(self.raw):
            raise ValueError(f"string at +{start} runs past the entry")
        return decode_text(self.raw[start:start + size], self._string_type).rstrip("\0")


def check_set_map(medium: Medium, eset: Block, stream: Stream, sets: list[SetSummary]) -> None:
    """TSMP parses, tiles its stream, and says of each set what its SSET and VOLBs say."""
    where = f"stream TSMP at byte {stream.offset}"
    if stream.length > SET_MAP_LIMIT:
        raise eset.error(f"{where}: {stream.length} bytes are too many for a set map")
    raw = medium.read(stream.data, stream.length)
    try:
        _check_map(medium, raw, sets)
    except struct.error:
        raise eset.error(f"{where}: the map ends inside an entry") from None
    except ValueError as error:
        raise eset.error(f"{where}: {error}") from None


def _check_map(medium: Medium, raw: bytes, sets: list[SetSummary]) -> None:
    family, count = struct.unpack_from("<IH", raw)
    _expect("set map", {"family id": (family, medium.tape.number("family_id"))})
    known = {each.sset.number("set_number"): each for each in sets}
    offset, seen = 8, set()
    for _ in range(count):
        entry = _entry_at(raw, offset, SET_ENTRY_SIZE, raw[offset + 88] if offset + 88 < len(raw)
                          else 0)
        number = entry.number(30, "H")
        volumes, end = _volumes_of(raw, offset + len(entry.raw), entry.number(60, "H"))
        if number in known and not known[number].sset.attributes & CONTINUATION:
            _check_set(medium, entry, volumes, known[number])
        seen.add(number)
        offset = end
    missing = sorted(set(known) - seen)
    if missing or (len(seen) != len(known) and medium.tape.number("media_sequence") == 1):
        raise ValueError(f"it lists sets {sorted(seen)}, the medium has {sorted(known)}")
    if any(raw[offset:]):
        raise ValueError(f"{len(raw) - offset} bytes are left over behind the last entry")


def _entry_at(raw: bytes, offset: int, minimum: int, string_type: int) -> _Entry:
    (length,) = struct.unpack_from("<H", raw, offset)
    if length < minimum or offset + length > len(raw):
        raise ValueError(f"entry at +{offset} has an impossible length of {length}")
    return _Entry(raw[offset:offset + length], string_type)


def _volumes_of(raw: bytes, offset: int, count: int) -> tuple[list[_Entry], int]:
    """The volume entries behind a set entry, and where they end."""
    volumes = []
    for _ in range(count):
        type_at = offset + 34
        entry = _entry_at(raw, offset, VOLUME_ENTRY_SIZE,
                          raw[type_at] if type_at < len(raw) else 0)
        if entry.raw[2:6] != b"VOLB":
            raise ValueError(f"entry at +{offset} is no volume entry")
        volumes.append(entry)
        offset += len(entry.raw)
    return volumes, offset


def _check_set(medium: Medium, entry: _Entry, volumes: list[_Entry], found: SetSummary) -> None:
    sset = found.sset
    name = f"set {sset.number('set_number')}"
    if not medium.is_pba(entry.number(12, "Q"), sset.offset):
        raise ValueError(f"{name}: PBA {entry.number(12, 'Q')}, but SSET is at byte {sset.offset}")
    catalog_pba = entry.number(20, "Q")
    if catalog_pba and not medium.is_pba(catalog_pba, found.file_catalog_offset):
        raise ValueError(f"{name}: FDD PBA {catalog_pba}, "
                         f"but TFDD is at byte {found.file_catalog_offset}")
    _expect(name, {
        "media sequence": (entry.number(2, "H"), medium.tape.number("media_sequence")),
        "block attributes": (entry.number(4, "I"), sset.attributes),
        "attributes": (entry.number(8, "I"), sset.number("type_attributes")),
        "FLA": (entry.number(32, "Q"), sset.fla),
        "directories": (entry.number(40, "I"), found.directories),
        "files": (entry.number(44, "I"), found.files),
        "corrupt files": (entry.number(48, "I"), found.corrupt_files),
        "volumes": (entry.number(60, "H"), len(found.volumes)),
        "password algorithm": (entry.number(62, "H"), sset.number("password_algorithm")),
        "set name": (entry.text(64), sset.text("set_name")),
        "description": (entry.text(72), sset.text("description")),
        "user": (entry.text(76), sset.text("user")),
        "date": (entry.raw[80:85], sset.raw[88:93]),
        "time zone": (entry.number(85, "b"), sset.number("time_zone")),
        "operating system": (entry.raw[86:88], sset.raw[10:12]),
        "MTF minor version": (entry.number(89, "B"), sset.number("mtf_minor")),
        "catalog version": (entry.number(90, "B"), sset.number("catalog_version")),
    })
    for index, (volume, volb) in enumerate(zip(volumes, found.volumes), start=1):
        _check_volume(f"{name}, volume {index}", medium, volume, volb)


def _check_volume(name: str, medium: Medium, entry: _Entry, volb: Block) -> None:
    _expect(name, {
        "media sequence": (entry.number(6, "H"), medium.tape.number("media_sequence")),
        "block attributes": (entry.number(8, "I"), volb.attributes),
        "FLA": (entry.number(12, "Q"), volb.fla),
        "operating system": (entry.raw[32:34], volb.raw[10:12]),
        "attributes": (entry.number(36, "I"), volb.number("type_attributes")),
        "device": (entry.text(40), volb.text("device")),
        "label": (entry.text(44), volb.text("volume")),
        "machine": (entry.text(48), volb.text("machine")),
        "date": (entry.raw[56:61], volb.raw[68:73]),
    })


def _expect(name: str, fields: dict[str, tuple[object, object]]) -> None:
    for label, (stated, expected) in fields.items():
        if stated != expected:
            raise ValueError(f"{name}: {label} {stated!r}, the medium has {expected!r}")


def check_file_catalog(medium: Medium, eset: Block, stream: Stream, found: SetSummary) -> None:
    """TFDD is tiled by its entries, ends in FEND, and lists as many objects as the set has."""
    where = f"stream TFDD at byte {stream.offset}"
    counts = {"VOLB": 0, "DIRB": 0, "FILE": 0, "FEND": 0}
    for offset, kind in _catalog_entries(eset, where, Run(medium, [stream])):
        if kind not in counts or counts["FEND"]:
            raise eset.error(f"{where}: entry {kind!r} at +{offset} is unknown or behind FEND")
        counts[kind] += 1
    expected = {"VOLB": len(found.volumes), "DIRB": found.directories, "FILE": found.files,
                "FEND": 1}
    if counts != expected:
        raise eset.error(f"{where}: it lists {counts}, the set has {expected}")


def _catalog_entries(eset: Block, where: str, run: Run) -> Iterator[tuple[int, str]]:
    offset = 0
    while offset < run.size:
        raw = run.read(offset, min(6, run.size - offset))
        length = int.from_bytes(raw[:2], "little")
        if len(raw) < 6 or length < FDD_HEADER_SIZE or length > run.size - offset:
            raise eset.error(f"{where}: entry at +{offset} has an impossible length of {length}")
        yield offset, raw[2:6].decode("latin-1")
        offset += length
