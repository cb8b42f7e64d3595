"""Writes sets of PostgreSQL's to folders: the cluster's files, as a server can start on them."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from mtfdump.families import BackupSet
from mtfdump.parts import Extracted, PartialFile, write_parts
from mtfdump.payloads import UnreadableError, readable_frames
from mtfdump.postgres_frames import BundledBytes, bundled, cluster_of, in_order, segment_begin
from mtfdump.postgres_set import MANIFEST, Manifest, PostgresSet, parse_manifest
from mtfdump.writers import lsn_text

_DATA = "data"
_TABLESPACES = "tablespaces"
# Where its links would lead is in use, perhaps: it stays out of the data directory.
_MAP = "tablespace_map"
_LINKS = "pg_tblspc"
_MANIFEST_MAX = 1 << 30
_MODE = 0o700


def extract_cluster(item: BackupSet, target: Path) -> Extracted:
    """A new folder with the set's files; it is gone again if anything fails."""
    cluster = cluster_of(item)
    kind = item.last.descriptor.kind_name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.mkdir(_MODE)
    try:
        writer = _Writer(item, cluster, target)
        writer.write_all()
        if kind == "LOG":
            writer.end_log()
        else:
            writer.end(writer.take_manifest(), is_whole=kind == "DATABASE")
        notes = _notes(item, cluster, writer)
        if kind != "DATABASE":
            write_parts(target, writer.parts(), {
                "kind": kind, "base": item.last.descriptor.differential_base_guid,
                "is_whole_list": kind != "LOG"})
    except BaseException:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return Extracted([target], notes, None if kind == "DATABASE" else target)


def _notes(item: BackupSet, cluster: PostgresSet, writer: _Writer) -> list[str]:
    made, text = item.last.descriptor, lsn_text(item.last.descriptor.writer)
    name = f"set {item.last.number}"
    if made.kind_name == "LOG":
        return [f"{name} is a part: the log from {text(made.first_lsn)} to "
                f"{text(made.last_lsn)}; the segments have zeros where the set has nothing"]
    notes = [f"{name}: tablespace {space.name} ({space.oid}) is in {folder}"
             for space, folder in zip(cluster.tablespaces, writer.places[1:])]
    if made.kind_name == "DIFFERENTIAL":
        return [*notes, f"{name} is a part: what had changed since the full backup "
                        f"{made.differential_base_guid}, to be laid over it"]
    for file in (cluster.config_file, cluster.hba_file, cluster.ident_file):
        if file and not file.startswith(cluster.data_directory + "/"):
            notes.append(f"{name}: {file} was outside of the data directory and is not in the set")
    return notes


@dataclass(slots=True)
class _Written:
    """Of a file: bytes that came, and where."""

    part: PartialFile
    length: int = 0


@dataclass(slots=True)
class _Writer:
    """The folders of a set on their way out of it."""

    item: BackupSet
    cluster: PostgresSet
    target: Path
    places: list[Path] = field(default_factory=list)
    _written: dict[Path, _Written] = field(default_factory=dict)
    _open: tuple[Path, BinaryIO] | None = None
    _manifest: bytearray = field(default_factory=bytearray)
    _manifest_bytes: int = 0

    def __post_init__(self) -> None:
        self.places = [self.target / _DATA]
        for space in self.cluster.tablespaces:
            # The name for people; the number makes it unique.
            name = re.sub(r"[^A-Za-z0-9_-]", "_", space.name)
            self.places.append(self.target / _TABLESPACES / f"{space.oid}-{name}")
        for place in self.places:
            place.mkdir(_MODE, parents=True)

    # What the bundles hold.

    def write_all(self) -> None:
        try:
            for part in bundled(self.item, in_order(readable_frames(self.item))):
                self._write(part)
        finally:
            self._close()

    def _path(self, place: int, path: str) -> Path:
        """Paths of entries never lead out of their place (parse_bundle), and there are no links:
        the place is new."""
        if place == 0 and path == _MAP:
            return self.target / _MAP
        if place == 0 and path.startswith(f"{_LINKS}/"):
            raise UnreadableError(f"it has a file {path!r}, where a cluster has links")
        return self.places[place] / path

    def _write(self, part: BundledBytes) -> None:
        entry = part.entry
        if entry.kind == MANIFEST:
            end = entry.offset + entry.length
            if end > _MANIFEST_MAX:
                raise part.placed.damage(entry.begin, f"a manifest of {end} bytes")
            self._manifest.extend(bytes(max(0, end - len(self._manifest))))
            self._manifest[entry.offset:end] = part.data
            self._manifest_bytes += entry.length
            return
        path = self._path(part.place, entry.path)
        file = self._file(path)
        if part.data:  # zeros are left to the file system
            file.seek(entry.offset)
            file.write(part.data)
        written = self._written[path]
        written.length += entry.length
        written.part.add(entry.offset, entry.length)

    def _file(self, path: Path) -> BinaryIO:
        """Open until another one is asked for."""
        if self._open is not None and self._open[0] == path:
            return self._open[1]
        self._close()
        is_new = path not in self._written
        if is_new:
            path.parent.mkdir(_MODE, parents=True, exist_ok=True)
            self._written[path] = _Written(PartialFile(str(path.relative_to(self.target))))
        file = open(path, "xb" if is_new else "r+b")  # noqa: SIM115
        self._open = (path, file)
        return file

    def _close(self) -> None:
        if self._open is not None:
            self._open[1].close()
            self._open = None

    # What the manifest says.

    def take_manifest(self) -> Manifest:
        if not self._manifest or self._manifest_bytes != len(self._manifest):
            raise UnreadableError(f"{self._manifest_bytes} bytes of its list of files are there, "
                                  f"expected {len(self._manifest)}")
        try:
            return parse_manifest(bytes(self._manifest), len(self.places))
        except ValueError as error:
            raise UnreadableError(f"its list of files is damaged: {error}") from None

    def end(self, manifest: Manifest, is_whole: bool) -> None:
        """Sizes, modes, directories; of a part only those of files of which something is here."""
        wanted = {self._path(file.place, file.path): file for file in manifest.files}
        for path in [path for path in self._written if path not in wanted]:
            path.unlink()  # vanished while the backup ran
            del self._written[path]
        for path, file in wanted.items():
            written = self._written.get(path)
            if is_whole and (written.length if written else 0) < file.size:
                raise UnreadableError(f"{written.length if written else 0} of {file.size} bytes "
                                      f"of '{file.path}' are in it")
            if written is None and not is_whole:
                relative = str(path.relative_to(self.target))
                self._written[path] = _Written(PartialFile(relative, file.size))
                continue
            with open(path, "r+b" if written else "xb") as out:
                out.truncate(file.size)
            path.chmod(file.mode & 0o777)
            if written:
                written.part.size = file.size
        if is_whole:
            (self.places[0] / _LINKS).mkdir(_MODE, exist_ok=True)
            (self.places[0] / "pg_wal").mkdir(_MODE, exist_ok=True)
            folders = [(self.places[item.place] / item.path, item.mode)
                       for item in manifest.directories]
            for folder, mode in folders:
                folder.mkdir(mode, parents=True, exist_ok=True)
            for folder, mode in reversed(folders):
                folder.chmod(mode & 0o777)

    def end_log(self) -> None:
        """Segments have the size that PostgreSQL expects."""
        for path, written in self._written.items():
            size = self.cluster.wal_segment_bytes
            if segment_begin(str(path.relative_to(self.places[0])), size) is not None:
                os.truncate(path, size)
                written.part.size = size

    def parts(self) -> list[PartialFile]:
        return [written.part for written in self._written.values()]
