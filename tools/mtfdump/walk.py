"""The walk over a medium: its sets one after the other, Capstan's and other programs'."""

from __future__ import annotations

import struct
from pathlib import Path

from mtfdump.backup_set import SetReader
from mtfdump.encodings import STREAM_HEADER_SIZE, align_up
from mtfdump.layout import (VENDOR, Block, Damage, Image, is_stream_at, iterate_streams,
                            read_header)
from mtfdump.medium import Medium, read_tape
from mtfdump.records import SetCopy

_SECTOR = 512
_SSET_VENDOR = 60


def read_medium(path: Path) -> Medium:
    """Reads a medium to its end or to where it is damaged; `damages` has what was found."""
    image = Image(path)
    medium = Medium(image)
    at = 0
    try:
        at = read_tape(medium)
        while at < image.size:
            at = _read_set(medium, at)
        if not medium.sets:
            medium.notes.append("no backup set")
    except Damage as damage:
        medium.damages.append(damage)
        _note_tail(medium, at)
    except struct.error as error:  # a stream that is sealed and yet too short for its fields
        medium.damages.append(image.damage(at, f"a structure here is malformed: {error}"))
    return medium


def _note_tail(medium: Medium, at: int) -> None:
    """Whether the next backup may go over what stands behind the last complete set (section 7)."""
    image = medium.image
    if not 0 < at < image.size:
        return
    head = image.read(at, min(_SECTOR, image.size - at))
    own = len(head) < _SSET_VENDOR + 2 or int.from_bytes(
        head[_SSET_VENDOR:_SSET_VENDOR + 2], "little") == VENDOR
    if not any(head):
        medium.notes.append(f"zeros from byte {at} on; the next backup goes over them")
    elif head[:4] == b"SSET"[:len(head)] and own:
        medium.notes.append(f"a set that was not written to its end, or is damaged, from byte "
                            f"{at} on")
    else:
        medium.notes.append(f"unknown bytes from byte {at} on: no backup is appended")


def _read_set(medium: Medium, at: int) -> int:
    sset = read_header(medium.image, at, medium.flb)
    if sset.type != "SSET":
        raise sset.damage(0, "a set should begin here")
    if sset.number(60, "H") == VENDOR:
        return SetReader(medium, medium.block(at, "SSET")).read()
    if medium.media_set is not None:
        raise sset.damage(60, "a set of another program on a medium of Capstan's")
    return _skip_foreign_set(medium, sset)


def _skip_foreign_set(medium: Medium, sset: Block) -> int:
    """A set of another program: checksums of headers, to its second filemark."""
    medium.sets.append(SetCopy(number=sset.number(62, "H"), offset=sset.offset, is_own=False,
                               vendor=sset.number(60, "H"), date=str(sset.date(88) or ""),
                               name=sset.text(64), user=sset.text(76), is_complete=True))
    at, marks = sset.offset, 0
    while marks < 2:
        if medium.is_mark_at(at):
            at = medium.read_mark(at)
            marks += 1
            continue
        block = read_header(medium.image, at, medium.flb)
        first = align_up(at + block.event, 4)
        end = at + block.event
        if is_stream_at(medium.image, first):
            end = list(iterate_streams(block))[-1].end
        at = medium.origin + align_up(end - medium.origin, medium.flb)
        if at + STREAM_HEADER_SIZE > medium.image.size:
            raise block.damage(0, "the set has no end")
    return at
