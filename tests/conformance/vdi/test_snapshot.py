"""Snapshot backups: the client copies the files while the server keeps the database frozen (VDI
specification, "Snapshot backups")."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from vendor import (Client, Ended, VendorTestCase, check_prefix, committing, content_of, main,
                    wait_for)

FROZEN = "I/O is frozen on database "
RESUMED = "I/O was resumed on database "


class Snapshot(VendorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=4 << 20)

    def start_snapshot(self, way: str, *arguments: object, database: str = "source",
                       path: Path | None = None) -> Client:
        path = path or self.source
        folder = self.server.media / f"{database}-snapshot"
        folder.mkdir(exist_ok=True)
        return self.start("snapshot_client", f"--{way}", database, "--metadata",
                          self.server.media / f"{database}.metadata", "--snapshot", folder,
                          "--file", path, "--file", f"{path}-wal", *arguments)

    def take(self, *arguments: object) -> Ended:
        return self.assert_transferred(self.start_snapshot("backup", *arguments).wait(), "BACKUP")

    def mount(self) -> Ended:
        return self.assert_transferred(self.start_snapshot("restore").wait(), "RESTORE")

    def assert_writable(self) -> None:
        """Nothing holds the database any more."""
        with closing(sqlite3.connect(self.source, timeout=5)) as db:
            db.execute("CREATE TABLE still_writable (x)")
            db.commit()

    def test_round_trip(self) -> None:
        before = content_of(self.source)
        ended = self.take()
        for line in ("Step prepare: done\n", "Step snapshot: done\n"):
            self.assertIn(line, ended.text)
        log = self.server.errorlog.read_text(encoding="utf-8", errors="replace")
        self.assertIn(f"{FROZEN}source.", log)
        self.assertIn(f"{RESUMED}source.", log)
        self.spoil(self.source)
        self.assertIn("Step mount: done\n", self.mount().text)
        self.assertEqual(content_of(self.source), before)

    def test_only_metadata_passes_through_the_device(self) -> None:
        self.take()
        metadata = self.server.media / "source.metadata"
        self.assertLess(metadata.stat().st_size, 1 << 20)
        self.assertGreater(metadata.stat().st_size, 0)

    def test_while_an_application_commits(self) -> None:
        path = self.server.db / "live.db"
        with committing(path, "wal") as writer:
            self.server.attach("live", path)
            first = wait_for(writer.committed, "the first commit")
            ended = self.start_snapshot("backup", database="live", path=path).wait()
            self.assert_transferred(ended, "BACKUP")
            last = writer.committed()
        copy = self.server.media / "live-snapshot"
        (copy / "1").rename(copy / "copy.db")
        if (copy / "2").exists():
            (copy / "2").rename(copy / "copy.db-wal")
        rows = check_prefix(copy / "copy.db")
        self.assertLessEqual(int(str(first)), rows)
        self.assertLessEqual(rows, last)

    def test_client_declines_to_freeze(self) -> None:
        ended = self.start_snapshot("backup", "--decline", "prepare").wait()
        self.assertEqual(ended.numbers[-1:], [3013], ended.describe())
        self.assertIn("995(", ended.text)
        self.assertNotIn("Step snapshot", ended.text)
        self.assert_nothing_new()
        self.assert_writable()

    def test_client_declines_the_snapshot(self) -> None:
        ended = self.start_snapshot("backup", "--decline", "snapshot").wait()
        self.assertEqual(ended.numbers[-1:], [3013], ended.describe())
        self.assertIn("995(", ended.text)
        self.assert_nothing_new()
        self.assert_writable()

    def test_client_cannot_mount(self) -> None:
        self.take()
        ended = self.start_snapshot("restore", "--decline", "mount").wait()
        self.assertEqual(ended.numbers[-1:], [3013], ended.describe())
        self.assertEqual(ended.exit_code, 1)

    def test_client_dies_while_the_database_is_frozen(self) -> None:
        """It thaws: an application never waits for a dead client."""
        go = self.server.root / "go"
        client = self.start_snapshot("backup", "--hold", "snapshot", "--until", go)
        client.wait_for_text("Holding snapshot\n")
        client.kill()
        self.assert_writable()
        client.wait()
        self.assert_nothing_new()
        log = self.server.errorlog.read_text(encoding="utf-8", errors="replace")
        self.assertIn(f"{RESUMED}source.", log)

    def test_several_databases_on_one_volume(self) -> None:
        """None is frozen before all are prepared: each client holds its command until then."""
        go = self.server.root / "go"
        other = self.server.next_database(name="other")
        clients = [self.start_snapshot("backup", "--hold", "prepare", "--until", go),
                   self.start_snapshot("backup", "--hold", "prepare", "--until", go,
                                       database="other", path=other)]
        for client in clients:
            client.wait_for_text("Holding prepare\n")
        log = self.server.errorlog.read_text(encoding="utf-8", errors="replace")
        self.assertNotIn(FROZEN, log)
        go.touch()
        for client in clients:
            self.assert_transferred(client.wait(), "BACKUP")

    def test_one_device_only(self) -> None:
        client = self.start("threads_client", "--backup", "source", "--file",
                            self.server.media / "p", "--name", "n", "--send", "no")
        client.wait_for_text("Created\n")
        outcome = self.server.exec("BACKUP DATABASE source TO VIRTUAL_DEVICE = 'n',"
                                   " VIRTUAL_DEVICE = 'n2' WITH SNAPSHOT")
        self.assert_error(outcome, 3277)
        client.kill()
        client.wait()

    def test_restore_of_an_ordinary_backup(self) -> None:
        """3276: the set was not made by a snapshot."""
        file = self.server.media / "source.metadata"
        self.assert_piped(self.pipe("B", "source", file).wait(), "BACKUP")
        ended = self.start_snapshot("restore").wait()
        self.assert_failed(ended, 3276, statement="RESTORE")
        self.assertNotIn("Step mount", ended.text)


if __name__ == "__main__":
    main()
