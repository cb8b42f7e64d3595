"""One family of Capstan's media as format.md describes it: walked from its first byte to its last, and
every byte of it checked. What mtfdump.py stands on; only the standard library is used."""

from __future__ import annotations

import mmap
import struct
from dataclasses import dataclass, field
from pathlib import Path

PHYSICAL = 4096
FLB = 1024
CRC_TABLE: list[int] = []
for _n in range(256):
    _c = _n
    for _ in range(8):
        _c = _c >> 1 ^ (0x82F63B78 if _c & 1 else 0)
    CRC_TABLE.append(_c)


def crc32c(data: bytes, crc: int = 0) -> int:
    crc ^= 0xFFFFFFFF
    table = CRC_TABLE
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def xor_words(data: bytes) -> int:
    result = 0
    for (word,) in struct.iter_unpack("<H", data):
        result ^= word
    return result


def round_up(value: int, unit: int) -> int:
    return (value + unit - 1) // unit * unit


class Damaged(Exception):
    """Something that is not what format.md says, and at which byte."""

    def __init__(self, offset: int, what: str):
        super().__init__(f"byte {offset}: {what}")
        self.offset = offset


def need(right: bool, offset: int, what: str) -> None:
    if not right:
        raise Damaged(offset, what)


@dataclass
class Stream:
    offset: int
    id: str
    format_attributes: int
    length: int
    encryption: int
    compression: int
    data_offset: int


@dataclass
class Block:
    offset: int
    type: str
    attributes: int
    first_event: int
    displayable_size: int
    fla: int
    control_block_id: int
    os_data: tuple[int, int]
    streams: list[Stream] = field(default_factory=list)
    end: int = 0  # where the next block stands


@dataclass
class Frame:
    offset: int
    size: int
    codec: int
    cipher: int
    file_index: int
    sequence: int
    file_offset: int
    stored: int
    original: int
    crc: int
    payload_offset: int
    good: bool = True


@dataclass
class BackupSet:
    position: int
    offset: int
    guid: bytes = b""
    facts: dict = field(default_factory=dict)  # of the descriptor
    transfer_size: int = 0
    packing: int = 0  # bytes; 0: every frame has the transfer size
    data_offset: int = 0
    frames: list[Frame] = field(default_factory=list)
    families: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    digest: int = 0
    complete: bool = False


# Fields of BackupSetDescriptor and BackupFileDescriptor that are of use here.
SET_FIELDS = {1: "guid", 2: "position", 3: "name", 4: "kind", 12: "database", 13: "writer",
              28: "transfer_size", 29: "backup_size", 30: "files", 34: "is_snapshot",
              35: "is_damaged", 36: "compression", 37: "compressed_size", 38: "key_algorithm"}
FILE_FIELDS = {2: "file_id", 3: "logical_name", 4: "physical_name", 6: "size", 7: "page_size"}


def protobuf(data: bytes, names: dict[int, str]) -> dict:
    result: dict = {"files": []} if 30 in names else {}
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        key = varint()
        number, kind = key >> 3, key & 7
        if kind == 0:
            value: object = varint()
        elif kind == 2:
            size = varint()
            value = data[at:at + size]
            at += size
        else:
            raise ValueError(f"wire type {kind}")
        name = names.get(number)
        if name == "files":
            result["files"].append(protobuf(value, FILE_FIELDS))  # type: ignore[arg-type]
        elif name:
            result[name] = value
    return result


def text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


class Medium:
    """One family, walked from its first byte to its last; what is wrong goes into `damage`."""

    def __init__(self, path: Path):
        self.path = path
        with path.open("rb") as file:
            self.data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.size = len(self.data)
        self.sets: list[BackupSet] = []
        self.damage: list[str] = []
        self.marks: list[int] = []
        self.media_set = b""
        self.family = self.family_count = self.mirrors = 0
        self.covered_from = 0

    def bytes(self, offset: int, size: int) -> bytes:
        need(offset + size <= self.size, min(offset, self.size), "the medium ends here")
        return self.data[offset:offset + size]

    # Blocks, streams, seals, filemarks.

    def header(self, offset: int) -> Block:
        raw = self.bytes(offset, 52)
        need(raw[:4] != bytes(4) and xor_words(raw[:50]) == struct.unpack_from("<H", raw, 50)[0],
             offset, "checksum of a block header")
        attributes, event = struct.unpack_from("<IH", raw, 4)
        displayable, fla = struct.unpack_from("<QQ", raw, 12)
        (control,) = struct.unpack_from("<I", raw, 36)
        return Block(offset, raw[:4].decode("latin-1"), attributes, event, displayable, fla, control,
                     struct.unpack_from("<HH", raw, 44))

    def walk_streams(self, block: Block) -> None:
        at = block.offset + block.first_event
        while True:
            aligned = round_up(at, 4)
            need(not any(self.bytes(at, aligned - at)), at, "fill in front of a stream header")
            raw = self.bytes(aligned, 22)
            need(xor_words(raw[:20]) == struct.unpack_from("<H", raw, 20)[0], aligned,
                 "checksum of a stream header")
            _, attributes, length, encryption, compression = struct.unpack_from("<HHQHH", raw, 4)
            stream = Stream(aligned, raw[:4].decode("latin-1"), attributes, length, encryption,
                            compression, aligned + 22)
            need(stream.data_offset + length <= self.size, aligned, "length of a stream")
            block.streams.append(stream)
            at = stream.data_offset + length
            if stream.id == "SPAD":
                need(not any(self.bytes(stream.data_offset, length)), stream.data_offset, "padding")
                need(at % FLB == 0, aligned, "size of the padding")
                block.end = at
                return
            if stream.id.startswith("CP"):
                self.check_seal(stream)

    def check_seal(self, stream: Stream) -> None:
        end = stream.data_offset + stream.length
        need(stream.length >= 14, stream.offset, "length of a sealed stream")
        (version,) = struct.unpack_from("<H", self.bytes(stream.data_offset, 2))
        need(version == 1, stream.data_offset, f"version {version} of {stream.id}")
        covered, crc = struct.unpack("<QI", self.bytes(end - 12, 12))
        need(covered == end - 4 - self.covered_from, end - 12, f"what the seal of {stream.id} covers")
        need(crc == crc32c(self.bytes(self.covered_from, covered)), end - 4, f"seal of {stream.id}")
        self.covered_from = end

    def check_filemark(self, offset: int) -> int:
        raw = self.bytes(offset, PHYSICAL)
        block = self.header(offset)
        count = len(self.marks)
        listed = self.marks[::-1][:1009]
        body = struct.pack("<II", 1009, len(listed)) + b"".join(struct.pack("<I", m) for m in listed)
        need(block.first_event == PHYSICAL and block.fla == offset // PHYSICAL and
             block.control_block_id == count + 1 and raw[52:] == body.ljust(PHYSICAL - 52, b"\0"),
             offset, f"filemark {count + 1}")
        self.marks.append(offset // PHYSICAL)
        return offset + PHYSICAL

    def content(self, block: Block, name: str) -> bytes:
        for stream in block.streams:
            if stream.id == name:
                return self.bytes(stream.data_offset, stream.length)
        return b""

    def block(self, offset: int, *types: str) -> Block:
        block = self.header(offset)
        need(block.type in types, offset, f"{block.type} in the place of {' or '.join(types)}")
        if block.type in ("TAPE", "SSET", "FILE", "ESET", "EOTM"):
            self.covered_from = offset
        self.walk_streams(block)
        return block

    # The order of a family.

    def read(self) -> "Medium":
        try:
            at = self.read_tape()
            need(at < self.size, at, "no backup set")
            while at < self.size:
                at = self.read_set(at)
        except Damaged as damaged:
            self.damage.append(str(damaged))
        return self

    def read_tape(self) -> int:
        tape = self.block(0, "TAPE")
        content = self.content(tape, "CPMS")
        need(len(content) == 48, 0, "no CPMS: another program's medium")
        self.media_set = content[4:20]
        self.family_count, self.family, self.mirrors = struct.unpack_from("<HHH", content, 20)
        (units,) = struct.unpack_from("<H", self.bytes(64, 2))
        need(units * 512 == PHYSICAL, 64, "size of a soft filemark")
        return self.check_filemark(tape.end)

    def read_set(self, offset: int) -> int:
        current = BackupSet(len(self.sets) + 1, offset)
        block = self.block(offset, "SSET")
        size, place = block.os_data
        (vendor,) = struct.unpack_from("<H", self.bytes(offset + 60, 2))
        need(size == 22 and vendor == 0x4350, offset, "another program's backup set")
        current.guid = self.bytes(offset + place, 16)
        self.sets.append(current)
        control = 0
        while not current.transfer_size:
            need(block.control_block_id == control, block.offset, "control block id")
            control += 1
            block = self.block(block.end, "VOLB", "DIRB")
            if block.type == "VOLB":
                current.facts = self.descriptor(block, current, final=0)
            content = self.content(block, "CPSB")
            if content:
                packing, current.transfer_size = struct.unpack_from("<HI", content, 2)
                current.packing = packing * 512
        need(not current.facts or current.facts.get("transfer_size") == current.transfer_size,
             block.offset, "transfer size")
        current.data_offset = block.end
        at, control = self.read_frames(current, block.end, control + 1)
        at = self.check_filemark(at)
        return self.read_end(current, at, control)

    def descriptor(self, block: Block, current: BackupSet, final: int) -> dict:
        content = self.content(block, "CPBD")
        _, is_final, length = struct.unpack_from("<HHI", content)
        need(is_final == final and 8 + length + 12 <= len(content), block.offset, "descriptor")
        need(not any(content[8 + length:-12]), block.offset, "fill of the descriptor")
        facts = protobuf(content[8:8 + length], SET_FIELDS)
        need(facts.get("guid") == current.guid and facts.get("position") == current.position,
             block.offset, "descriptor of another set")
        return facts

    def read_frames(self, current: BackupSet, at: int, control: int) -> tuple[int, int]:
        while True:
            if self.bytes(at, 4) == b"SFMB":
                return at, control
            try:
                frame = self.read_frame(current, at, control)
            except Damaged as damaged:
                # Where frames have one size, the next one stands where it must.
                if current.packing or at + current.transfer_size >= self.size:
                    raise
                self.damage.append(str(damaged))
                frame = Frame(at, current.transfer_size, 0, 0, 0, 0, 0, 0, 0, 0, 0, good=False)
            current.frames.append(frame)
            at += frame.size
            control += 1

    def read_frame(self, current: BackupSet, at: int, control: int) -> Frame:
        block = self.block(at, "FILE")
        names = [stream.id for stream in block.streams]
        need(names == ["CPFR", "STAN", "SPAD"], at, f"streams {names} of a frame")
        raw = self.content(block, "CPFR")
        need(len(raw) == 64, at, "length of CPFR")
        (_, codec, cipher, index, sequence, offset, stored, original, crc) = struct.unpack_from(
            "<HBBIQQIII", raw)
        stan = block.streams[1]
        need(raw[36:52] == current.guid and block.control_block_id == control and
             block.fla == (at - current.offset) // FLB, at, "frame of another place or set")
        need(stan.length == stored and block.displayable_size == original, at, "length of a frame")
        size = block.end - at
        if current.packing:
            least = round_up(stan.data_offset + stored, 4) + 22 - at
            need(size == round_up(least, current.packing) <= current.transfer_size, at,
                 "size of a frame")
        else:
            need(size == current.transfer_size, at, "size of a frame")
        payload = self.bytes(stan.data_offset, stored)
        need(crc == crc32c(payload), stan.data_offset, "CRC32C of a payload")
        frame = Frame(at, size, codec, cipher, index, sequence, offset, stored, original, crc,
                      stan.data_offset)
        self.check_lead(frame, payload)
        return frame

    def check_lead(self, frame: Frame, payload: bytes) -> None:
        """FH or EH in front of what is coded."""
        if not frame.codec and not frame.cipher:
            need(frame.stored == frame.original, frame.offset, "lengths of a plain frame")
            return
        raw = payload[:24]
        need(len(raw) == 24 and xor_words(raw[:22]) == struct.unpack_from("<H", raw, 22)[0],
             frame.payload_offset, "checksum of FH or EH")
        attributes, before, same, behind, sequence = struct.unpack_from("<HQIIB", raw, 2)
        inside = frame.stored - 24
        if frame.cipher:
            right = (raw[:2] == b"EH" and before == same == inside - 16 and
                     attributes == (0x0010 if frame.codec else 0))
        else:
            right = raw[:2] == b"FH" and before == same == frame.original and attributes == 0
        need(right and behind == inside and sequence == 1, frame.payload_offset, "FH or EH")

    def read_end(self, current: BackupSet, at: int, control: int) -> int:
        first = self.block(at, "ESET")
        lost = sum(not frame.good for frame in current.frames)
        need(first.control_block_id == control, at, "control block id of ESET")
        current.facts = self.descriptor(first, current, final=1)
        content = self.content(first, "CPFS")
        (count,) = struct.unpack_from("<H", content, 2)
        for i in range(count):
            number, _, digest, frames, size = struct.unpack_from("<HHIQQ", content, 4 + 24 * i)
            current.families[number] = (digest, frames, size)
        self.check_index(current, self.content(first, "CPIX"), first.offset)
        second = self.block(first.end, "ESET")
        need(second.control_block_id == control + 1 and
             self.content(second, "CPSE") != b"", second.offset, "second ESET")
        pba, catalog = struct.unpack("<Q", self.bytes(second.offset + 60, 8))[0], next(
            s.offset for s in first.streams if s.id == "TSMP")
        need(pba == first.offset // PHYSICAL and catalog % PHYSICAL == 0, second.offset,
             "places in ESET")
        end = self.check_filemark(second.end)
        current.complete = not lost
        return end

    def check_index(self, current: BackupSet, content: bytes, offset: int) -> None:
        need(len(content) >= 28, offset, "no CPIX")
        _, size, _, count = struct.unpack_from("<HHIQ", content)
        need(size == (32 if current.packing else 24) and len(content) == 16 + count * size + 12,
             offset, "size of CPIX")
        entries = content[16:16 + count * size]
        current.digest = crc32c(entries)
        need(count == len(current.frames), offset, f"CPIX has {count} frames, the medium "
             f"{len(current.frames)}")
        for i, frame in enumerate(current.frames):
            if not frame.good:
                continue
            place, packed, index, crc = struct.unpack_from("<QQII", entries, i * size)
            right = (place == frame.file_offset and packed >> 24 == frame.sequence and
                     packed & 0xFFFFFF == frame.stored and index == frame.file_index and
                     crc == frame.crc)
            if size == 32:
                right = right and struct.unpack_from("<II", entries, i * size + 24) == (
                    frame.original, frame.size)
            need(right, offset, f"entry {i} of CPIX")
        payload = sum((struct.unpack_from("<Q", entries, i * size + 8)[0] & 0xFFFFFF)
                      for i in range(count)) if size == 24 else None
        said = current.families.get(self.family)
        need(said is not None and said[0] == current.digest and said[1] == count and
             payload in (None, said[2]), offset, "what CPFS says of this family")
