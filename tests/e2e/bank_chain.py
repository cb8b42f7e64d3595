"""The backups of a bank under kill -9, and where its log may be missing.

A point in time may be refused only in a gap: between a log backup and the full or differential one
from which the next log backup goes on. Each gap must be one that the server itself declared, and for
the only reason there is: nobody watched the WAL while the server was dead. It must end as soon as it
could: with the first backup after the loss that the server lived to see committed.
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from bank import BankDatabase, now_us
from harness import CapstanServer, Outcome, disks, finish

FULL, DIFFERENTIAL, LOG = "D", "I", "L"  # as in backupset
SERVER, AGENT, DATABASE, NOBODY = "server", "agent", "database", "nobody"
RESTART_S = 0.3  # a dead server is started again after this, at most
_LOSS = re.compile(r"log broken path=.* lsn=(\d+):(\d+) cause=(.*)")
_DEATH = "its WAL was started anew while nobody watched it"
_GENERATION_BITS = 32


@dataclass
class Backup:
    """One that was tried; what it holds begins before `begin` and ends before `end`."""

    kind: str
    path: Path
    begin: int
    end: int = 0
    done: bool = False  # and we were told


@dataclass(frozen=True)
class Member:
    """One that is in the history. If the server was killed, nobody may have been told."""

    backup: Backup
    guid: str
    base: str  # of a differential one: the full backup's guid
    first_lsn: int
    last_lsn: int

    @property
    def kind(self) -> str:
        return self.backup.kind


@dataclass(frozen=True)
class Loss:
    """The server said that log behind this LSN is missing."""

    lsn: int
    heard: int


@dataclass(frozen=True)
class Gap:
    """Moments that no backup may hold. Those in which the backups at its ends were made may be in
    them or not."""

    begin: int
    end: int


@dataclass
class Figures:
    kills: dict[str, int] = field(default_factory=dict)
    failed: int = 0


class WrongChain(AssertionError):
    """Log is missing, and not as it may be."""


class Chain:
    """Takes backups of a bank and knows what they can be restored to."""

    def __init__(self, server: CapstanServer, bank: BankDatabase, source: random.Random,
                 clients: int) -> None:
        self._server = server
        self._bank = bank
        self._random = source
        self._clients = clients
        self._backups: list[Backup] = []
        self._usual_s = {FULL: 0.2, DIFFERENTIAL: 0.2, LOG: 0.2}
        self._heard_bytes = 0
        self.losses: list[Loss] = []
        self.figures = Figures()

    # --- taking them ----------------------------------------------------------------------------

    def take(self, kind: str, victim: str = NOBODY) -> Outcome:
        path = self._server.media / f"{len(self._backups):04}.bak"
        verb = "LOG" if kind == LOG else "DATABASE"
        options = "FORMAT, CHECKSUM" + (", DIFFERENTIAL" if kind == DIFFERENTIAL else "")
        backup = Backup(kind, path, now_us())
        self._backups.append(backup)
        begin = time.monotonic()
        cli = self._server.popen(
            "exec", f"BACKUP {verb} {self._bank.name} TO {disks(path)} WITH {options}")
        if victim != NOBODY:
            time.sleep(self._random.random() * self._usual_s[kind])
            self._kill(victim)
        outcome = finish(cli, begin)
        backup.end = now_us()
        backup.done = outcome.exit_code == 0
        self._listen()
        if backup.done:
            self._usual_s[kind] = (self._usual_s[kind] + outcome.seconds) / 2
        else:
            self.figures.failed += 1
        return outcome

    def _kill(self, victim: str) -> None:
        self.figures.kills[victim] = self.figures.kills.get(victim, 0) + 1
        if victim == SERVER:
            begin = now_us()
            self._server.kill()
            time.sleep(self._random.random() * RESTART_S)
            self._server.start()
            self._bank.note_outage(begin, now_us())
        elif victim == AGENT:
            os.kill(self._server.agent_pid(), signal.SIGKILL)
        else:
            self._bank.kill(self._random.randrange(self._clients))

    def _listen(self) -> None:
        """For what the server has said since the last time."""
        with open(self._server.console, "rb") as console:
            console.seek(self._heard_bytes)
            lines = console.read()
        lines = lines[:lines.rfind(b"\n") + 1]
        self._heard_bytes += len(lines)
        for generation, frame, cause in _LOSS.findall(lines.decode(errors="replace")):
            if cause != _DEATH:
                raise WrongChain(f"log was lost under the eyes of the server: {cause}")
            self.losses.append(Loss(int(generation) << _GENERATION_BITS | int(frame), now_us()))

    # --- what is there --------------------------------------------------------------------------

    def members(self) -> list[Member]:
        """In the order in which they were begun."""
        rows = self._server.query(
            "SELECT f.physical_device_name AS path, s.backup_set_uuid AS guid,"
            " s.differential_base_guid AS base, s.first_lsn AS first_lsn, s.last_lsn AS last_lsn"
            " FROM msdb.dbo.backupset s"
            " JOIN msdb.dbo.backupmediafamily f ON s.media_set_id = f.media_set_id"
            f" WHERE s.database_name = '{self._bank.name}' ORDER BY s.backup_set_id")
        by_path = {str(backup.path): backup for backup in self._backups}
        return [Member(by_path[str(row["path"])], str(row["guid"]), str(row["base"]),
                       int(str(row["first_lsn"])), int(str(row["last_lsn"]))) for row in rows]

    def log_may_be_refused(self) -> bool:
        return log_is_lost(self.members(), self.losses)

    def gaps(self) -> list[Gap]:
        return find_gaps(self.members(), self.losses)


def log_is_lost(members: list[Member], losses: list[Loss]) -> bool:
    """Since the last log backup, and no backup that we know of leads over that."""
    since = _last_of_log(members)
    lost = [loss.lsn for loss in losses if loss.heard >= since.backup.begin]
    return bool(lost) and not _bridges(members, max(lost))


def find_gaps(members: list[Member], losses: list[Loss]) -> list[Gap]:
    gaps = []
    for index, member in enumerate(members):
        if member.kind == LOG:
            since = _last_of_log(members[:index])
            if member.first_lsn > since.last_lsn:
                gaps.append(_gap(since, member, members[:index], losses))
    return gaps


def _gap(since: Member, log: Member, before: list[Member], losses: list[Loss]) -> Gap:
    where = f"log from {since.last_lsn} to {log.first_lsn} is in no backup"
    lost = [loss.lsn for loss in losses
            if loss.heard >= since.backup.begin and loss.lsn < log.first_lsn]
    if not lost:
        raise WrongChain(f"{where}, and the server never said so")
    ends = [member for member in before
            if member.kind != LOG and member.last_lsn == log.first_lsn]
    if not ends:
        raise WrongChain(f"{where}, and no full or differential backup leads over that")
    if any(member.last_lsn < log.first_lsn for member in _bridges(before, max(lost))):
        raise WrongChain(f"{where}, though there was a backup behind {max(lost)}, from which it"
                         " could have gone on")
    return Gap(since.backup.begin, ends[0].backup.end)


def _last_of_log(members: list[Member]) -> Member:
    """The log backup that goes furthest, or the first backup of all. One that was committed late
    may end before one that was begun after it."""
    logs = [member for member in members if member.kind == LOG]
    return max(logs, key=lambda member: member.last_lsn, default=members[0])


def _bridges(members: list[Member], lost: int) -> list[Member]:
    """From which log goes on behind a loss. What a server committed after its restart may be one
    or not: the server that had begun it did not live to keep the log for it."""
    return [member for member in members
            if member.kind != LOG and member.backup.done and member.last_lsn > lost]
