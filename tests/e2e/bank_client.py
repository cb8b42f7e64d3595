"""Moves money between accounts of a bank, all the time, until SIGTERM.

  bank_client.py sqlite|postgres DATABASE JOURNAL CLIENT SEED PAUSE_MS

DATABASE is a path or a connection string of libpq. Each transaction takes an amount from one account
and gives it to another, and writes (client, seq) with both to `ledger`. What happened when is noted
outside the database, in JOURNAL, whose lines survive kill -9 of this process:

  b SEQ TIME   COMMIT of it is about to be sent (microseconds since 1970)
  e SEQ TIME   it has been committed
  f SEQ TIME   after a lost connection, it was found to be committed

The database may be stopped and started, and this process killed and started again. Prints
"working" once a first transaction is in.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import sys
import time

from postgres_client import Connection, DatabaseError

ACCOUNTS = 40
START_BALANCE = 1000
AMOUNT_MAX = 50
BUSY_TIMEOUT_S = 60
REOPEN_EVERY = 300  # transactions of SQLite's clients
RECONNECT_S = 0.05
SCHEMA = """
  CREATE TABLE account (id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
  CREATE TABLE ledger (client INTEGER, seq INTEGER, payer INTEGER, payee INTEGER, amount INTEGER,
                       PRIMARY KEY (client, seq));"""


class SqliteSession:
    def __init__(self, database: str) -> None:
        self._database = database
        self._transactions = 0
        self._open()

    def _open(self) -> None:
        self._db = sqlite3.connect(self._database, isolation_level=None, timeout=BUSY_TIMEOUT_S)
        self._db.execute("PRAGMA synchronous = NORMAL")

    def last_seq(self, client: int) -> int:
        query = "SELECT coalesce(max(seq), 0) FROM ledger WHERE client = ?"
        return int(self._db.execute(query, (client,)).fetchone()[0])

    def prepare(self, statements: list[str]) -> None:
        self._transactions += 1
        if self._transactions % REOPEN_EVERY == 0:  # as short-lived programs do
            self._db.close()
            self._open()
        self._db.execute("BEGIN IMMEDIATE")
        for statement in statements:
            self._db.execute(statement)

    def commit(self) -> None:
        self._db.execute("COMMIT")


class PostgresSession:
    def __init__(self, database: str) -> None:
        self._database = database
        self._connection = Connection(database)

    def last_seq(self, client: int) -> int:
        return int(self._connection.value(
            f"SELECT coalesce(max(seq), 0) FROM ledger WHERE client = {client}"))

    def prepare(self, statements: list[str]) -> None:
        self._connection.query("BEGIN;" + ";".join(statements))

    def commit(self) -> None:
        self._connection.query("COMMIT")


SESSIONS = {"sqlite": SqliteSession, "postgres": PostgresSession}


class Client:
    def __init__(self, kind: str, database: str, journal: str, number: int, seed: int,
                 pause_s: float) -> None:
        self._kind = kind
        self._database = database
        self._journal = os.open(journal, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._number = number
        self._random = random.Random(f"{seed} {number} {os.path.getsize(journal)}")
        self._pause_s = pause_s
        self._stop = False
        self._has_worked = False
        signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, *_: object) -> None:
        self._stop = True

    def _note(self, what: str, seq: int) -> None:
        os.write(self._journal, f"{what} {seq} {time.time_ns() // 1000}\n".encode())

    def work(self) -> None:
        while not self._stop:
            try:
                self._work_in_a_session()
            except DatabaseError as error:
                if not error.lost and not error.sqlstate.startswith("57P"):
                    raise
                time.sleep(RECONNECT_S)  # it is being started again

    def _work_in_a_session(self) -> None:
        session = SESSIONS[self._kind](self._database)
        seq = session.last_seq(self._number)
        if seq > 0:
            self._note("f", seq)
        while not self._stop:
            seq += 1
            session.prepare(self._transfer(seq))
            self._note("b", seq)
            session.commit()
            self._note("e", seq)
            if not self._has_worked:
                self._has_worked = True
                print("working", flush=True)
            time.sleep(self._random.random() * self._pause_s)

    def _transfer(self, seq: int) -> list[str]:
        payer, payee = self._random.sample(range(ACCOUNTS), 2)
        amount = self._random.randint(1, AMOUNT_MAX)
        changes = sorted([(payer, -amount), (payee, amount)])  # in one order, so nobody deadlocks
        return [*(f"UPDATE account SET balance = balance + ({change}) WHERE id = {account}"
                  for account, change in changes),
                f"INSERT INTO ledger VALUES ({self._number}, {seq}, {payer}, {payee}, {amount})"]


if __name__ == "__main__":
    Client(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]),
           float(sys.argv[6]) / 1000).work()
