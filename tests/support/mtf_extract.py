#!/usr/bin/env python3
"""Lists, extracts and verifies Microsoft Tape Format 1.00a media without the help of the server.

  mtf_extract.py MEDIUM... --list               blocks, their fields and streams
  mtf_extract.py MEDIUM... --verify             every rule of the format
  mtf_extract.py MEDIUM... --output DIR         each FILE as DIR/<directory path>/<file name>
  mtf_extract.py MEDIUM... --concatenate FILE   all FILEs, sorted by name, as one file

Needs Python 3.11 and nothing else. Exit status: 0 sound, 1 damaged or unreadable with one line on
standard error that names block and byte, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import fnmatch
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mtf.content import Content, content_of
from mtf.layout import FIELDS, Block, Medium, MtfError, directory_of, leaf_of
from mtf.verify import Verifier


@dataclass(frozen=True, slots=True)
class Piece:
    """One FILE block that is to be extracted."""

    directory: tuple[str, ...]
    name: str
    medium: Medium
    block: Block

    @property
    def path(self) -> str:
        return "/".join((*self.directory, self.name))


@contextmanager
def naming(medium: Medium) -> Iterator[None]:
    """Tells an error inside which medium it is about."""
    try:
        yield
    except MtfError as error:
        error.path = medium.path
        raise


def describe(block: Block) -> str:
    """One line of --list for a block: place, header, then the fields of its type (section 2)."""
    parts = [f"{block.offset:>12} {block.type} fla={block.fla} id={block.control_id} "
             f"attributes={block.attributes:#010x} event={block.event_offset} "
             f"size={block.displayable_size}"]
    for name, (offset, code) in FIELDS.get(block.type, {}).items():
        if code == "date":
            parts.append(f"{name}={block.date(name) or '-'}".replace(" ", "T"))
        elif code == "octets":
            parts.append(f"{name}={block.octets(offset).hex() or '-'}")
        elif code in ("text", "path"):
            parts.append(f"{name}={block.text(name)!r}")
        elif name.endswith("attributes"):
            parts.append(f"{name}={block.number(name):#x}")
        else:
            parts.append(f"{name}={block.number(name)}")
    return " ".join(parts)


def list_medium(medium: Medium) -> None:
    """Prints blocks and streams as the walk meets them: damage shows how far the medium is good."""
    print(f"{medium.path}: {medium.size} bytes")
    for block in medium.blocks():
        print(describe(block))
        for stream in block.streams:
            print(f"{stream.offset:>14} {stream.id} length={stream.length} "
                  f"system={stream.system_attributes:#x} format={stream.format_attributes:#x} "
                  f"encryption={stream.encryption:#x} compression={stream.compression:#x}")


def pieces(medium: Medium, set_number: int | None, pattern: str) -> Iterator[Piece]:
    """The FILEs of a medium, of one data set or of all, whose path fits the pattern."""
    current, directories = 0, dict[int, tuple[str, ...]]()
    for block in medium.blocks():
        if block.type == "SSET":
            current, directories = block.number("set_number"), {}
        elif block.type == "DIRB":
            directories[block.number("directory_id")] = directory_of(medium, block)
        elif block.type == "FILE" and set_number in (None, current):
            directory = directories.get(block.number("directory_id"))
            if directory is None:
                raise block.error(f"directory id {block.number('directory_id')} has no DIRB")
            piece = Piece(directory, leaf_of(medium, block), medium, block)
            if fnmatch.fnmatchcase(piece.path, pattern):
                yield piece


def safe_path(piece: Piece) -> Path:
    """The piece's relative path; names that would leave the output directory are refused."""
    for part in (*piece.directory, piece.name):
        if part in (".", "..") or "/" in part:
            raise piece.block.error(f"name {piece.path!r} would leave the output directory")
    return Path(*piece.directory, piece.name)


def write_content(content: Content, out: BinaryIO, base: int) -> int:
    """Writes the content at `base` of `out`; returns how long it is."""
    for offset, data in content.chunks():
        out.seek(base + offset)
        out.write(data)
    size = content.size if content.size is not None else 0
    out.seek(base + size)
    return size


def extract_piece(piece: Piece, directory: Path) -> None:
    """Writes one piece; never over a file that is there."""
    target = directory / safe_path(piece)
    content = content_of(piece.medium, piece.block)
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        out = open(target, "xb")
    except FileExistsError:
        raise piece.block.error(f"{target} exists already; choose a set with --set") from None
    with out:
        out.truncate(write_content(content, out, 0))


def extract(media: list[Medium], set_number: int | None, pattern: str, directory: Path) -> None:
    """Every piece of all media into its own file."""
    count = 0
    for medium in media:
        with naming(medium):
            for piece in pieces(medium, set_number, pattern):
                extract_piece(piece, directory)
                count += 1
    print(f"{count} files extracted")


def concatenate(media: list[Medium], set_number: int | None, pattern: str, target: Path) -> None:
    """All pieces of all media, sorted by name and then by directory, one behind the other."""
    found: list[Piece] = []
    for medium in media:
        with naming(medium):
            found.extend(pieces(medium, set_number, pattern))
    found.sort(key=lambda piece: (piece.name, piece.directory))
    for before, piece in zip(found, found[1:]):
        if (before.name, before.directory) == (piece.name, piece.directory):
            with naming(piece.medium):
                raise piece.block.error(f"{piece.path!r} stands here a second time, first in "
                                        f"{before.medium.path} at byte {before.block.offset}; "
                                        f"choose a set with --set")
    position = 0
    with open(target, "wb") as out:
        for piece in found:
            with naming(piece.medium):
                content = content_of(piece.medium, piece.block)
                position += write_content(content, out, position)
        out.truncate(position)
    print(f"{len(found)} pieces, {position} bytes")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="mtf_extract.py", description="Reads Microsoft Tape Format 1.00a media.")
    parser.add_argument("media", metavar="MEDIUM", nargs="+", type=Path)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--list", action="store_true", help="print blocks and streams")
    action.add_argument("--verify", action="store_true", help="check every rule of the format")
    action.add_argument("--output", metavar="DIR", type=Path, help="extract each FILE")
    action.add_argument("--concatenate", metavar="FILE", type=Path,
                        help="write all FILEs, sorted by name, as one")
    parser.add_argument("--set", metavar="N", type=int, help="only data set number N")
    parser.add_argument("--only", metavar="PATTERN", default="*",
                        help="only FILEs whose path fits the shell pattern")
    return parser.parse_args(arguments)


def run(options: argparse.Namespace, media: list[Medium]) -> None:
    if options.output is not None:
        extract(media, options.set, options.only, options.output)
    elif options.concatenate is not None:
        concatenate(media, options.set, options.only, options.concatenate)
    for medium in media if options.list or options.verify else []:
        with naming(medium):
            if options.list:
                list_medium(medium)
            else:
                Verifier(medium).run()
                print(f"{medium.path}: sound")


def main(arguments: list[str]) -> int:
    try:
        options = parse_arguments(arguments)
    except SystemExit as usage:
        return int(usage.code or 0)
    try:
        with ExitStack() as stack:
            run(options, [stack.enter_context(Medium(path)) for path in options.media])
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except MtfError as error:
        print(f"mtf_extract.py: {error.path}: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"mtf_extract.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
