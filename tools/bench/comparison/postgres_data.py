"""The clusters that are backed up: pgbench's tables, and tens of thousands of small relations."""

from __future__ import annotations

from pathlib import Path

from comparison.contest import files_in, run_command
from comparison.postgres_peers import Cluster, postgres

# As a server of 2 GB would be set up; commits wait for the disk, as they should. Nothing of its own
# runs at times of its own.
SETTINGS = {"shared_buffers": "256MB", "max_wal_size": "4GB", "checkpoint_timeout": "1h",
            "autovacuum": "off", "wal_compression": "off", "jit": "off"}
FILL_FACTOR = 90  # a row that changes stays in its page, so that as many pages change as are meant
RELATIONS_PER_TABLE = 4  # with its index, and its TOAST table with that one's
TABLES_PER_TRANSACTION = 250
WAL_MESSAGE_MB = 8
PAGE = 8192


def configure(cluster: Cluster, more: dict[str, object]) -> None:
    cluster.configure({**SETTINGS, **more})
    cluster.start()


def fill_with_pgbench(cluster: Cluster, scale: int) -> None:
    """About 15 MB for each unit of scale. Vacuumed, so that reading changes no page any more."""
    cluster.tool("pgbench", "-i", "-q", "-s", scale, "-F", FILL_FACTOR, "-I", "dtgvp",
                 postgres.SUPERUSER_DATABASE)
    cluster.sql("VACUUM (FREEZE)")
    cluster.sql("CHECKPOINT")


def fill_with_small_relations(cluster: Cluster, relations: int) -> None:
    with cluster.connect() as connection:
        for first in range(0, relations // RELATIONS_PER_TABLE, TABLES_PER_TRANSACTION):
            last = min(first + TABLES_PER_TRANSACTION, relations // RELATIONS_PER_TABLE) - 1
            connection.query(
                f"DO $$ BEGIN FOR i IN {first}..{last} LOOP"
                "  EXECUTE format('CREATE TABLE small_%s (id int PRIMARY KEY, t text)', i);"
                "  EXECUTE format('INSERT INTO small_%s VALUES (%s, %L)', i, i, md5(i::text));"
                " END LOOP; END $$")
    cluster.sql("CHECKPOINT")


def change_pages(cluster: Cluster, share: float) -> None:
    """So many of the pages of the large table, evenly spread. How many is what it says itself."""
    with cluster.connect() as connection:
        pages = int(connection.value(
            f"SELECT pg_relation_size('pgbench_accounts') / {PAGE}"))
        rows = int(connection.value("SELECT max(aid) FROM pgbench_accounts"))
        step = max(1, round(rows / pages / share))
        connection.query(f"UPDATE pgbench_accounts SET abalance = abalance + 1"
                         f" WHERE aid % {step} = {step // 2}")
        connection.query("CHECKPOINT")


def write_wal(cluster: Cluster, megabytes: int) -> list[Path]:
    """So much log, of which no page changes; its complete segments."""
    with cluster.connect() as connection:
        first = connection.value("SELECT pg_walfile_name(pg_switch_wal())")
        for _ in range(0, megabytes, WAL_MESSAGE_MB):
            connection.query(
                "SELECT pg_logical_emit_message(false, 'bench', (SELECT string_agg("
                f"md5(random()::text), '') FROM generate_series(1, {WAL_MESSAGE_MB << 15})))")
        last = connection.value("SELECT pg_walfile_name(pg_switch_wal())")
    return sorted(path for path in (cluster.data / "pg_wal").iterdir()
                  if len(path.name) == 24 and first < path.name <= last)


def size_of(cluster: Cluster) -> int:
    """Of the data, without the log."""
    return sum(path.stat().st_size for path in files_in(cluster.data)
               if "pg_wal" not in path.parts and path.is_file())


def read_all(data: Path) -> None:
    """Nobody who has to read all of it can be much faster."""
    run_command(["sh", "-c", f"find '{data}' -type f -not -path '*/pg_wal/*' -print0 |"
                 " xargs -0 cat > /dev/null"])
