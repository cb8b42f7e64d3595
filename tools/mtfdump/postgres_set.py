"""What sets of PostgreSQL's consist of: writer data, bundles, manifest (format.md, section 9)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

WRITER = "postgresql"
FILE, ZEROS, MANIFEST = 1, 2, 3  # kinds of entries of a bundle

_SET_MAGIC, _BUNDLE_MAGIC, _MANIFEST_MAGIC = 0x53504743, 0x42504743, 0x4D504743
_VERSION = 1
_FOOTER_SIZE = 16
_PATH_MAX = 1024
_FILE_SIZE_MAX = (1 << 63) - 1


class Fields:
    """Little-endian numbers and texts with their length in front, one after the other."""

    def __init__(self, raw: bytes, at: int = 0) -> None:
        self._raw = raw
        self._at = at

    def take(self, code: str) -> int:
        try:
            value, = struct.unpack_from("<" + code, self._raw, self._at)
        except struct.error:
            raise ValueError("it ends early") from None
        self._at += struct.calcsize("<" + code)
        return int(value)

    def text(self) -> str:
        """Names of files are what the file system took, be it UTF-8 or not."""
        size = self.take("H")
        if self._at + size > len(self._raw):
            raise ValueError("it ends early")
        self._at += size
        return self._raw[self._at - size:self._at].decode("utf-8", "surrogateescape")

    def times(self) -> Iterator[int]:
        """As often as the number says that stands here; damaged ones end early."""
        return iter(range(self.take("I")))

    def expect_begin(self, magic: int) -> None:
        if self.take("I") != magic or self.take("H") != _VERSION:
            raise ValueError("it does not begin as one")

    def expect_end(self) -> None:
        if self._at != len(self._raw):
            raise ValueError("it goes on behind its end")


@dataclass(frozen=True, slots=True)
class Tablespace:
    oid: int
    name: str
    location: str


@dataclass(slots=True)
class PostgresSet:
    """What `writer_data` says of the cluster."""

    system_identifier: int
    timeline: int
    timeline_begin_lsn: int
    start_lsn: int
    start_unix_us: int
    server_version: int
    control_version: int
    catalog_version: int
    block_bytes: int
    relation_segment_blocks: int
    wal_block_bytes: int
    wal_segment_bytes: int
    data_checksums: int
    from_standby: int
    data_directory: str = ""
    config_file: str = ""
    hba_file: str = ""
    ident_file: str = ""
    tablespaces: list[Tablespace] = field(default_factory=list)
    database_folders: list[tuple[int, int]] = field(default_factory=list)


def parse_set(raw: bytes) -> PostgresSet:
    """ValueError if it is none."""
    fields = Fields(raw)
    fields.expect_begin(_SET_MAGIC)
    made = PostgresSet(*(fields.take(code) for code in "QIQQQIIIIIIIBB"))
    made.data_directory, made.config_file = fields.text(), fields.text()
    made.hba_file, made.ident_file = fields.text(), fields.text()
    made.tablespaces = [Tablespace(fields.take("I"), fields.text(), fields.text())
                        for _ in fields.times()]
    made.database_folders = [(fields.take("I"), fields.take("I")) for _ in fields.times()]
    fields.expect_end()
    if not _is_size(made.wal_segment_bytes, 1 << 20, 1 << 30) or not _is_size(
            made.wal_block_bytes, 1 << 10, 1 << 16) or not made.data_directory.startswith("/"):
        raise ValueError("sizes or places that cannot be")
    return made


def _is_size(value: int, least: int, most: int) -> bool:
    return least <= value <= most and value & value - 1 == 0


def is_inner_path(path: str) -> bool:
    """A path below a folder, which it cannot leave."""
    parts = path.split("/")
    return (len(path.encode("utf-8", "surrogateescape")) <= _PATH_MAX and "\0" not in path
            and not any(part in ("", ".", "..") for part in parts))


@dataclass(frozen=True, slots=True)
class Entry:
    """Bytes of a file in a bundle; of ZEROS none are there."""

    kind: int
    mode: int
    path: str
    offset: int
    length: int
    begin: int  # where its bytes are in the bundle


def parse_bundle(raw: bytes) -> list[Entry]:
    """The entries of one frame's payload; ValueError if it is no bundle."""
    if len(raw) < _FOOTER_SIZE:
        raise ValueError("it is too short for a bundle")
    magic, version, zero, count, size = struct.unpack_from("<IHHII", raw, len(raw) - _FOOTER_SIZE)
    if (magic, version, zero) != (_BUNDLE_MAGIC, _VERSION, 0):
        raise ValueError("it does not end as a bundle")
    begin = len(raw) - _FOOTER_SIZE - size
    if begin < 0 or count == 0:
        raise ValueError("the directory of the bundle does not fit")
    fields = Fields(raw[:len(raw) - _FOOTER_SIZE], begin)
    entries: list[Entry] = []
    at = 0
    for _ in range(count):
        entry = _entry(fields, at)
        entries.append(entry)
        at += 0 if entry.kind == ZEROS else entry.length
    fields.expect_end()
    if at != begin:
        raise ValueError(f"the entries of the bundle have {at} bytes, its payload {begin}")
    return entries


def _entry(fields: Fields, at: int) -> Entry:
    kind, zero, mode, offset, length = (fields.take(code) for code in "BBHQQ")
    entry = Entry(kind, mode, fields.text(), offset, length, at)
    if kind not in (FILE, ZEROS, MANIFEST) or zero or mode > 0o7777:
        raise ValueError("an entry of the bundle is of no known kind")
    if bool(entry.path) == (kind == MANIFEST) or entry.path and not is_inner_path(entry.path):
        raise ValueError(f"the path {entry.path!r} of an entry leads elsewhere")
    if offset + length > _FILE_SIZE_MAX or length == 0 and (kind != FILE or offset):
        raise ValueError(f"an entry has {length} bytes at {offset} of {entry.path!r}")
    return entry


@dataclass(frozen=True, slots=True)
class ListedFile:
    """Of a manifest; places are 0, the data directory, and the tablespaces from 1 on."""

    place: int
    mode: int
    path: str
    size: int = 0  # of directories 0


@dataclass(slots=True)
class Manifest:
    """All files of a cluster at the end of its backup."""

    stop_lsn: int
    timeline: int
    directories: list[ListedFile]
    files: list[ListedFile]
    vanished: list[tuple[int, str]]


def parse_manifest(raw: bytes, places: int) -> Manifest:
    """ValueError if it is none."""
    fields = Fields(raw)
    fields.expect_begin(_MANIFEST_MAGIC)

    def read(one: Callable[[int], ListedFile]) -> list[ListedFile]:
        listed = [one(fields.take("I")) for _ in fields.times()]
        for item in listed:
            if not is_inner_path(item.path) or item.place >= places:
                raise ValueError(f"the path {item.path!r} of place {item.place} leads elsewhere")
        return listed

    def directory(place: int) -> ListedFile:
        return ListedFile(place, fields.take("H"), fields.text())

    def file(place: int) -> ListedFile:
        mode, size = fields.take("H"), fields.take("Q")
        return ListedFile(place, mode, fields.text(), size)

    made = Manifest(fields.take("Q"), fields.take("I"), read(directory), read(file), [])
    made.vanished = [(fields.take("I"), fields.text()) for _ in fields.times()]
    fields.expect_end()
    if any(item.size > _FILE_SIZE_MAX for item in made.files):
        raise ValueError("a file is larger than any")
    return made
