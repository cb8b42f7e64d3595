"""Contestants, rounds and results: who runs when, and what is kept of it."""

from __future__ import annotations

import os
import shlex
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

COMMAND_TIMEOUT_S = 900
WARM_UP_PIECE = 1 << 20


class BenchError(Exception):
    """Something did not work; the message says what, for the one who ran the benchmark."""


def run_command(command: Sequence[str], **options) -> str:
    """Runs a command to its end and returns its standard output."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S, **options
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BenchError(f"unable to run '{shlex.join(command)}': {error}") from error
    if done.returncode != 0:
        output = (done.stdout + done.stderr).strip()
        raise BenchError(
            f"'{shlex.join(command)}' ended with status {done.returncode}:\n{output}"
        )
    return done.stdout


def files_in(path: Path) -> Iterator[Path]:
    """A file, or all files of a folder, wherever symbolic links in it lead."""
    if not path.is_dir():
        yield path
        return
    for folder, _, names in os.walk(path, followlinks=True):
        yield from (Path(folder, name) for name in names)


def warm_up(path: Path) -> None:
    """Brings a file or folder into the page cache, whoever pushed it out before."""
    buffer = bytearray(WARM_UP_PIECE)
    for name in files_in(path):
        if name.is_file():
            with open(name, "rb", buffering=0) as file:
                while file.readinto(buffer):
                    pass


def cool_down(path: Path) -> None:
    """Drops a file or folder that has been synced from the page cache."""
    for name in files_in(path):
        with open(name, "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@dataclass
class Contestant:
    """One way to do one job.

    `run` is what the clock sees. It may return named seconds of its own, such as those that an
    engine reports, which are kept beside the wall clock's.
    """

    name: str
    run: Callable[[], dict[str, float] | None]
    reads: Path  # in the page cache when the clock starts, unless `cold`
    cold: bool = False
    removes: list[Path] = field(default_factory=list)  # gone when the clock starts, and at the end
    prepare: Callable[[], None] | None = None


@dataclass
class Result:
    """All times of one contestant, or one that it reported about itself."""

    name: str
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)  # of everybody who worked for it

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


class Contest:
    """Rounds in which every contestant runs once, so that a machine's moods hit all alike.

    Each round starts with another contestant, so that nobody always follows the same neighbour.
    """

    def __init__(self, contestants: list[Contestant],
                 cpu_seconds: Callable[[], float] | None = None) -> None:
        """`cpu_seconds`: what all who may work for a contestant have used so far."""
        self._contestants = contestants
        self._cpu_seconds = cpu_seconds
        self.results: dict[str, Result] = {}

    def play(self, rounds: int, announce: Callable[[str], None]) -> None:
        for number in range(rounds):
            announce(f"round {number + 1} of {rounds}")
            first = number % len(self._contestants)
            for contestant in self._contestants[first:] + self._contestants[:first]:
                self._play_one(contestant)

    def _play_one(self, contestant: Contestant) -> None:
        _remove(contestant.removes)
        if contestant.prepare is not None:
            contestant.prepare()
        os.sync()  # nobody pays for what the one before left dirty
        (cool_down if contestant.cold else warm_up)(contestant.reads)
        cpu_before = self._cpu_seconds() if self._cpu_seconds else 0.0
        begin = time.perf_counter()
        reported = contestant.run()
        self._keep(contestant.name, time.perf_counter() - begin)
        if self._cpu_seconds:
            self.results[contestant.name].cpu_seconds.append(self._cpu_seconds() - cpu_before)
        for name, seconds in (reported or {}).items():
            self._keep(name, seconds)
        _remove(contestant.removes)

    def _keep(self, name: str, seconds: float) -> None:
        self.results.setdefault(name, Result(name)).seconds.append(seconds)


def _remove(paths: list[Path]) -> None:
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
            continue
        for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm"), Path(f"{path}-journal")):
            name.unlink(missing_ok=True)
