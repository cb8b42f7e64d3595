"""The frames of a set of PostgreSQL's as bundles, and the log that is in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from mtfdump.families import BackupSet
from mtfdump.layout import Damage
from mtfdump.payloads import PlacedFrame, UnreadableError, payloads, readable_frames
from mtfdump.postgres_set import ZEROS, Entry, PostgresSet, parse_bundle, parse_set
from mtfdump.wal import Piece, WalRange, WalReader, WalRecord

LOG_FOLDER = "pg_wal/"
_SEGMENT_NAME_SIZE = 24


@dataclass(frozen=True, slots=True)
class BundledBytes:
    """An entry of a bundle with its bytes. Places: 0 the data directory, tablespaces from 1 on."""

    placed: PlacedFrame
    place: int
    entry: Entry
    data: bytes


def cluster_of(item: BackupSet) -> PostgresSet:
    try:
        return parse_set(item.last.descriptor.writer_data)
    except ValueError as error:
        raise UnreadableError(f"what it says of its cluster is not readable: {error}") from None


def bundled(item: BackupSet, frames: list[PlacedFrame]) -> Iterator[BundledBytes]:
    """All entries of these frames. The last file of a set is its log, whose paths are the data
    directory's."""
    log_index = len(item.last.descriptor.files) - 1
    for placed, payload in zip(frames, payloads(item, frames), strict=True):
        index = placed.frame.file_index
        try:
            entries = parse_bundle(payload)
        except ValueError as error:
            raise placed.damage(0, str(error)) from None
        for entry in entries:
            length = 0 if entry.kind == ZEROS else entry.length
            yield BundledBytes(placed, index if index < log_index else 0, entry,
                               payload[entry.begin:entry.begin + length])


def in_order(frames: list[PlacedFrame]) -> list[PlacedFrame]:
    """As their files were read: so that pieces of a file come one behind the other."""
    return sorted(frames, key=lambda placed: (placed.frame.file_index, placed.frame.file_offset))


def segment_begin(path: str, segment_size: int) -> int | None:
    """The LSN at which a segment of the log begins; None if the file is none."""
    name = path.removeprefix(LOG_FOLDER)
    if name == path or len(name) != _SEGMENT_NAME_SIZE:
        return None
    try:
        return (int(name[8:16], 16) << 32) + int(name[16:], 16) * segment_size
    except ValueError:
        return None


def log_frames(item: BackupSet) -> list[PlacedFrame]:
    """Those of the set's log, which is its last file."""
    log_index = len(item.last.descriptor.files) - 1
    return [placed for placed in in_order(readable_frames(item, despite_damage=True))
            if placed.frame.file_index == log_index]


def log_pieces(item: BackupSet, frames: list[PlacedFrame], segment_size: int) -> Iterator[Piece]:
    for part in bundled(item, frames):
        begin = segment_begin(part.entry.path, segment_size)
        if begin is not None and part.data:
            yield Piece(begin + part.entry.offset, part.data,
                        partial(_damage_at, part, begin + part.entry.offset))


def _damage_at(part: BundledBytes, begin: int, lsn: int, what: str) -> Damage:
    return part.placed.damage(part.entry.begin + lsn - begin, what)


def wal_records(item: BackupSet) -> Iterator[WalRecord]:
    """The records in a set's log, of log sets and of others. Damage is noted with the medium and
    ends it, since only a sound record says where the next one is."""
    cluster, made = cluster_of(item), item.last.descriptor
    frames = log_frames(item)
    reader = WalReader(log_pieces(item, frames, cluster.wal_segment_bytes), WalRange(
        start=cluster.start_lsn, end=made.last_lsn, segment_size=cluster.wal_segment_bytes,
        system_identifier=cluster.system_identifier))
    try:
        yield from reader.records()
    except Damage as damage:
        medium = next((placed.medium for placed in frames
                       if placed.image.path == damage.path), item.copies[0][0])
        medium.damages.append(damage)
