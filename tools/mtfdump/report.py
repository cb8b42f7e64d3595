"""What was found, for a person at 80 columns and for programs."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from mtfdump.descriptor import Descriptor
from mtfdump.families import BackupSet
from mtfdump.medium import Medium
from mtfdump.postgres_set import WRITER as POSTGRES
from mtfdump.records import SetCopy
from mtfdump.writers import lsn_text, writer_facts


def _size(count: int) -> str:
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 10240 or unit == "GiB":
            return f"{count} {unit}"
        count = round(count / 1024)
    return ""


def _date(seconds: int, micros: int, quarter_hours: int) -> str:
    """Local time, to the microsecond if `micros` is known."""
    if seconds == 0:
        return "-"
    local = datetime(1970, 1, 1) + timedelta(minutes=15 * quarter_hours)
    if micros:
        return (local + timedelta(microseconds=micros)).isoformat(" ", "microseconds")
    return str(local + timedelta(seconds=seconds))


def visible(text: str) -> str:
    """Names may hold anything; a terminal must not be told."""
    return "".join(c if c.isprintable() else "?" for c in text).encode(
        "utf-8", "replace").decode()


def medium_facts(medium: Medium) -> dict[str, Any]:
    """A medium for --json."""
    header = medium.media_set
    return {
        "path": str(medium.image.path), "bytes": medium.image.size,
        "media_family_id": f"{medium.family_id:08X}", "sequence": medium.sequence,
        "name": medium.name, "description": medium.description, "software": medium.software,
        "date": medium.date, "flb": medium.flb, "filemark_bytes": medium.mark_size,
        "media_set_id": header.media_set_id if header else None,
        "family": header.family if header else None,
        "families": header.families if header else None,
        "mirrors": header.mirrors if header else None,
        "filemarks": medium.marks, "ends_full": medium.ended is not None,
        "seals_checked": medium.seals.count, "payload_bytes_checked": medium.payload_checked,
        "notes": medium.notes, "sets": [_copy_facts(copy) for copy in medium.sets],
    }


def _copy_facts(copy: SetCopy) -> dict[str, Any]:
    """The part of a set that is on a medium."""
    return {
        "position": copy.number, "offset": copy.offset, "end": copy.end, "own": copy.is_own,
        "vendor": copy.vendor, "guid": copy.guid, "complete": copy.is_complete,
        "continued": copy.is_continued, "data_offset": copy.data_offset,
        "transfer_size": copy.transfer_size, "packing": copy.packing,
        "frames": len(copy.frames), "digest": f"{copy.digest:08X}",
        "families": [[part.frames, part.payload_bytes, f"{part.digest:08X}"]
                     for part in copy.families],
    }


def set_facts(item: BackupSet, with_frames: bool) -> dict[str, Any]:
    """A set for --json."""
    final = item.last.descriptor
    facts = {name: _plain(getattr(final, name)) for name in Descriptor.__slots__
             if name != "files"}
    facts["kind"] = final.kind_name
    facts["files"] = [{name: _plain(getattr(file, name)) for name in file.__slots__}
                      for file in final.files]
    facts["writer_facts"] = writer_facts(final)
    facts["missing"] = item.missing
    facts["ratio"] = _ratio(item)
    facts["frame_count"] = sum(len(copy.frames) for _, copy in item.copies)
    if with_frames:
        facts["frames"] = [
            {"medium": str(medium.image.path), "offset": frame.offset, "size": frame.size,
             "name": frame.name, "sequence": frame.sequence, "file": frame.file_index,
             "file_offset": frame.file_offset, "length": frame.length, "stored": frame.stored,
             "crc32c": f"{frame.crc32c:08X}", "sound": frame.sound, "void": frame.is_void}
            for medium, copy in item.copies for frame in copy.frames]
    return facts


def _plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def _ratio(item: BackupSet) -> float:
    """Bytes of the database per byte stored, of the frames that are here."""
    frames = [frame for _, copy in item.copies for frame in copy.frames]
    stored = sum(frame.payload_size for frame in frames)
    return round(sum(frame.length for frame in frames) / stored, 3) if stored else 1.0


def print_medium(medium: Medium) -> None:
    header = medium.media_set
    print(f"{medium.image.path}")
    print(f"  {_size(medium.image.size)}, medium {medium.sequence} of family "
          f"{medium.family_id:08X}, {visible(medium.software) or 'no software name'}")
    if header:
        what = [f"family {header.family} of {header.families}"]
        what += ["compressed"] if header.compressed else []
        what += ["encrypted"] if header.encrypted else []
        what += [f"{header.mirrors} mirrors"] if header.mirrors > 1 else []
        print(f"  media set {header.media_set_id}, {', '.join(what)}")
    for title, text in (("name", medium.name), ("description", medium.description)):
        if text:
            print(f"  {title}: {visible(text)}")
    print(f"  formatted {medium.date or '-'}; FLB {medium.flb}, filemarks of {medium.mark_size}: "
          f"{len(medium.marks)}")
    for copy in medium.sets:
        _print_copy(copy)
    print(f"  checked: {medium.seals.count} seals, {_size(medium.payload_checked)} of payload")
    for note in medium.notes:
        print(f"  note: {note}")


def _print_copy(copy: SetCopy) -> None:
    if not copy.is_own:
        print(f"  set {copy.number:3} at {copy.offset}: of another program (vendor "
              f"{copy.vendor:#06x}), headers checked")
        return
    state = "complete" if copy.is_complete else "goes on or is cut off"
    begin = "continued " if copy.is_continued else ""
    print(f"  set {copy.number:3} at {copy.offset}: {begin}{len(copy.frames)} frames from "
          f"{copy.data_offset}, {state}")


def print_set(item: BackupSet, with_frames: bool) -> None:
    last = item.last
    final = last.descriptor
    zone = final.time_zone_quarter_hours
    print(f"set {last.number}: {final.kind_name} {visible(final.database_name)}"
          f"{', copy only' if final.copy_only else ''}"
          f"{', of a read-only database' if final.is_read_only else ''}"
          f"{', snapshot' if final.is_snapshot else ''}{', DAMAGED' if final.is_damaged else ''}")
    print(f"  {final.guid}, {visible(final.writer)} {visible(final.database_version)} on "
          f"{visible(final.server_name)}, by {visible(final.user_name)}")
    for title, text in (("name", final.name), ("description", final.description)):
        if text:
            print(f"  {title}: {visible(text)}")
    print(f"  {_date(final.start_unix_s, final.start_unix_us, zone)} to "
          f"{_date(final.finish_unix_s, final.finish_unix_us, zone)}")
    _print_chain(final)
    print(f"  {_size(final.backup_size_bytes)} in transfers of {_size(last.transfer_size)}"
          + (f", {last.codec} {_ratio(item):.2f} : 1" if last.codec else ""))
    if last.is_encrypted:
        print(f"  {final.key_algorithm}, {final.encryptor_type.lower()} "
              f"{final.encryptor_thumbprint.hex().upper()}\n"
              "  checked without the key: checksums of what is stored, not its authenticity")
    for file in final.files:
        print(f"  file {file.file_id} {chr(file.type)} {visible(file.logical_name)}: "
              f"{file.size_bytes} bytes, {file.backup_size_bytes} here"
              f"{', ' + _partial_text(final) if file.partial else ''}\n"
              f"    {visible(file.physical_name)}")
    for missing in item.missing:
        print(f"  not given: {missing}")
    if with_frames:
        _print_frames(item)


def _partial_text(final: Descriptor) -> str:
    return "in bundles" if final.writer == POSTGRES else "a part"


def _print_chain(final: Descriptor) -> None:
    """Where the set stands among the others of its database."""
    text = lsn_text(final.writer)
    print(f"  LSN {text(final.first_lsn)} to {text(final.last_lsn)}, checkpoint "
          f"{text(final.checkpoint_lsn)}" + (f"\n  full backup before it at "
                                             f"{text(final.database_backup_lsn)}"
                                             if final.database_backup_lsn else ""))
    if final.differential_base_guid:
        print(f"  measured against {final.differential_base_guid}, LSN "
              f"{text(final.differential_base_lsn)}")
    if final.first_recovery_fork:
        print(f"  goes on from fork {final.first_recovery_fork}")
    if final.recovery_fork:
        print(f"  recovery fork {final.recovery_fork}")
    for name, words in (("begins_log_chain", "the first log set of its chain"),
                        ("restarts_log", "log sets begin at its end, whatever came before"),
                        ("tail_log", "tail of the log: nothing was written after it")):
        if getattr(final, name):
            print(f"  {words}")
    for name, value in writer_facts(final).items():
        print(f"  {name.replace('_', ' ')}: {visible(str(value))}")


def _print_frames(item: BackupSet) -> None:
    print(f"  {'sequence':>8} {'offset':>12} {'stored':>8} {'length':>8} {'CRC32C':>8} name")
    for medium, copy in item.copies:
        if len(item.copies) > 1:
            print(f"  {medium.image.path}")
        for frame in copy.frames:
            print(f"  {frame.sequence:>8} {frame.offset:>12} {frame.stored:>8} {frame.length:>8} "
                  f"{frame.crc32c:08X} {visible(frame.name)}"
                  f"{' void' if frame.is_void else '' if frame.sound else ' DAMAGED'}")
