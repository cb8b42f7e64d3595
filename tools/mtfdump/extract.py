"""Writes the database files of sets (format.md, section 3: sequence and offset say it all)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

from mtfdump.coding import HEADER_SIZE, ZstdProgram, lz4_block
from mtfdump.descriptor import leaf_names
from mtfdump.families import BackupSet
from mtfdump.layout import Damage, Image
from mtfdump.records import Frame


class ExtractError(Exception):
    """Why a set cannot be extracted."""


def extract(item: BackupSet, directory: Path) -> list[Path]:
    """Writes the set's files as <directory>/<set number>/<leaf>; never over one that is there."""
    first = item.last
    if first.is_encrypted:
        raise ExtractError("it is encrypted, and the key is not here")
    if first.begin.is_snapshot:
        raise ExtractError("it was made WITH SNAPSHOT and has no frames")
    if item.missing:
        raise ExtractError(f"not given: {'; '.join(item.missing)}")
    frames = sorted(((frame, medium.image) for medium, copy in item.copies
                     for frame in copy.frames), key=lambda pair: pair[0].sequence)
    if not all(frame.sound for frame, _ in frames):
        raise ExtractError("a payload is damaged")
    target = directory / str(first.number)
    target.mkdir(parents=True, exist_ok=True)
    paths = [target / name for name in _names(item)]
    with ExitStack() as on_failure, ExitStack() as files:
        opened = []
        for path in paths:
            opened.append(files.enter_context(open(path, "xb")))
            on_failure.callback(path.unlink)
        _write(item, frames, opened)
        on_failure.pop_all()
    return paths


def _names(item: BackupSet) -> list[str]:
    names = leaf_names(item.last.begin.files)
    if any(name in ("", ".", "..") or "\0" in name for name in names):
        raise ExtractError("a file has no name that could be written")
    return names


def _write(item: BackupSet, frames: list[tuple[Frame, Image]], files: list[BinaryIO]) -> None:
    """In the order of sequence numbers: of frames that name the same bytes the later one wins."""
    for (frame, _), data in zip(frames, _payloads(item, frames), strict=True):
        files[frame.file_index].seek(frame.file_offset)
        files[frame.file_index].write(data)


def _payloads(item: BackupSet, frames: list[tuple[Frame, Image]]) -> Iterator[bytes]:
    if item.last.codec != "ZSTD":
        for frame, image in frames:
            data = image.read(frame.payload, frame.stored)
            yield data if item.last.codec == "" else _decode(frame, image, data)
        return
    coded = [(frame, image) for frame, image in frames if _is_coded(frame)]
    program = ZstdProgram(image.read(frame.payload + HEADER_SIZE, frame.stored - HEADER_SIZE)
                          for frame, image in coded)
    try:
        for frame, image in frames:
            try:
                yield (program.read(frame.length) if _is_coded(frame)
                       else image.read(frame.payload + HEADER_SIZE, frame.length))
            except ValueError as error:
                raise _undecodable(frame, image, error) from None
        program.close()
    except ValueError as error:
        raise ExtractError(str(error)) from None
    finally:
        program.kill()


def _is_coded(frame: Frame) -> bool:
    """A payload that did not become smaller stands behind its FH as it is."""
    return frame.stored - HEADER_SIZE < frame.length


def _decode(frame: Frame, image: Image, data: bytes) -> bytes:
    """A payload of LZ4."""
    if not _is_coded(frame):
        return data[HEADER_SIZE:]
    try:
        return lz4_block(data[HEADER_SIZE:], frame.length)
    except ValueError as error:
        raise _undecodable(frame, image, error) from None


def _undecodable(frame: Frame, image: Image, error: ValueError) -> Damage:
    return image.damage(frame.payload, f"the payload of {frame.name} cannot be decoded: {error}")
