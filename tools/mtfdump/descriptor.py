"""BackupSetDescriptor of proto/capstan/media/v1/descriptor.proto, without Protobuf's library."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from mtfdump.vendor import guid

KINDS = {1: "DATABASE", 2: "LOG", 5: "DIFFERENTIAL"}
WRITER_DATA_MAX = 64 << 10
DIGEST_SIZE = 32

# Field number -> name and kind.
_SET = {
    1: ("guid", "guid"), 2: ("position", "u"), 3: ("name", "text"), 4: ("description", "text"),
    5: ("kind", "u"), 6: ("copy_only", "u"), 7: ("has_checksums", "u"), 9: ("user_name", "text"),
    10: ("server_name", "text"), 11: ("machine_name", "text"), 12: ("database_name", "text"),
    13: ("writer", "text"), 14: ("database_version", "text"), 15: ("recovery_model", "text"),
    16: ("software_major", "u"), 17: ("software_minor", "u"), 18: ("software_build", "u"),
    19: ("first_lsn", "u"), 20: ("last_lsn", "u"), 21: ("checkpoint_lsn", "u"),
    22: ("database_backup_lsn", "u"), 23: ("database_created_unix_s", "i"),
    24: ("start_unix_s", "i"), 25: ("finish_unix_s", "i"), 26: ("expiration_unix_s", "i"),
    27: ("time_zone_quarter_hours", "zigzag"), 28: ("transfer_size", "u"),
    29: ("backup_size_bytes", "u"), 30: ("files", "file"), 34: ("is_snapshot", "u"),
    35: ("is_damaged", "u"), 36: ("compression_algorithm", "text"),
    37: ("compressed_size_bytes", "u"), 38: ("key_algorithm", "text"),
    39: ("encryptor_type", "text"), 40: ("encryptor_thumbprint", "bytes"),
    41: ("wrapped_key", "bytes"), 42: ("digest", "bytes"), 43: ("differential_base_lsn", "u"),
    44: ("differential_base_guid", "guid"), 45: ("recovery_fork", "guid"),
    46: ("first_recovery_fork", "guid"), 47: ("begins_log_chain", "u"), 48: ("restarts_log", "u"),
    49: ("tail_log", "u"), 50: ("writer_data", "bytes"),
    51: ("start_unix_us", "i"), 52: ("finish_unix_us", "i"), 53: ("is_read_only", "u"),
}
_FILE = {
    1: ("guid", "guid"), 2: ("file_id", "u"), 3: ("logical_name", "text"),
    4: ("physical_name", "text"), 5: ("type", "u"), 6: ("size_bytes", "u"),
    7: ("page_size", "u"), 8: ("backup_size_bytes", "u"), 9: ("frozen_state", "bytes"),
    10: ("partial", "u"),
}
# What the copies at the beginning and at the end of a set may differ in.
_KNOWN_LATER = {"finish_unix_s", "finish_unix_us", "backup_size_bytes", "compressed_size_bytes",
                "is_damaged", "digest"}
# The same, but only where the copy at the beginning has nothing. The last LSN may grow as well.
_NOT_YET_KNOWN = {"first_lsn", "checkpoint_lsn", "recovery_fork"}
_KNOWN_LATER_OF_FILE = {"size_bytes", "backup_size_bytes", "frozen_state"}


@dataclass(slots=True)
class FileDescriptor:
    """A database file of a set."""

    guid: str = ""
    file_id: int = 0
    logical_name: str = ""
    physical_name: str = ""
    type: int = 0
    size_bytes: int = 0
    page_size: int = 0
    backup_size_bytes: int = 0
    frozen_state: bytes = b""
    partial: int = 0


@dataclass(slots=True)
class Descriptor:
    """A backup set as Capstan describes it."""

    guid: str = ""
    position: int = 0
    name: str = ""
    description: str = ""
    kind: int = 0
    copy_only: int = 0
    has_checksums: int = 0
    user_name: str = ""
    server_name: str = ""
    machine_name: str = ""
    database_name: str = ""
    writer: str = ""
    database_version: str = ""
    recovery_model: str = ""
    software_major: int = 0
    software_minor: int = 0
    software_build: int = 0
    first_lsn: int = 0
    last_lsn: int = 0
    checkpoint_lsn: int = 0
    database_backup_lsn: int = 0
    database_created_unix_s: int = 0
    start_unix_s: int = 0
    finish_unix_s: int = 0
    expiration_unix_s: int = 0
    time_zone_quarter_hours: int = 0
    transfer_size: int = 0
    backup_size_bytes: int = 0
    files: list[FileDescriptor] = field(default_factory=list)
    is_snapshot: int = 0
    is_damaged: int = 0
    compression_algorithm: str = ""
    compressed_size_bytes: int = 0
    key_algorithm: str = ""
    encryptor_type: str = ""
    encryptor_thumbprint: bytes = b""
    wrapped_key: bytes = b""
    digest: bytes = b""
    differential_base_lsn: int = 0
    differential_base_guid: str = ""
    recovery_fork: str = ""
    first_recovery_fork: str = ""
    begins_log_chain: int = 0
    restarts_log: int = 0
    tail_log: int = 0
    writer_data: bytes = b""
    start_unix_us: int = 0
    finish_unix_us: int = 0
    is_read_only: int | None = None  # None: the set does not say

    @property
    def kind_name(self) -> str:
        return KINDS.get(self.kind, str(self.kind))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("a number has no end")
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of every field of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(tag & 7, 0)
        if tag & 7 == 2:
            size, at = _varint(data, at)
        elif size == 0:
            raise ValueError(f"a field of wire type {tag & 7}")
        if at + size > len(data):
            raise ValueError("a field runs past the end")
        yield tag >> 3, data[at:at + size]
        at += size


def _decode(value: int | bytes, kind: str) -> Any:
    if isinstance(value, int) != (kind in ("u", "i", "zigzag")):
        raise ValueError("a field of another type than the schema's")
    if isinstance(value, int):
        if kind == "zigzag":
            return value >> 1 ^ -(value & 1)
        return value - (1 << 64) if kind == "i" and value >> 63 else value
    if kind == "guid":
        return guid(value) if value else ""
    if kind == "text":
        return value.decode("utf-8", "surrogateescape")
    return _fill(FileDescriptor(), value, _FILE) if kind == "file" else value


def _fill(target: Any, data: bytes, schema: dict[int, tuple[str, str]]) -> Any:
    for number, value in _fields(data):
        if number not in schema:
            continue  # of a later version
        name, kind = schema[number]
        if kind == "file":
            target.files.append(_decode(value, kind))
        else:
            setattr(target, name, _decode(value, kind))
    return target


def parse(message: bytes) -> Descriptor:
    """ValueError if it is no such message."""
    result: Descriptor = _fill(Descriptor(), message, _SET)
    if not result.guid or result.position == 0 or result.kind not in KINDS:
        raise ValueError("no set GUID, position or kind")
    _check(result)
    return result


def _check(made: Descriptor) -> None:
    """What only sets of some kinds have (format.md, section 9)."""
    kind = KINDS[made.kind]
    for names, kinds in ((("differential_base_lsn", "differential_base_guid"), ("DIFFERENTIAL",)),
                         (("first_recovery_fork", "begins_log_chain", "tail_log"), ("LOG",)),
                         (("restarts_log",), ("DATABASE", "DIFFERENTIAL"))):
        for name in names:
            if getattr(made, name) and kind not in kinds:
                raise ValueError(f"{name} of a {kind} set")
    if kind == "DIFFERENTIAL" and not made.differential_base_guid:
        raise ValueError("a DIFFERENTIAL set without its base")
    for name in ("start_unix", "finish_unix"):
        second, micros = getattr(made, name + "_s"), getattr(made, name + "_us")
        if micros and micros // 1_000_000 != second:
            raise ValueError(f"{name}_us {micros} is not in second {second}")
    if len(made.writer_data) > WRITER_DATA_MAX:
        raise ValueError(f"writer_data of {len(made.writer_data)} bytes")
    if len(made.digest) not in (0, DIGEST_SIZE):
        raise ValueError(f"a digest of {len(made.digest)} bytes")


def difference(begin: Descriptor, end: Descriptor) -> str:
    """What a final copy says otherwise than that at the beginning, and should not; or ''."""
    if begin.is_snapshot:
        return "" if begin.guid == end.guid and begin.position == end.position else "guid"
    for name, _ in _SET.values():
        before, after = getattr(begin, name), getattr(end, name)
        is_free = (name in _KNOWN_LATER or name == "files" or name in _NOT_YET_KNOWN and not before
                   or name == "last_lsn" and before < after)
        if before != after and not is_free:
            return name
    if len(begin.files) != len(end.files):
        return "files"
    for first, last in zip(begin.files, end.files):
        for name, _ in _FILE.values():
            if name not in _KNOWN_LATER_OF_FILE and getattr(first, name) != getattr(last, name):
                return f"{name} of a file"
    return ""


def leaf_names(files: list[FileDescriptor]) -> list[str]:
    """The leaf of each file's path; its file id behind it if several have it (section 3)."""
    leaves = [file.physical_name.rsplit("/", 1)[-1] for file in files]
    count = Counter(leaves)
    return [leaf if count[leaf] == 1 else f"{leaf}.{file.file_id}"
            for leaf, file in zip(leaves, files)]
