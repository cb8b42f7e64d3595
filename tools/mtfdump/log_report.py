"""The log of sets, block by block or record by record, for a person and for programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mtfdump import postgres_set, sqlite_log
from mtfdump.families import BackupSet
from mtfdump.payloads import UnreadableError
from mtfdump.postgres_frames import wal_records
from mtfdump.writers import SQLITE, lsn_text, time_text

LOG_KIND = "LOG"


def has_log(item: BackupSet) -> bool:
    """Log sets, and all sets of PostgreSQL's, which hold the log of their own time."""
    made = item.last.descriptor
    return made.kind_name == LOG_KIND or made.writer == postgres_set.WRITER and (
        not made.is_snapshot)


def log_rows(item: BackupSet, with_frames: bool) -> Iterator[dict[str, Any]]:
    """One per block or record, made as they are read."""
    writer = item.last.descriptor.writer
    if writer == SQLITE:
        yield from (_block_row(block, with_frames) for block in sqlite_log.log_blocks(item))
    elif writer == postgres_set.WRITER:
        yield from _record_rows(item)
    else:
        raise UnreadableError(f"the log of the writer {writer!r} is not known here")


def _block_row(block: sqlite_log.LogBlock, with_frames: bool) -> dict[str, Any]:
    text = lsn_text(SQLITE)
    row: dict[str, Any] = {
        "block": block.number, "kind": sqlite_log.KINDS[block.kind],
        "from": text(block.first_lsn), "to": text(block.last_lsn),
        "time": f"{time_text(block.time_us)}" if block.time_us else None,
        "pages": block.count, "commits": block.commits, "bytes": block.payload_bytes}
    if with_frames:
        row["frames"] = [{"lsn": text(frame.lsn), "page": frame.page,
                          "commit_pages": frame.commit_pages} for frame in block.frames]
    return row


def _record_rows(item: BackupSet) -> Iterator[dict[str, Any]]:
    text = lsn_text(postgres_set.WRITER)
    for record in wal_records(item):
        yield {"lsn": text(record.lsn), "length": record.length,
               "transaction": record.transaction, "manager": record.manager_name,
               "info": record.info, "previous": text(record.previous),
               "meaning": record.meaning}


def print_log(item: BackupSet, with_frames: bool) -> None:
    """Lines of at most 100 columns."""
    made = item.last.descriptor
    text = lsn_text(made.writer)
    print(f"  log of set {item.last.number}")
    if made.writer == SQLITE:
        print(f"  {'block':>6} {'kind':<7} {'from':<16} {'to':<16} {'time (UTC)':<23} "
              f"{'pages':>5} {'commits':>7} {'bytes':>8}")
    else:
        print(f"  {'LSN':<17} {'length':>8} {'transaction':>11} {'manager':<17} info previous")
    count = 0
    for count, row in enumerate(log_rows(item, with_frames), 1):
        print(_block_line(row) if "block" in row else _record_line(row))
        for frame in row.get("frames", ()):
            commit = frame["commit_pages"]
            print(f"         frame {frame['lsn']:<16} page {frame['page']:>9}"
                  + (f", a commit: {commit} pages" if commit else ""))
    print(f"  {count} {'blocks' if made.writer == SQLITE else 'records'}; the set ends at "
          f"{text(made.last_lsn)}")


def _block_line(row: dict[str, Any]) -> str:
    return (f"  {row['block']:>6} {row['kind']:<7} {row['from']:<16} {row['to']:<16} "
            f"{row['time'] or '-':<23} {row['pages']:>5} {row['commits']:>7} {row['bytes']:>8}")


def _record_line(row: dict[str, Any]) -> str:
    return (f"  {row['lsn']:<17} {row['length']:>8} {row['transaction']:>11} "
            f"{row['manager']:<17} {row['info']:02X}   {row['previous']:<17} "
            f"{row['meaning']}").rstrip()
