"""The command: reads media, reports, extracts."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from mtfdump.extract import ExtractError, extract
from mtfdump.families import BackupSet, check, collect
from mtfdump.layout import Damage
from mtfdump.medium import Medium
from mtfdump.report import medium_facts, print_medium, print_set, set_facts
from mtfdump.walk import read_medium

DESCRIPTION = """Reads media of Capstan's and checks every byte of them, without Capstan.
Exit status: 0 sound, 1 damage (file, byte and what on standard error), 2 wrong usage."""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mtfdump.py", description=DESCRIPTION)
    parser.add_argument("media", metavar="MEDIUM", nargs="+", type=Path,
                        help="media of any number of families, in any order")
    parser.add_argument("--frames", action="store_true", help="list every frame")
    parser.add_argument("--extract", metavar="DIR", type=Path,
                        help="write the database files of each set to DIR/<position>")
    parser.add_argument("--set", metavar="N", type=int, help="extract set N only")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser.parse_args(arguments)


def _extract_sets(options: argparse.Namespace, sets: list[BackupSet]) -> tuple[bool, list[str]]:
    """Whether all went well, and what was written."""
    written: list[str] = []
    well = True
    for item in sets:
        if options.set not in (None, item.last.number):
            continue
        try:
            written += [str(path) for path in extract(item, options.extract)]
        except (ExtractError, Damage, OSError) as error:
            print(f"mtfdump.py: set {item.last.number} cannot be extracted: {error}",
                  file=sys.stderr)
            well = False
    return well, written


def _report(options: argparse.Namespace, media: list[Medium], sets: list[BackupSet],
            written: list[str]) -> None:
    if options.json:
        print(json.dumps({
            "media": [medium_facts(medium) for medium in media],
            "sets": [set_facts(item, options.frames) for item in sets],
            "damages": [{"path": str(damage.path), "offset": damage.offset, "what": damage.what}
                        for medium in media for damage in medium.damages],
            "extracted": written}, indent=1))
        return
    for medium in media:
        print_medium(medium)
    for item in sets:
        print_set(item, options.frames)
    for path in written:
        print(f"written: {path}")


def main(arguments: list[str]) -> int:
    try:
        options = parse_arguments(arguments)
    except SystemExit as usage:
        return int(usage.code or 0)
    media: list[Medium] = []
    try:
        for path in options.media:
            media.append(read_medium(path))
        sets = collect(media)
        check(sets)
        well, written = _extract_sets(options, sets) if options.extract else (True, [])
        _report(options, media, sets, written)
    except OSError as error:
        print(f"mtfdump.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, FileNotFoundError) else 1
    finally:
        for medium in media:
            medium.image.close()
    damages = [damage for medium in media for damage in medium.damages]
    for damage in damages:
        print(f"mtfdump.py: {damage}", file=sys.stderr)
    return 1 if damages or not well else 0
