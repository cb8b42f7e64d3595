"""A SQLite database as a shop would have it: the same bytes on every machine, in WAL mode."""

from __future__ import annotations

import hashlib
import random
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

SEED = 20240229
ROWS_PER_TRANSACTION = 20_000
WORDS = (
    "anchor barrel cable davit eyebolt fairlead grapnel halyard inlet jib keel lanyard mast nut "
    "oar pulley quay rope shackle thimble umbrella vane winch yard zinc"
).split()
SCHEMA = """
    CREATE TABLE customer(
        customer_id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT NOT NULL, city TEXT);
    CREATE TABLE sale(
        sale_id INTEGER PRIMARY KEY, customer_id INTEGER NOT NULL, sold_at TEXT NOT NULL,
        amount_cents INTEGER NOT NULL, note TEXT, receipt BLOB);
"""


def _texts(source: random.Random, count: int, words: int) -> list[str]:
    return [" ".join(source.choices(WORDS, k=words)) for _ in range(count)]


def _customers(source: random.Random, count: int) -> Iterator[tuple]:
    for number in range(1, count + 1):
        first, last = source.choices(WORDS, k=2)
        yield number, f"{first} {last}", f"{first}.{last}.{number}@example.net", source.choice(WORDS)


def _sales(source: random.Random, first_id: int, customers: int) -> Iterator[tuple]:
    notes = _texts(source, 64, 40)
    for sale_id in range(first_id, first_id + ROWS_PER_TRANSACTION):
        day, second = divmod(sale_id, 86_400)
        yield (
            sale_id,
            source.randrange(customers) + 1,
            f"2024-{day % 12 + 1:02}-{day % 28 + 1:02}T{second // 3600:02}:{second // 60 % 60:02}",
            source.randrange(100, 100_000),
            notes[sale_id & 63],
            source.randbytes(180),  # a good part of a row does not compress
        )


def create_database(path: Path, size_mb: int) -> None:
    """Makes the database; nothing is left in its WAL."""
    source = random.Random(SEED)
    customers = max(1, size_mb) * 20
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = OFF")  # it can be made again
        database.execute("PRAGMA synchronous = OFF")
        database.executescript(SCHEMA)
        database.execute("BEGIN")
        database.executemany("INSERT INTO customer VALUES (?,?,?,?)", _customers(source, customers))
        database.execute("COMMIT")
        page_size = database.execute("PRAGMA page_size").fetchone()[0]
        first_id = 1
        while database.execute("PRAGMA page_count").fetchone()[0] * page_size < size_mb * 1_000_000:
            database.execute("BEGIN")
            database.executemany(
                "INSERT INTO sale VALUES (?,?,?,?,?,?)", _sales(source, first_id, customers)
            )
            database.execute("COMMIT")
            first_id += ROWS_PER_TRANSACTION
        database.execute("CREATE INDEX sale_by_customer ON sale(customer_id)")
        database.execute("PRAGMA journal_mode = WAL")


def open_as_application(path: Path) -> sqlite3.Connection:
    """A connection that has just sold something: the database is in use and its WAL not empty."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA wal_autocheckpoint = 0")
    connection.execute("UPDATE customer SET city = 'harbour' WHERE customer_id = 1")
    return connection


def digest_of_rows(path: Path) -> str:
    """What the database says, whatever its pages look like; also checks its structure."""
    digest = hashlib.sha256()
    with closing(sqlite3.connect(path)) as database:
        state = database.execute("PRAGMA quick_check").fetchone()[0]
        digest.update(state.encode())
        for query in (
            "SELECT count(*), sum(length(name)), sum(length(email)), min(city) FROM customer",
            "SELECT count(*), sum(sale_id * (amount_cents % 97)), sum(length(note)),"
            " sum(length(receipt)), max(sold_at) FROM sale",
        ):
            digest.update(repr(database.execute(query).fetchone()).encode())
    return digest.hexdigest()
