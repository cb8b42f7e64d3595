"""The command: reads media, reports, extracts."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

from mtfdump.extract import extract
from mtfdump.families import BackupSet, check, collect
from mtfdump.layout import Damage
from mtfdump.log_report import has_log, log_rows, print_log
from mtfdump.medium import Medium
from mtfdump.parts import Extracted, lay_over
from mtfdump.payloads import UnreadableError
from mtfdump.report import medium_facts, print_medium, print_set, set_facts, visible
from mtfdump.walk import read_medium

DESCRIPTION = """Reads media of Capstan's and checks every byte of them, without Capstan.
Exit status: 0 sound, 1 damage (file, byte and what on standard error), 2 wrong usage."""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mtfdump.py", description=DESCRIPTION)
    parser.add_argument("media", metavar="MEDIUM", nargs="+", type=Path,
                        help="media of any number of families, in any order")
    parser.add_argument("--frames", action="store_true",
                        help="list every frame; with --log, those of the WAL too")
    parser.add_argument("--log", action="store_true",
                        help="list the blocks or records of the log that sets hold")
    parser.add_argument("--extract", metavar="DIR", type=Path,
                        help="write what each set holds to DIR/<position>")
    parser.add_argument("--onto", metavar="BASE", type=Path,
                        help="lay parts that were extracted (differential and log sets) over "
                             "BASE, where the set before was extracted to")
    parser.add_argument("--set", metavar="N", type=int, help="of --extract and --log: set N only")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args(arguments)
    if options.onto and not options.extract:
        parser.error("--onto needs --extract")
    return options


class _Streamed(list[Any]):
    """A list for json that is made while it is written, so that nobody holds all of it."""

    def __init__(self, items: Iterator[Any]) -> None:
        super().__init__()
        self._items = items

    def __bool__(self) -> bool:
        """What json asks when its turn has come: whether there is a first one."""
        for first in self._items:
            self._items = chain([first], self._items)
            return True
        return False

    def __iter__(self) -> Iterator[Any]:
        return self._items


class _Failures:
    """What could not be done, said on standard error as it happens."""

    def __init__(self) -> None:
        self.any = False

    @contextmanager
    def noted(self, item: BackupSet, what: str) -> Iterator[None]:
        try:
            yield
        except (UnreadableError, Damage, OSError) as error:
            print(f"mtfdump.py: set {item.last.number} cannot be {what}: {error}", file=sys.stderr)
            self.any = True


def _extract_sets(options: argparse.Namespace, sets: list[BackupSet],
                  failures: _Failures) -> Extracted:
    """What was written."""
    written = Extracted([])
    for item in sets:
        if options.set in (None, item.last.number):
            with failures.noted(item, "extracted"):
                done = extract(item, options.extract)
                written.paths += done.paths
                written.notes += done.notes
                if options.onto and done.part:
                    lay_over(done.part, options.onto)
    return written


def _log(item: BackupSet, options: argparse.Namespace,
         failures: _Failures) -> Iterator[dict[str, Any]]:
    with failures.noted(item, "read as log"):
        yield from log_rows(item, options.frames)


def _wants_log(options: argparse.Namespace, item: BackupSet) -> bool:
    return options.log and options.set in (None, item.last.number) and has_log(item)


def _print_json(options: argparse.Namespace, media: list[Medium], sets: list[BackupSet],
                written: Extracted, failures: _Failures) -> None:
    facts = []
    for item in sets:
        fact = set_facts(item, options.frames)
        if _wants_log(options, item):
            fact["log"] = _Streamed(_log(item, options, failures))
        facts.append(fact)
    json.dump({
        "media": [medium_facts(medium) for medium in media], "sets": facts,
        # Behind the sets: reading their log may find more.
        "damages": _Streamed({"path": str(damage.path), "offset": damage.offset,
                              "what": damage.what}
                             for medium in media for damage in medium.damages),
        "extracted": [str(path) for path in written.paths], "notes": written.notes},
        sys.stdout, indent=1)
    print()


def _print(options: argparse.Namespace, media: list[Medium], sets: list[BackupSet],
           written: Extracted, failures: _Failures) -> None:
    for medium in media:
        print_medium(medium)
    for item in sets:
        print_set(item, options.frames)
        if _wants_log(options, item):
            with failures.noted(item, "read as log"):
                print_log(item, options.frames)
    for path in written.paths:
        print(f"written: {path}")
    for note in written.notes:
        print(f"note: {visible(note)}")


def main(arguments: list[str]) -> int:
    try:
        options = parse_arguments(arguments)
    except SystemExit as usage:
        return int(usage.code or 0)
    media: list[Medium] = []
    failures = _Failures()
    try:
        for path in options.media:
            media.append(read_medium(path))
        sets = collect(media)
        check(sets)
        written = (_extract_sets(options, sets, failures) if options.extract
                   else Extracted([]))
        report = _print_json if options.json else _print
        report(options, media, sets, written, failures)
    except OSError as error:
        print(f"mtfdump.py: {error}", file=sys.stderr)
        return 2 if isinstance(error, FileNotFoundError) else 1
    finally:
        for medium in media:
            medium.image.close()
    damages = [damage for medium in media for damage in medium.damages]
    for damage in damages:
        print(f"mtfdump.py: {damage}", file=sys.stderr)
    return 1 if damages or failures.any else 0
