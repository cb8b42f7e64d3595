"""Writes what sets hold to folders (format.md, sections 3 and 9); never over what is there."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from mtfdump import postgres_set
from mtfdump.cluster import extract_cluster
from mtfdump.descriptor import leaf_names
from mtfdump.families import BackupSet
from mtfdump.parts import Extracted, PartialFile, write_parts
from mtfdump.payloads import PlacedFrame, UnreadableError, payloads, readable_frames
from mtfdump.sqlite_log import log_blocks
from mtfdump.writers import SQLITE, lsn_text

_DATABASE, _LOG = "DATABASE", "LOG"


def extract(item: BackupSet, directory: Path) -> Extracted:
    """Writes the set to <directory>/<set number>."""
    frames = sorted(readable_frames(item), key=lambda placed: placed.frame.sequence)
    made = item.last.descriptor
    target = directory / str(item.last.number)
    if made.writer == postgres_set.WRITER:
        return extract_cluster(item, target)
    if made.kind_name == _LOG and made.writer != SQLITE:
        raise UnreadableError(f"the log of the writer {made.writer!r} is not known here")
    names = _names(item)
    target.mkdir(parents=True, exist_ok=True)
    paths = [target / name for name in names]
    with ExitStack() as on_failure, ExitStack() as files:
        opened = []
        for path in paths:
            opened.append(files.enter_context(open(path, "xb")))
            on_failure.callback(path.unlink)
        if made.kind_name == _LOG:
            parts = _write_log(item, opened[0])
        else:
            parts = _write(item, frames, opened)
        notes = []
        if made.kind_name != _DATABASE:
            paths.append(write_parts(target, parts, {
                "kind": made.kind_name, "base": made.differential_base_guid}))
            notes.append(_part_note(item))
        on_failure.pop_all()
    return Extracted(paths, notes, None if made.kind_name == _DATABASE else target)


def _names(item: BackupSet) -> list[str]:
    """Of a log set, that of the database: what comes out are pages of it."""
    names = leaf_names(item.last.begin.files)
    if item.last.descriptor.kind_name == _LOG:
        names = [names[0].removesuffix("-wal")]
    if any(name in ("", ".", "..") or "\0" in name for name in names):
        raise UnreadableError("a file has no name that could be written")
    return names


def _part_note(item: BackupSet) -> str:
    made, text = item.last.descriptor, lsn_text(item.last.descriptor.writer)
    if made.kind_name == _LOG:
        return (f"set {item.last.number} is a part: the pages that commits from LSN "
                f"{text(made.first_lsn)} to {text(made.last_lsn)} left, to be laid over the "
                f"database as it was at the first")
    return (f"set {item.last.number} is a part: what had changed since the full backup "
            f"{made.differential_base_guid}, to be laid over it")


def _write(item: BackupSet, frames: list[PlacedFrame], files: list[BinaryIO]) -> list[PartialFile]:
    """In the order of sequence numbers: of frames that name the same bytes the later one wins."""
    made = item.last.descriptor.files
    parts = [PartialFile(name, file.size_bytes)
             for name, file in zip(leaf_names(made), made, strict=True)]
    for placed, data in zip(frames, payloads(item, frames), strict=True):
        frame = placed.frame
        files[frame.file_index].seek(frame.file_offset)
        files[frame.file_index].write(data)
        parts[frame.file_index].add(frame.file_offset, len(data))
    return parts


def _write_log(item: BackupSet, file: BinaryIO) -> list[PartialFile]:
    """The pages of all commits of a log set of SQLite's, the last one of each page."""
    made = item.last.descriptor
    part = PartialFile(_names(item)[0])
    written: dict[int, int] = {}  # offset of a page: its length
    damages = sum(len(medium.damages) for medium, _ in item.copies)
    for block in log_blocks(item):
        for frame in block.frames:
            if not made.first_lsn < frame.lsn <= made.last_lsn:
                continue
            offset = (frame.page - 1) * block.page_size
            file.seek(offset)
            file.write(block.payload[frame.at:frame.at + block.page_size])
            written[offset] = block.page_size
            if frame.commit_pages:
                part.size = frame.commit_pages * block.page_size
    if sum(len(medium.damages) for medium, _ in item.copies) != damages:
        raise UnreadableError("its log is damaged")
    if part.size is not None:
        file.truncate(part.size)
    for offset in sorted(written):
        if part.size is None or offset < part.size:
            part.add(offset, written[offset])
    return [part]
