#!/usr/bin/env python3
"""Reads Capstan's media without Capstan: written from server/media/format.md alone.

    mtfdump.py MEDIUM...                  lists families, sets and frames, and checks every byte of them
    mtfdump.py --draw MEDIUM...           the same as a picture, 80 columns wide
    mtfdump.py --extract DIR MEDIUM...    puts the database files of a set together (--set n)

Only the standard library is used. ZSTD frames are decompressed by the program `zstd`, if it is there;
encrypted payloads are checked as they are stored. The exit status is 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from mtfmedium import PHYSICAL, Frame, Medium, text


def check_together(media: list[Medium]) -> list[str]:
    """Whether the media are the families of one media set, and hold what each says of the others."""
    problems = []
    if len({medium.media_set for medium in media}) > 1:
        return ["the media are of several media sets"]
    families = {medium.family: medium for medium in media}
    missing = set(range(1, media[0].family_count + 1)) - set(families)
    if missing:
        problems.append(f"families {sorted(missing)} are missing")
    for medium in families.values():
        for current in medium.sets:
            for number, (digest, _, _) in current.families.items():
                other = families.get(number)
                theirs = other.sets[current.position - 1] if other and len(
                    other.sets) >= current.position else None
                if theirs and theirs.complete and theirs.digest != digest:
                    problems.append(f"family {number} does not hold in set {current.position} what "
                                    f"family {medium.family} says")
    return problems


def lz4_block(data: bytes, size: int) -> bytes:
    out = bytearray()
    at = 0

    def length(nibble: int) -> int:
        nonlocal at
        total = nibble
        while nibble == 15:
            total += data[at]
            at += 1
            if data[at - 1] != 255:
                break
        return total

    while at < len(data):
        token = data[at]
        at += 1
        literals = length(token >> 4)
        out += data[at:at + literals]
        at += literals
        if at >= len(data):
            break
        distance = data[at] | data[at + 1] << 8
        at += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-distance])
    if len(out) != size:
        raise ValueError("an LZ4 block has another length")
    return bytes(out)


def decoded(medium: Medium, frame: Frame) -> bytes:
    stored = medium.bytes(frame.payload_offset, frame.stored)
    if frame.cipher:
        raise SystemExit("the set is encrypted: it can be checked here, and not extracted")
    if not frame.codec:
        return stored
    data = stored[24:]
    if len(data) == frame.original:
        return data
    if frame.codec == 2:
        return lz4_block(data, frame.original)
    if not shutil.which("zstd"):
        raise SystemExit("the set is compressed with ZSTD, and there is no program 'zstd' here: it "
                         "can be checked, and not extracted")
    return subprocess.run(["zstd", "-dc"], input=data, stdout=subprocess.PIPE, check=True).stdout


def extract(media: list[Medium], position: int, directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    facts = media[0].sets[position - 1].facts
    for index, entry in enumerate(facts["files"]):
        target = directory / Path(text(entry["physical_name"])).name
        frames = sorted(((frame.sequence, medium, frame) for medium in media
                         for frame in medium.sets[position - 1].frames
                         if frame.good and frame.file_index == index), key=lambda item: item[0])
        with target.open("wb") as file:
            file.truncate(entry.get("size", 0))
            for _, medium, frame in frames:
                file.seek(frame.file_offset)
                file.write(decoded(medium, frame))
        print(f"{target}: {entry.get('size', 0)} bytes from {len(frames)} frames")


def describe(medium: Medium) -> None:
    print(f"{medium.path}: family {medium.family} of {medium.family_count}, media set "
          f"{medium.media_set.hex()}, {medium.size} bytes")
    for current in medium.sets:
        facts = current.facts
        stored = sum(frame.stored for frame in current.frames)
        original = sum(frame.original for frame in current.frames)
        print(f"  set {current.position} at {current.offset}: {text(facts.get('database'))}, "
              f"{'complete' if current.complete else 'NOT COMPLETE'}, {len(current.frames)} frames "
              f"from {current.data_offset}, {stored} bytes for {original}"
              f"{', ' + text(facts.get('compression')) if facts.get('compression') else ''}"
              f"{', encrypted' if facts.get('key_algorithm') else ''}"
              f"{', of a damaged database' if facts.get('is_damaged') else ''}")
    for sentence in medium.damage:
        print(f"  DAMAGE at {sentence}")


def draw(medium: Medium) -> None:
    """The medium from left to right: T label, S head of a set, # frames, x bad ones, E ends."""
    width = 72
    cells = ["."] * width

    def paint(begin: int, end: int, sign: str) -> None:
        first = begin * width // medium.size
        for cell in range(first, max(first + 1, end * width // medium.size)):
            if cell < width and cells[cell] != "x":
                cells[cell] = sign

    for current in medium.sets:
        end = current.data_offset
        for frame in current.frames:
            paint(frame.offset, frame.offset + frame.size, "#" if frame.good else "x")
            end = frame.offset + frame.size
        paint(current.offset, current.data_offset or current.offset + 1, "S")
        if current.complete:
            paint(end, end + 1, "E")
    paint(0, PHYSICAL, "T")
    for sentence in medium.damage:
        at = int(sentence.split()[1].rstrip(":"))
        paint(min(at, medium.size - 1), at + 1, "x")
    print(f"   |{''.join(cells)}|")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("media", nargs="+", type=Path, metavar="MEDIUM")
    parser.add_argument("--draw", action="store_true", help="a picture of each medium")
    parser.add_argument("--extract", type=Path, metavar="DIR", help="database files go there")
    parser.add_argument("--set", type=int, default=1, help="which set to extract (1)")
    options = parser.parse_args()
    media = [Medium(path).read() for path in options.media]
    for medium in media:
        describe(medium)
        if options.draw:
            draw(medium)
    problems = check_together(media)
    for sentence in problems:
        print(f"PROBLEM: {sentence}")
    if options.extract and not problems:
        extract(media, options.set, options.extract)
    return 1 if problems or any(medium.damage for medium in media) else 0


if __name__ == "__main__":
    sys.exit(main())
