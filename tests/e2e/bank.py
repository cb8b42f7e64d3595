"""A bank whose clients never rest, and what must hold of any copy of it.

Each client notes outside the database when each of its transactions was about to commit and when it
had (bank_client.py). A copy as of a moment must hold every transaction that had committed then, none
that had not yet begun to, all of each and nothing else: the balances follow from the ledger.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from bank_client import ACCOUNTS, SCHEMA, START_BALANCE
from harness import CapstanServer, die_with_parent
from postgres import Workshop

CLIENT_PROGRAM = Path(__file__).resolve().with_name("bank_client.py")
STOP_S = 60.0

Query = Callable[[str], list[tuple[object, ...]]]


class WrongCopy(AssertionError):
    """A restored bank is not what it was at that moment."""


def now_us() -> int:
    """As transactions are noted."""
    return time.time_ns() // 1000


@dataclass
class Journal:
    """What one client did. Times are microseconds since 1970."""

    begun: dict[int, int] = field(default_factory=dict)  # COMMIT was not sent before
    done: dict[int, int] = field(default_factory=dict)  # and was over then

    @staticmethod
    def read(path: Path) -> Journal:
        journal = Journal()
        # The last line may be cut.
        for line in path.read_text(encoding="ascii").split("\n")[:-1]:
            what, seq, moment = line.split()
            into = journal.begun if what == "b" else journal.done
            into.setdefault(int(seq), int(moment))
        return journal

    def at_least(self, moment: int) -> int:
        """The newest transaction that had committed by then."""
        return max((seq for seq, done in self.done.items() if done <= moment), default=0)

    def at_most(self, moment: int) -> int:
        """The newest one that could have."""
        return max((seq for seq, begun in self.begun.items() if begun <= moment), default=0)


class Clients:
    """Processes, each of which is started again when it was killed."""

    def __init__(self, kind: str, database: str, folder: Path, count: int, seed: int,
                 pause_ms: float) -> None:
        self.journals = [folder / f"client-{number}.journal" for number in range(count)]
        self._arguments = [[kind, database, str(self.journals[number]), str(number), str(seed),
                            str(pause_ms)] for number in range(count)]
        self._processes = [self._start(number) for number in range(count)]
        self._starting = set(self._processes)
        self.wait()

    def wait(self) -> None:
        """Until all have committed something since they were started."""
        for process in self._starting:
            assert process.stdout is not None
            if process.stdout.readline() != "working\n":
                raise AssertionError("a client of the bank did not start")
        self._starting.clear()

    def _start(self, number: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-B", str(CLIENT_PROGRAM), *self._arguments[number]],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
            preexec_fn=die_with_parent)

    def kill_one(self, number: int) -> None:
        """kill -9, wherever it is; another goes on in its name."""
        process = self._processes[number]
        process.kill()
        process.wait(STOP_S)
        assert process.stdout is not None
        process.stdout.close()
        self._starting.discard(process)
        self._processes[number] = self._start(number)
        self._starting.add(self._processes[number])

    def stop(self) -> None:
        """Fails if a client met an error of its own."""
        self.wait()
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            status = process.wait(STOP_S)
            assert process.stdout is not None
            process.stdout.close()
            if status != 0:
                raise AssertionError(f"a client of the bank ended with {status}")

    def read(self) -> list[Journal]:
        return [Journal.read(path) for path in self.journals]


def check_copy(query: Query, journals: list[Journal], moment: int, seen: int) -> int:
    """Checks what a copy as of a moment says against what its bank must have been, if all that had
    committed at `seen` must be in; returns its transactions."""
    newest = {int(str(client)): (int(str(top)), int(str(count))) for client, top, count in
              query("SELECT client, max(seq), count(*) FROM ledger GROUP BY client")}
    for client, journal in enumerate(journals):
        top, count = newest.get(client, (0, 0))
        least, most = journal.at_least(seen), journal.at_most(moment)
        if count != top:
            raise WrongCopy(f"client {client}: {count} of its transactions 1 to {top}")
        if not least <= top <= most:
            missing = moment - journal.done[least] if least > top else 0
            early = journal.begun[top] - moment if top > most else 0
            raise WrongCopy(f"client {client}: transaction {top} is the newest, not {least} to "
                            f"{most}; one is missing that was {missing} us old, or there is one "
                            f"that came {early} us later")
    balances = {int(str(account)): int(str(balance)) for account, balance in
                query("SELECT id, balance FROM account")}
    expected = dict.fromkeys(range(ACCOUNTS), START_BALANCE)
    for payer, payee, amount in query(
            "SELECT payer, payee, sum(amount) FROM ledger GROUP BY payer, payee"):
        expected[int(str(payer))] -= int(str(amount))
        expected[int(str(payee))] += int(str(amount))
    if sum(balances.values()) != ACCOUNTS * START_BALANCE:
        raise WrongCopy(f"the bank holds {sum(balances.values())}")
    if balances != expected:
        raise WrongCopy("the balances do not follow from the ledger")
    return sum(top for top, _ in newest.values())


# --- the databases ------------------------------------------------------------------------------


class BankDatabase:
    """A bank's database and what a test can do to it, whichever kind it is."""

    kind = ""
    name = "bank"
    clients: Clients

    def __init__(self, server: CapstanServer, clients: int, seed: int, pause_ms: float) -> None:
        self.server = server
        self._make()
        self.clients = Clients(self.kind, self.address(), server.root, clients, seed, pause_ms)

    def _make(self) -> None:
        """Makes it, with SCHEMA and accounts, and tells the server of it."""
        raise NotImplementedError

    def address(self) -> str:
        """As bank_client.py takes it."""
        raise NotImplementedError

    def kill(self, client: int) -> None:
        """kill -9 of those who serve it (or of that client); it is in use again afterwards."""
        raise NotImplementedError

    def move(self) -> str:
        """The options with which a restore makes a copy beside it."""
        raise NotImplementedError

    def check(self, journals: list[Journal], moment: int, thorough: bool) -> int:
        """Opens the copy that a restore made and checks it, with its structure if thorough."""
        raise NotImplementedError

    def discard_copy(self) -> None:
        """Makes room for the next copy."""

    def note_outage(self, begin: int, end: int) -> None:
        """The server was not there."""

    def seen(self, moment: int) -> int:
        """What had committed then has a time that is not later than the moment."""
        return moment

    def close(self) -> None:
        self.clients.stop()


def first_rows() -> Iterable[str]:
    return [f"INSERT INTO account VALUES ({number}, {START_BALANCE})" for number in range(ACCOUNTS)]


class SqliteBank(BankDatabase):
    kind = "sqlite"
    # A commit's time is when the server saw it: 1 ms later if there is a core free, never earlier. It
    # does not look while it waits for a disk that others keep busy.
    accuracy_us = 5_000_000

    def _make(self) -> None:
        self.path = self.server.db / "bank.db"
        self.copy = self.server.db / "copy.db"
        with closing(sqlite3.connect(self.path)) as db:
            db.execute("PRAGMA journal_mode = WAL")
            db.executescript(SCHEMA)
            for statement in first_rows():
                db.execute(statement)
            db.commit()
        self.server.attach(self.name, self.path)
        self._outages: list[tuple[int, int]] = []

    def address(self) -> str:
        return str(self.path)

    def kill(self, client: int) -> None:
        """SQLite is served by its clients."""
        self.clients.kill_one(client)

    def move(self) -> str:
        return f"MOVE '{self.name}' TO '{self.copy}', REPLACE"

    def check(self, journals: list[Journal], moment: int, thorough: bool) -> int:
        with closing(sqlite3.connect(self.copy)) as db:
            if thorough and (rows := db.execute("PRAGMA integrity_check").fetchall()) != [("ok",)]:
                raise WrongCopy(f"{rows[:3]}")
            return check_copy(lambda query: db.execute(query).fetchall(), journals, moment,
                              self.seen(moment))

    def note_outage(self, begin: int, end: int) -> None:
        self._outages.append((begin, end))

    def seen(self, moment: int) -> int:
        """Commits that the server was not there to see have the time at which it was back."""
        seen = moment - self.accuracy_us
        for begin, end in self._outages:
            if begin < moment < end + self.accuracy_us:
                seen = min(seen, begin - self.accuracy_us)
        return seen


class PostgresBank(BankDatabase):
    kind = "postgres"

    def _make(self) -> None:
        self._workshop = Workshop()
        self.cluster = self._workshop.cluster("bank")
        self.cluster.start()
        self.cluster.sql(SCHEMA + ";".join(first_rows()))
        self.copy = self._workshop.root / "copy"
        self.server.attach(self.name, self.cluster.info(), scheme="postgresql")

    def address(self) -> str:
        return self.cluster.info()

    def kill(self, client: int) -> None:
        """All of its processes."""
        self.cluster.kill()
        self.cluster.start()

    def move(self) -> str:
        return f"MOVE '{self.name}' TO '{self.copy}', REPLACE"

    def check(self, journals: list[Journal], moment: int, thorough: bool) -> int:
        restored = self._workshop.adopt(self.copy)
        restored.start()
        restored.wait_until_primary()
        if thorough:
            restored.amcheck()
        with restored.connect() as connection:
            found = check_copy(connection.query, journals, moment, self.seen(moment))  # type: ignore[arg-type]
        restored.stop()
        if thorough:
            restored.checksums()
        return found

    def discard_copy(self) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._workshop.close()
