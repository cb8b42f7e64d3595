"""A backup set of Capstan's on one medium: what stands in front of its frames, and the frames."""

from __future__ import annotations

import struct
from datetime import datetime, timedelta

from mtfdump import descriptor
from mtfdump.coding import check_frame_headers
from mtfdump.crc32c import crc32c
from mtfdump.encodings import align_up
from mtfdump.layout import (COMPRESSED_SET, CONTINUATION, ENCRYPTED_SET, EOS_AT_EOM, Block,
                            Damage)
from mtfdump.medium import Medium, read_end_of_medium
from mtfdump.records import AES_ID, CODEC_IDS, CODECS, Frame, SetCopy
from mtfdump.trailer import read_trailer
from mtfdump.vendor import VERSION, VOID_VERSION, guid, parse_descriptor, unpack

_FRAME_OVERHEAD = 4096  # what a transfer has beyond the payload's capacity
_PAD_MAX = 16773120  # in front of the frames of a backup that was gone on with
_VOID_ENTRY = 1 << 31


class SetReader:
    """Walks one set from SSET to its last filemark, or to the end of the medium."""

    def __init__(self, medium: Medium, sset: Block) -> None:
        self.medium = medium
        self.image = medium.image
        self.sset = sset
        self.control_id = 0
        self.set = SetCopy(number=sset.number(62, "H"), offset=sset.offset, is_own=True,
                           vendor=sset.number(60, "H"), name=sset.text(64), user=sset.text(76),
                           date=str(sset.date(88) or ""), fla=sset.number(20, "Q"),
                           is_continued=bool(sset.attributes & CONTINUATION),
                           no_frame_follows=bool(sset.attributes & EOS_AT_EOM))
        medium.sets.append(self.set)

    def read(self) -> int:
        """Returns where the set ends."""
        self.medium.seals.begin_at(self.sset.offset)
        self._read_head()
        at = self._read_frames(self.set.data_offset)
        return self._read_end(at)

    # What all blocks of a set have.

    def attributes(self, block_type: str) -> int:
        result = COMPRESSED_SET if self.set.codec else 0
        if block_type in ("SSET", "VOLB", "DIRB") and self.set.is_continued:
            result |= CONTINUATION
        if block_type == "SSET":
            result |= ENCRYPTED_SET if self.set.is_encrypted else 0
            result |= EOS_AT_EOM if self.set.no_frame_follows else 0
        return result

    def check_place(self, block: Block) -> None:
        """Control block id, FLA and attributes (sections 1 and 6)."""
        block.expect(36, "I", self.control_id, "the control block id")
        fla = 0
        if block.type != "ESET":
            fla = self.set.fla + (block.offset - self.set.offset) // self.medium.flb
        block.expect(20, "Q", fla, "FLA")
        block.expect(4, "I", self.attributes(block.type), "block attributes")
        if block.type != "FILE":
            block.expect(12, "Q", 0, "the displayable size")
        self.control_id += 1

    # SSET, VOLB and the directories.

    def _read_head(self) -> None:
        medium = self.medium
        volb = medium.block(self.sset.end, "VOLB")
        root = medium.block(volb.end, "DIRB")
        directory = medium.block(root.end, "DIRB")
        medium.expect_streams(self.sset, "SPAD")
        self._read_descriptor(volb)
        for block in (self.sset, volb, root, directory):
            self.check_place(block)
        self._check_sset()
        medium.expect_streams(root, "SPAD")
        medium.expect_streams(directory, "CPSB SPAD")
        for identity, block in enumerate((root, directory), 1):
            block.expect(76, "I", identity, "the directory id")
        stream = directory.streams[0]
        packing, transfer_size = unpack(directory, stream, medium.seals.check(stream), "<HHI")
        self.set.packing, self.set.transfer_size = packing * 512, transfer_size
        self._check_geometry(stream.data)
        self.set.data_offset = medium.expect_end(directory, _PAD_MAX)

    def _read_descriptor(self, volb: Block) -> None:
        """CPBD; and CPAU, whose tag needs the key."""
        stream = volb.streams[0]
        if stream.id != "CPBD":
            raise volb.damage(volb.event, f"its first stream is {stream.id}, expected CPBD")
        final, message = parse_descriptor(volb, stream, self.medium.seals.check(stream))
        if final:
            raise self.image.damage(stream.data, "CPBD: final, at the beginning of the set")
        self.set.begin = self.parse(message, stream.data)
        self.medium.expect_streams(volb, "CPBD CPAU SPAD" if self.set.is_encrypted
                                   else "CPBD SPAD")
        if self.set.is_encrypted:
            self.set.restarts = self.check_tag(volb, 1, 2)
        continues = self.medium.continues
        if self.set.is_continued and continues is not None:
            if (continues.set_number, continues.set_guid) != (self.set.number,
                                                              self.set.begin.guid):
                raise self.sset.damage(62, "it is not the set that CPCN continues")
            self.set.frames_before = continues.frames
            self.set.payload_before = continues.payload_bytes
            self.set.digest = continues.digest

    def parse(self, message: bytes, offset: int) -> descriptor.Descriptor:
        try:
            return descriptor.parse(message)
        except ValueError as error:
            raise self.image.damage(offset, f"CPBD: {error}") from None

    def check_tag(self, block: Block, index: int, purpose: int) -> int:
        """Returns how often the backup was gone on with."""
        stream = block.streams[index]
        numbers = unpack(block, stream, self.medium.seals.check(stream), "<HHI16s")
        if numbers[0] != purpose:
            raise self.image.damage(stream.data, f"CPAU: it is for {numbers[0]}, "
                                                 f"expected {purpose}")
        return numbers[1]

    def _check_sset(self) -> None:
        """SSET says what the descriptor says."""
        sset, begin, octets = self.sset, self.set.begin, self.sset.octets(44)
        if len(octets) != 22:
            raise sset.damage(44, f"{len(octets)} bytes of OS-specific data, expected 22")
        self.set.guid = guid(octets[:16])
        if self.set.guid != begin.guid or begin.position != self.set.number:
            raise sset.damage(62, "its set is not that of its descriptor")
        expected = (self.medium.sets[-2].number + 1 if len(self.medium.sets) > 1
                    else self.set.number if self.set.is_continued else 1)
        sset.expect(62, "H", expected, "the data set number")
        sset.expect(58, "H", CODEC_IDS[self.set.codec], "the compression algorithm")
        sset.expect(80, "Q", sset.offset // self.medium.unit, "the PBA")
        sset.expect(96, "B", 0, "the MTF minor version")
        sset.expect(95, "b", begin.time_zone_quarter_hours, "the time zone")
        local = datetime(1970, 1, 1) + timedelta(
            seconds=begin.start_unix_s, minutes=15 * begin.time_zone_quarter_hours)
        if sset.date(88) != local:
            raise sset.damage(88, f"the date is {sset.date(88)}, the descriptor has {local}")
        if not self.set.is_continued and self.set.fla:
            raise sset.damage(20, f"FLA is {self.set.fla}, expected 0")

    def _check_geometry(self, offset: int) -> None:
        size, packing = self.set.transfer_size, self.set.packing
        if size % 4096 or not 65536 <= size <= 16773120 or size != self.set.begin.transfer_size:
            raise self.image.damage(offset, f"CPSB: transfers of {size} bytes")
        if bool(packing) != bool(self.set.codec):
            raise self.image.damage(offset, f"CPSB: packed in units of {packing} bytes, "
                                            f"compression {self.set.codec or 'none'}")
        if self.set.is_continued and not packing:
            fla = self.set.frames_before * size // self.medium.flb
            self.sset.expect(20, "Q", fla, "FLA")
        media_set = self.medium.media_set
        if media_set is not None and (media_set.compressed, media_set.encrypted) != (
                bool(self.set.codec), self.set.is_encrypted):
            raise self.image.damage(offset, "compressed or encrypted otherwise than CPMS says")

    # Frames.

    def _read_frames(self, at: int) -> int:
        names = descriptor.leaf_names(self.set.begin.files)
        while not self.medium.is_mark_at(at):
            frame = self._read_frame(at, names)
            self.set.frames.append(frame)
            at += frame.size
        if self.set.no_frame_follows and self.set.frames:
            raise self.sset.damage(4, "EOS_AT_EOM, but frames follow")
        entries = b"".join(self.entry(frame) for frame in self.set.frames)
        self.set.digest = crc32c(entries, self.set.digest)
        return at

    def _read_frame(self, at: int, names: list[str]) -> Frame:
        block = self.medium.block(at, "FILE")
        is_void = block.stream_ids == "CPFR CPVD SPAD"
        self.medium.expect_streams(block, f"CPFR {'CPVD' if is_void else 'STAN'} SPAD")
        self.medium.seals.begin_at(at)
        stan = block.streams[1]
        version = VOID_VERSION if is_void else VERSION
        numbers = unpack(block, block.streams[0],
                         self.medium.seals.check(block.streams[0], (version,)), "<HBBIQQIII16s")
        codec, cipher, index, sequence, offset, stored, length, checksum, identity = numbers
        if guid(bytes(identity)) != self.set.guid:  # type: ignore[call-overload]
            raise block.damage(0, "the frame is of another set")
        if CODECS.get(codec) != self.set.codec or cipher != self.set.is_encrypted:
            raise block.damage(0, f"codec {codec} and cipher {cipher} are not the set's")
        if index >= len(names) or stored != stan.length or sequence >= 1 << 40:
            raise block.damage(0, "the frame header names what is not there")
        if is_void != (length == 0) or length > self.set.transfer_size - _FRAME_OVERHEAD:
            raise block.damage(0, f"a payload of {length} bytes")
        self.check_place(block)
        block.expect(12, "Q", length, "the displayable size")
        block.expect(76, "I", 2, "the directory id")
        block.expect(80, "I", self.set.frames_total + 1, "the file id")
        self._check_stan(block, codec, length)
        number = f"{offset // 512:012}"
        name = f"{names[index]}.{'v' + number[1:] if is_void else number}"
        if block.text(84) != name:
            raise block.damage(84, f"its name is {block.text(84)!r}, expected {name!r}")
        self._check_size(block)
        return Frame(offset=at, size=block.end - at, payload=stan.data, stored=stored,
                     length=length, file_index=index, file_offset=offset, sequence=sequence,
                     crc32c=checksum, name=name,
                     sound=is_void or self._check_payload(block, checksum, length))

    def _check_stan(self, block: Block, codec: int, length: int) -> None:
        """The header of STAN, or of CPVD, says how the payload is coded (section 6)."""
        stan = block.streams[1]
        form = (16 if codec else 0) | (8 if self.set.is_encrypted else 0)
        cipher = AES_ID if self.set.is_encrypted else 0
        if (stan.system_attributes, stan.format_attributes, stan.encryption, stan.compression) != (
                0, form, cipher, CODEC_IDS[self.set.codec]):
            raise self.image.damage(stan.offset, f"{stan.id}: it is not coded as the set is")
        if form == 0 and length and stan.length != length:
            raise self.image.damage(stan.offset, f"STAN: {stan.length} bytes, expected {length}")

    def _check_size(self, block: Block) -> None:
        """A frame takes a transfer, in a packed set as little as it can."""
        size = self.set.transfer_size
        if self.set.packing:
            needed = align_up(block.streams[1].end - block.offset, 4) + 22
            size = min(size, align_up(needed, self.set.packing))
        if block.end - block.offset != size:
            raise block.damage(0, f"the frame has {block.end - block.offset} bytes, "
                                  f"expected {size}")

    def _check_payload(self, block: Block, checksum: int, length: int) -> bool:
        """Damage to a payload is noted, and the next frame read."""
        stan = block.streams[1]
        payload = self.image.read(stan.data, stan.length)
        self.medium.payload_checked += len(payload)
        try:
            if crc32c(payload) != checksum:
                raise self.image.damage(stan.data, f"the payload of {block.text(84)} "
                                                   f"({stan.length} bytes) has another CRC32C")
            check_frame_headers(self.image, stan, payload[:48], length)
        except Damage as damage:
            self.medium.damages.append(damage)
            return False
        return True

    def entry(self, frame: Frame) -> bytes:
        """A frame's entry of CPIX."""
        raw = struct.pack("<QQII", frame.file_offset, frame.sequence << 24 | frame.stored,
                          frame.file_index | (_VOID_ENTRY if frame.is_void else 0), frame.crc32c)
        return raw + struct.pack("<II", frame.length, frame.size) if self.set.packing else raw

    # The end.

    def _read_end(self, at: int) -> int:
        medium = self.medium
        full_at = medium.full_at
        if full_at is None:
            return read_trailer(self, medium.read_mark(at))
        if at != full_at:  # an end of set that did not fit: it counts for nothing
            begun = medium.read_mark(at)
            medium.notes.append(f"{full_at - begun} bytes of an end of set that did not fit stand "
                                f"at byte {begun} and are not checked")
            at = full_at
        medium.read_mark(at)
        return read_end_of_medium(medium, self.set)
