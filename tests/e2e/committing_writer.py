"""Commits numbered rows to a SQLite database as fast as it can, until SIGTERM.

  committing_writer.py DATABASE wal|delete

Each transaction writes row n of `ledger` with an amount, keeps its sum in `balance`, and touches a
page somewhere else, so that every state between two commits, and no other, satisfies
harness.check_prefix. Prints "committing" once a first row is in.
"""

import signal
import sqlite3
import sys
import time

BUSY_TIMEOUT_S = 60
SPREAD = 64  # rows of `elsewhere`, each on pages of its own


def main(path: str, journal_mode: str) -> None:
    stop = []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(True))
    db = sqlite3.connect(path, isolation_level=None, timeout=BUSY_TIMEOUT_S)
    db.execute(f"PRAGMA journal_mode = {journal_mode}")
    db.execute("PRAGMA synchronous = NORMAL")
    db.executescript("""
      BEGIN;
      CREATE TABLE ledger (n INTEGER PRIMARY KEY, amount INTEGER, total INTEGER, note TEXT);
      CREATE INDEX ledger_note ON ledger (note);
      CREATE TABLE balance (total INTEGER);
      INSERT INTO balance VALUES (0);
      CREATE TABLE elsewhere (id INTEGER PRIMARY KEY, body BLOB);
      COMMIT;""")
    for row in range(SPREAD):
        db.execute("INSERT INTO elsewhere VALUES (?, randomblob(5000))", (row,))
    total = n = 0
    while not stop:
        n += 1
        amount = n * 7919 % 1009
        total += amount
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO ledger VALUES (?, ?, ?, ?)", (n, amount, total, f"{amount:08}"))
        db.execute("UPDATE balance SET total = ?", (total,))
        db.execute("UPDATE elsewhere SET body = randomblob(5000) WHERE id = ?", (n % SPREAD,))
        db.execute("COMMIT")
        if n == 1:
            print("committing", flush=True)
        if n % 100 == 0 and journal_mode == "wal":
            mode = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")[n // 100 % 4]
            # Somebody who reads holds the last three up; that is not this program's business.
            db.execute("PRAGMA busy_timeout = 20")
            db.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            db.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_S * 1000}")
        if journal_mode != "wal":
            time.sleep(0.002)  # readers need a gap between two exclusive locks
    db.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
