"""What is remembered of a backup set on one medium."""

from __future__ import annotations

from dataclasses import dataclass, field

from mtfdump.descriptor import Descriptor
from mtfdump.vendor import Summary

CODECS = {0: "", 1: "ZSTD", 2: "LZ4"}
CODEC_IDS = {"": 0, "ZSTD": 0x4351, "LZ4": 0x4352}
AES_ID = 0x4361


@dataclass(frozen=True, slots=True)
class Frame:
    """A FILE block with its payload (format.md, sections 2 and 3). A void one holds nothing."""

    offset: int  # on the medium
    size: int
    payload: int  # where STAN's data is, of a void frame CPVD's
    stored: int  # bytes there
    length: int  # in the database; 0: the frame is void
    file_index: int
    file_offset: int
    sequence: int
    crc32c: int
    name: str
    sound: bool = True

    @property
    def is_void(self) -> bool:
        return self.length == 0

    @property
    def payload_size(self) -> int:
        """Bytes that count as the family's payload."""
        return 0 if self.is_void else self.stored


@dataclass(slots=True)
class SetCopy:
    """The part of a set that is on one medium."""

    number: int
    offset: int
    is_own: bool
    vendor: int
    guid: str = ""
    date: str = ""
    name: str = ""
    user: str = ""
    fla: int = 0
    is_continued: bool = False
    no_frame_follows: bool = False
    is_complete: bool = False
    begin: Descriptor = field(default_factory=Descriptor)
    final: Descriptor | None = None
    packing: int = 0  # bytes; 0 = fixed stride
    transfer_size: int = 0
    data_offset: int = 0
    end: int = 0
    frames: list[Frame] = field(default_factory=list)
    frames_before: int = 0  # on earlier media
    payload_before: int = 0
    restarts: int = 0  # how often the backup was gone on with; of an encrypted set
    digest: int = 0  # of the family up to here
    families: list[Summary] = field(default_factory=list)
    media: list[tuple[int, int, int]] = field(default_factory=list)  # CPMM
    index: bytes = b""
    map_size: int = 0  # of its entry in a set map, bytes; 0: in none that was read

    @property
    def descriptor(self) -> Descriptor:
        return self.final or self.begin

    @property
    def codec(self) -> str:
        return self.begin.compression_algorithm

    @property
    def is_encrypted(self) -> bool:
        return bool(self.begin.key_algorithm)

    @property
    def frames_total(self) -> int:
        return self.frames_before + len(self.frames)

    @property
    def payload_total(self) -> int:
        return self.payload_before + sum(frame.payload_size for frame in self.frames)
