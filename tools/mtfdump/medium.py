"""One medium from its first byte to its last (format.md, sections 1, 4 and 5)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from mtfdump.encodings import xor_words
from mtfdump.layout import (CONTINUATION, NO_ESET, SET_MAP, VENDOR, Block, Damage, Image,
                            is_stream_at, iterate_streams, read_block, read_header)
from mtfdump.records import SetCopy
from mtfdump.vendor import MediaSet, Progress, Seals, parse_media_set, parse_progress

_OWN_BLOCK = 4096
_OWN_FLB = 1024


@dataclass(slots=True)
class Medium:
    """What a medium holds, as far as it could be read."""

    image: Image
    flb: int = _OWN_FLB
    mark_size: int = _OWN_BLOCK
    unit: int = _OWN_BLOCK  # of PBA fields, bytes
    has_set_map: bool = True
    family_id: int = 0
    sequence: int = 0
    name: str = ""
    description: str = ""
    software: str = ""
    vendor: int = 0
    date: str = ""
    media_set: MediaSet | None = None  # none: formatted by another program
    continues: Progress | None = None  # CPCN
    ended: Progress | None = None  # CPEM
    sets: list[SetCopy] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)  # offsets of filemarks
    damages: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seals: Seals = field(init=False)
    payload_checked: int = 0

    def __post_init__(self) -> None:
        self.seals = Seals(self.image)

    @property
    def origin(self) -> int:
        """FLBs are counted from the end of the last filemark."""
        return self.marks[-1] + self.mark_size if self.marks else 0

    @property
    def full_at(self) -> int | None:
        """Where the filemark in front of EOTM stands, if the family goes on on another medium."""
        eotm = self.image.size - 2 * self.mark_size
        if eotm < self.mark_size or self.image.read(eotm, 4) != b"EOTM":
            return None
        return eotm - self.mark_size

    def block(self, offset: int, kind: str) -> Block:
        """The block of that kind at the offset."""
        block = read_block(self.image, offset, self.origin, self.flb)
        if block.type != kind:
            raise block.damage(0, f"a {kind} should stand here")
        if any(block.raw[28:36]) or any(block.raw[40:44]) or block.raw[49]:
            raise block.damage(28, "a reserved byte is not 0")
        return block

    def expect_streams(self, block: Block, expected: str) -> None:
        if block.stream_ids != expected:
            raise block.damage(block.event, f"its streams are {block.stream_ids}, "
                                            f"expected {expected}")

    def expect_end(self, block: Block, pad_max: int = _OWN_BLOCK - 1) -> int:
        """The end of a part: the next multiple of 4096 bytes behind the last filemark."""
        pad = block.streams[-1]
        if (block.end - self.origin) % _OWN_BLOCK or pad.length > pad_max:
            raise self.image.damage(pad.offset, f"{block.type}: SPAD does not end at the next "
                                                f"multiple of {_OWN_BLOCK}")
        return block.end

    def is_mark_at(self, offset: int) -> bool:
        return self.image.read(offset, 4) == b"SFMB"

    def read_mark(self, offset: int, strictly: bool = True) -> int:
        """A soft filemark, every byte of which is known; returns where it ends."""
        if not self.marks and not strictly:
            self._learn_unit(offset)
        actual = self.image.read(offset, self.mark_size)
        expected = self._mark(offset)
        if actual != expected:
            at = next(i for i in range(len(actual)) if actual[i] != expected[i])
            read_header(self.image, offset, self.flb)
            raise self.image.damage(offset + at, "SFMB: a byte of filemark "
                                    f"{len(self.marks) + 1} is {actual[at]:#04x}, "
                                    f"expected {expected[at]:#04x}")
        self.marks.append(offset)
        return offset + self.mark_size

    def _learn_unit(self, offset: int) -> None:
        """Other programs count PBAs in physical blocks or, as some do, in bytes."""
        fla = struct.unpack("<Q", self.image.read(offset + 20, 8))[0]
        self.unit = 1 if fla == offset else self.mark_size

    def _mark(self, offset: int) -> bytes:
        capacity = (self.mark_size - 60) // 4
        before = [mark // self.unit for mark in reversed(self.marks)][:capacity]
        raw = bytearray(self.mark_size)
        struct.pack_into("<4sIHBBQQ", raw, 0, b"SFMB", 0, self.mark_size & 0xFFFF, 14, 1, 0,
                         offset // self.unit)
        struct.pack_into("<I", raw, 36, len(self.marks) + 1)
        struct.pack_into(f"<II{len(before)}I", raw, 52, capacity, len(before), *before)
        struct.pack_into("<H", raw, 50, xor_words(bytes(raw[:50])))
        return bytes(raw)


def read_tape(medium: Medium) -> int:
    """The media header and the first filemark; returns where the first set begins."""
    image = medium.image
    if image.size == 0:
        raise image.damage(0, "the medium is empty")
    tape = read_header(image, 0, _OWN_FLB)
    if tape.type != "TAPE":
        raise tape.damage(0, "a medium begins with TAPE")
    tape.expect(93, "B", 1, "the MTF major version")
    medium.flb = tape.number(84, "H")
    medium.mark_size = medium.unit = tape.number(64, "H") * 512
    if medium.flb not in (512, 1024):
        raise tape.damage(84, f"the FLB size is {medium.flb}")
    if not tape.number(56, "I") & 1 or medium.mark_size < 512:
        raise tape.damage(56, "no soft filemarks: without the device's own the image of a tape "
                              "cannot be judged")
    medium.family_id, medium.sequence = tape.number(52, "I"), tape.number(60, "H")
    medium.name, medium.description = tape.text(68), tape.text(72)
    medium.software, medium.vendor = tape.text(80), tape.number(86, "H")
    medium.date = str(tape.date(88) or "")
    medium.has_set_map = tape.number(66, "H") == 1
    tape.streams = list(iterate_streams(tape)) if is_stream_at(image, tape.event + 3 & ~3) else []
    if "CPMS" in tape.stream_ids.split() or medium.vendor == VENDOR:
        return _read_own_tape(medium, medium.block(0, "TAPE"))
    end = tape.streams[-1].end if tape.streams else tape.event
    return medium.read_mark(-(-end // medium.mark_size) * medium.mark_size, strictly=False)


def _read_own_tape(medium: Medium, tape: Block) -> int:
    """TAPE [CPMS, on all media but the first CPCN]."""
    first = medium.sequence == 1
    medium.expect_streams(tape, "CPMS SPAD" if first else "CPMS CPCN SPAD")
    for offset, code, expected, what in (
            (4, "I", SET_MAP | (0 if first else CONTINUATION), "block attributes"),
            (20, "Q", 0, "FLA"), (36, "I", 0, "the control block id"),
            (64, "H", _OWN_BLOCK // 512, "the size of soft filemarks"),
            (66, "H", 1, "the catalog type"), (84, "H", _OWN_FLB, "the FLB size"),
            (86, "H", VENDOR, "the software vendor id")):
        tape.expect(offset, code, expected, what)
    medium.seals.begin_at(0)
    stream = tape.streams[0]
    header = parse_media_set(tape, stream, medium.seals.check(stream))
    if header.compressed > 1 or header.encrypted > 1 or not 1 <= header.family <= header.families:
        raise medium.image.damage(stream.data, "CPMS: a value that cannot be")
    medium.media_set = header
    if not first:
        stream = tape.streams[1]
        medium.continues = parse_progress(tape, stream, medium.seals.check(stream))
        if medium.continues.medium != medium.sequence:
            raise medium.image.damage(stream.data, "CPCN: it is of another medium")
    return medium.read_mark(medium.expect_end(tape))


def read_end_of_medium(medium: Medium, current: SetCopy) -> int:
    """EOTM [CPEM] and the last filemark (section 4)."""
    eotm = medium.block(medium.origin, "EOTM")
    medium.expect_streams(eotm, "CPEM SPAD")
    eotm.expect(4, "I", NO_ESET, "block attributes")
    eotm.expect(20, "Q", 0, "FLA")
    eotm.expect(36, "I", 0, "the control block id")
    medium.seals.begin_at(eotm.offset)
    stream = eotm.streams[0]
    ended = parse_progress(eotm, stream, medium.seals.check(stream))
    expected = Progress(medium.sequence, current.number, current.guid, current.frames_total,
                        current.payload_total, current.digest)
    if ended != expected:
        raise medium.image.damage(stream.data, f"CPEM: it says {ended}, the frames are {expected}")
    medium.ended = ended
    return medium.read_mark(medium.expect_end(eotm))
