"""parts.json: what of which files a set holds, where it does not hold all of them.

A file of such a set has holes where the set has nothing, which nobody can tell from zeros. So the
list beside the files says which bytes count; laid over the files of the sets before, they give the
database as this set knows it (README.md).
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from mtfdump.payloads import UnreadableError
from mtfdump.postgres_set import is_inner_path

NAME = "parts.json"
_CHUNK = 1 << 22


@dataclass(slots=True)
class Extracted:
    """What was written, and what has to be known of it."""

    paths: list[Path]
    notes: list[str] = field(default_factory=list)
    part: Path | None = None  # the folder, if it needs the sets before it


@dataclass(slots=True)
class PartialFile:
    """`size`: how long the file is afterwards; None: as long as it was, or longer by its pieces."""

    path: str  # below the folder of the set
    size: int | None = None
    pieces: list[list[int]] = field(default_factory=list)  # offset and length

    def add(self, offset: int, length: int) -> None:
        if self.pieces and sum(self.pieces[-1]) == offset:
            self.pieces[-1][1] += length
        elif length:
            self.pieces.append([offset, length])


def lay_over(part: Path, base: Path) -> None:
    """Changes the files of the set before, in its folder, to what they are with this part."""
    listed = json.loads((part / NAME).read_text(encoding="utf-8"))
    for file in listed["files"]:
        if not is_inner_path(file["path"]):
            raise UnreadableError(f"the path {file['path']!r} leads elsewhere")
        path = base / file["path"]
        path.parent.mkdir(0o700, parents=True, exist_ok=True)
        with open(path, "r+b" if path.exists() else "xb") as out:
            if file["pieces"]:
                with open(part / file["path"], "rb") as source:
                    _copy(source, out, file["pieces"])
                shutil.copymode(part / file["path"], path)
            if file["size"] is not None:
                out.truncate(file["size"])
    if listed.get("is_whole_list"):
        _remove_others(base, {file["path"] for file in listed["files"]})


def _copy(source: BinaryIO, out: BinaryIO, pieces: list[list[int]]) -> None:
    for offset, length in pieces:
        source.seek(offset)
        out.seek(offset)
        while length:
            data = source.read(min(length, _CHUNK))
            if not data:
                break  # zeros at the end, which the new size brings
            out.write(data)
            length -= len(data)


def _remove_others(base: Path, wanted: set[str]) -> None:
    """Files that are gone since the set before. Links are left alone, and not followed."""
    for folder, _, names in os.walk(base):
        for path in (Path(folder) / name for name in names):
            if not path.is_symlink() and str(path.relative_to(base)) not in wanted:
                path.unlink()


def write_parts(target: Path, files: list[PartialFile], about: dict[str, Any]) -> Path:
    """`about`: what there is to say of all of them."""
    path = target / NAME
    with open(path, "x", encoding="utf-8") as out:
        json.dump({**about, "files": [
            {"path": file.path, "size": file.size, "pieces": file.pieces} for file in files]},
            out, indent=1)
    return path
