"""What a descriptor says in the terms of the database's writer."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from mtfdump import postgres_set
from mtfdump.descriptor import Descriptor

SQLITE = "sqlite"


def lsn_text(writer: str) -> Callable[[int], str]:
    """As the database's own programs print an LSN; of SQLite, generation and frame."""
    if writer == postgres_set.WRITER:
        return lambda lsn: f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"
    if writer == SQLITE:
        return lambda lsn: f"{lsn >> 32}:{lsn & 0xFFFFFFFF}"
    return str


def time_text(unix_us: int) -> str:
    """In UTC, to the millisecond."""
    try:
        moment = datetime(1970, 1, 1) + timedelta(microseconds=unix_us)
    except OverflowError:
        return str(unix_us)
    return moment.isoformat(" ", "milliseconds")


def writer_facts(made: Descriptor) -> dict[str, Any]:
    """What is known of `writer_data`; nothing of it is needed to read a set."""
    if not made.writer_data:
        return {}
    if made.writer == SQLITE:
        return _sqlite_facts(made.writer_data.decode("utf-8", "replace"))
    if made.writer == postgres_set.WRITER:
        return _postgres_facts(made.writer_data)
    return {"writer_data_bytes": len(made.writer_data)}


def _sqlite_facts(text: str) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for name, _, value in (part.partition("=") for part in text.split(";") if part):
        if name == "time" and value.isdecimal():
            value = f"{time_text(int(value))} UTC"
        elif name == "base_lsn" and value.isdecimal():
            value = lsn_text(SQLITE)(int(value))
        facts[name] = value
    return facts


def _postgres_facts(raw: bytes) -> dict[str, Any]:
    try:
        made = postgres_set.parse_set(raw)
    except ValueError as error:
        return {"writer_data": f"not readable: {error}"}
    text = lsn_text(postgres_set.WRITER)
    facts: dict[str, Any] = {
        "system_identifier": made.system_identifier, "server_version": made.server_version,
        "timeline": made.timeline, "start": text(made.start_lsn),
        "wal_segment_bytes": made.wal_segment_bytes, "data_checksums": made.data_checksums,
        "from_standby": made.from_standby, "data_directory": made.data_directory}
    for space in made.tablespaces:
        facts[f"tablespace_{space.oid}"] = f"{space.name} at {space.location}"
    return facts
