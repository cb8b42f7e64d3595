"""The way of a database to an older version of its software: a script of it, made by the database's
own programs from what was restored (README, "older version"). Nothing is lost on the way, and
memory does not grow with the database.

  CAPSTAN_SCRIPT_MIB=10240 python3 tests/e2e/test_scripts.py --bin build/release/bin    the long form
"""

from __future__ import annotations

import hashlib
import os
import resource
import shutil
import sqlite3
import subprocess
import unittest
from contextlib import closing
from pathlib import Path

import postgres
from harness import ServerTestCase, die_with_parent, disks, main, quoted
from postgres import Cluster, Workshop

MIB = int(os.environ.get("CAPSTAN_SCRIPT_MIB", "96"))
ROW_BYTES = 8192
# Of the exporter and of the importer, whatever the size of the database is.
MEMORY_MIB = 48
TIMEOUT_S = 120 + MIB
assert MEMORY_MIB * 2 <= MIB, "the database must be far larger than what memory may be used"


def run_script(command: str, environment: dict[str, str] | None = None,
               user: int | None = None) -> int:
    """Runs a pipe of programs; returns the most memory that one of them had, in MiB."""
    process = subprocess.Popen(
        ["/bin/bash", "-o", "pipefail", "-c", command], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, cwd="/", env={**os.environ, **(environment or {})},
        user=user, preexec_fn=die_with_parent)
    assert process.stdout is not None
    with process.stdout:
        output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise AssertionError(f"{command} ended with {process.returncode}:\n{output}")
    assert isinstance(used, resource.struct_rusage)
    return used.ru_maxrss // 1024


@unittest.skipUnless(shutil.which("sqlite3"), "the program sqlite3 is not installed")
class Sqlite(ServerTestCase):

    def make(self, path: Path) -> None:
        """With everything that an import in the wrong order, or with triggers on, would break."""
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            db.executescript("""
                PRAGMA journal_mode = WAL;
                PRAGMA foreign_keys = ON;
                CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent (id));
                CREATE TABLE parent (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE);
                CREATE TABLE seen (at INTEGER PRIMARY KEY, what ANY);
                CREATE TRIGGER see AFTER INSERT ON parent BEGIN
                  INSERT INTO seen (what) VALUES ('parent ' || new.id); END;
                CREATE VIEW names AS SELECT name FROM parent;
                CREATE TABLE big (id INTEGER PRIMARY KEY, body BLOB);
                CREATE INDEX big_body ON big (substr(body, 1, 8));
                """)
            db.execute("BEGIN")
            for number in range(100):
                db.execute("INSERT INTO parent (name) VALUES (?)", (f"it's \u00fc\u4e16 {number}\n",))
                db.execute("INSERT INTO child (parent) VALUES (?)", (number + 1,))
            db.execute("DELETE FROM child WHERE parent > 90")
            db.execute("DELETE FROM parent WHERE id > 90")
            for value in (None, 0.1, -1e300, 2**62, b"\0\xff", "", "NULL", float("inf")):
                db.execute("INSERT INTO seen (what) VALUES (?)", (value,))
            db.execute("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
                       f" INSERT INTO big SELECT i, randomblob({ROW_BYTES}) FROM n",
                       (MIB * 1048576 // ROW_BYTES,))
            db.execute("COMMIT")

    def hashes(self, path: Path) -> dict[str, str]:
        """Of the rows of every table, of what they are of, and of the definitions."""
        with closing(sqlite3.connect(path)) as db:
            self.assertEqual(db.execute("PRAGMA integrity_check").fetchall(), [("ok",)])
            self.assertEqual(db.execute("PRAGMA foreign_key_check").fetchall(), [])
            found = {}
            tables = [name for (name,) in db.execute(
                "SELECT name FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name")]
            for name in tables:
                order = "name" if name in ("names", "sqlite_sequence") else "rowid"
                digest = hashlib.sha256()
                for row in db.execute(f"SELECT * FROM {name} ORDER BY {order}"):
                    digest.update(repr(row).encode())
                found[name] = digest.hexdigest()
            schema = db.execute("SELECT type, name, sql FROM sqlite_schema ORDER BY 1, 2").fetchall()
            found["schema"] = repr(schema)
            return found

    def test_a_restored_database_goes_into_a_new_one(self) -> None:
        """S0-19, S0-20"""
        path = self.server.db / "shop.db"
        self.make(path)
        self.server.attach("shop", path)
        self.assert_done(self.server.backup("shop", self.server.media / "shop.bak"))
        restored = self.server.db / "restored.db"
        self.assert_done(self.server.restore(
            "restored", self.server.media / "shop.bak", options=f"MOVE 'shop' TO {quoted(restored)}"))
        older = self.server.db / "older.db"
        memory_mib = run_script(f"sqlite3 {restored} .dump | sqlite3 {older}")
        self.assertLess(memory_mib, MEMORY_MIB)
        self.assertEqual(self.hashes(older), self.hashes(path))
        with closing(sqlite3.connect(older)) as db:
            self.assertEqual(db.execute("INSERT INTO parent (name) VALUES ('next') RETURNING id")
                             .fetchone(), (101,), "numbers are not given out twice")


@unittest.skipUnless(postgres.is_installed(), "there is no PostgreSQL")
class Postgres(ServerTestCase):

    def setUp(self) -> None:
        super().setUp()
        self.workshop = Workshop()
        self.addCleanup(self.workshop.close)

    def make(self, cluster: Cluster) -> None:
        cluster.sql("""
            CREATE TABLE child (id int PRIMARY KEY, parent int);
            CREATE TABLE parent (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE,
                                 self int REFERENCES parent);
            ALTER TABLE child ADD FOREIGN KEY (parent) REFERENCES parent;
            CREATE TABLE seen (at serial PRIMARY KEY, what text, number float8, bytes bytea);
            CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS
              $$ BEGIN INSERT INTO seen (what) VALUES ('parent ' || new.id); RETURN new; END $$;
            CREATE TRIGGER see AFTER INSERT ON parent FOR EACH ROW EXECUTE FUNCTION see();
            CREATE VIEW names AS SELECT name FROM parent;
            CREATE TABLE big (id int PRIMARY KEY, body text);
            ALTER TABLE big ALTER body SET STORAGE EXTERNAL;
            """)
        cluster.sql("INSERT INTO parent (name, self) SELECT E'it''s \u00fc\u4e16\\t' || i, i"
                    " FROM generate_series(1, 100) AS i")
        cluster.sql("INSERT INTO child SELECT i, i FROM generate_series(1, 90) AS i")
        cluster.sql("DELETE FROM parent WHERE id > 90")
        cluster.sql(r"INSERT INTO seen (what, number, bytes) VALUES (NULL, 0.1, '\x00ff'),"
                    r" ('', 'NaN', ''), ('\N', '-1e300', NULL)")
        cluster.sql(f"INSERT INTO big SELECT i, repeat(md5(i::text), {ROW_BYTES // 32})"
                    f" FROM generate_series(1, {MIB * 1048576 // ROW_BYTES}) AS i")

    def hashes(self, cluster: Cluster, database: str) -> dict[str, str]:
        """Of the rows of every table, in any order, and of what is defined."""
        found = {name: cluster.value(
            f"SELECT count(*) || ' ' || coalesce(sum(hashtextextended(t::text, 0)::numeric), 0)"
            f" FROM {name} AS t", database) for name in ("child", "parent", "seen", "names", "big")}
        found["constraints"] = cluster.value(
            "SELECT string_agg(conrelid::regclass || pg_get_constraintdef(oid), ' ' ORDER BY"
            " conrelid::regclass::text, conname) FROM pg_constraint WHERE conrelid <> 0", database)
        found["triggers"] = cluster.value(
            "SELECT string_agg(pg_get_triggerdef(oid) || tgenabled::text, ' ' ORDER BY tgname)"
            " FROM pg_trigger WHERE NOT tgisinternal", database)
        return found

    def test_a_restored_cluster_goes_into_a_new_one(self) -> None:
        """S0-19, S0-20"""
        shop = self.workshop.cluster("shop")
        shop.start()
        self.make(shop)
        expected = self.hashes(shop, "postgres")
        self.server.attach("shop", shop.info(), scheme="postgresql")
        medium = self.server.media / "shop.bak"
        self.assert_done(self.server.backup("shop", medium))
        shop.stop()
        data = self.workshop.root / "restored"
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE restored FROM {disks(medium)} WITH MOVE 'shop' TO {quoted(data)}"))
        restored = self.workshop.adopt(data)
        restored.start()
        restored.wait_until_primary()
        restored.sql("CREATE DATABASE older")
        assert (folder := postgres.binaries())
        memory_mib = run_script(
            f"{folder}/pg_dump postgres | {folder}/psql -q -o /dev/null -v ON_ERROR_STOP=1 older",
            restored.environment(), postgres.account().pw_uid)
        self.assertLess(memory_mib, MEMORY_MIB)
        self.assertEqual(self.hashes(restored, "older"), expected)
        with restored.connect("older") as connection:
            self.assertEqual(connection.value(
                "INSERT INTO parent (name) VALUES ('next') RETURNING id"), "101",
                "numbers are not given out twice")


if __name__ == "__main__":
    main()
