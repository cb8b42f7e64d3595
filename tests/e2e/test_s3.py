"""Media in an S3 server, through the whole product: BACKUP and RESTORE with URL = 's3://...'.

The S3 server is one in memory (tests/support/s3/memory_server.py), and for one short test a real one,
Debian's Swift, which is skipped where it is not installed. With CAPSTAN_S3_SERVER=swift in the
environment all tests are against Swift: the long form.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
import unittest

from harness import (CapstanServer, Outcome, ServerTestCase, content_of, finish, main, program_of,
                     quoted, wait_for)
from s3.memory_server import MemoryS3
from s3.server import ACCESS_KEY, BUCKET, SECRET_KEY, S3Server, is_installed

BIG = 40 << 20
SLOWLY = "BUFFERCOUNT = 2, MAXTRANSFERSIZE = 65536"
NAMES = ("CAPSTAN_S3_CONFIG", "CAPSTAN_CREDENTIALS", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


def urls(*names: str) -> str:
    return ", ".join(f"URL = {quoted(f's3://{BUCKET}/{name}')}" for name in names)


LONG_FORM = os.environ.get("CAPSTAN_S3_SERVER") == "swift"


class S3TestCase(ServerTestCase):
    """A server with the S3 agent beside the disk agent, and one S3 server for the class."""

    s3: MemoryS3 | S3Server
    make_s3: type = S3Server if LONG_FORM else MemoryS3
    plugin_settings: dict[str, object] = {}

    @classmethod
    def setUpClass(cls) -> None:
        cls.s3 = cls.make_s3()
        cls.addClassCleanup(cls.s3.stop)

    def setUp(self) -> None:
        before = {name: os.environ.pop(name, None) for name in NAMES}
        self.addCleanup(lambda: os.environ.update(
            {name: value for name, value in before.items() if value is not None}))
        os.environ.update(self.s3.environment(**self.plugin_settings))
        self.server = CapstanServer(
            start=False, agent=[{"name": "disk", "plugin": "disk"}, {"name": "s3", "plugin": "s3"}])
        self.addCleanup(self._close)
        self.server.start()
        self.agent_pid()
        self.name = f"{self.id().rpartition('.')[2]}.bak"  # of the medium

    def agent_pid(self) -> int:
        def attached() -> list[int]:
            rows = self.server.query("SELECT agent_name, pid FROM sys.dm_backup_agents"
                                     " WHERE attached_at IS NOT NULL")
            return [int(str(row["pid"])) for row in rows if row["agent_name"] == "s3"
                    and program_of(int(str(row["pid"]))) == "capstan-agent"]
        return wait_for(attached, "the S3 agent")[0]  # type: ignore[index]

    def backup(self, *names: str, options: str = "", database: str = "source") -> Outcome:
        return self.server.exec(f"BACKUP DATABASE {database} TO {urls(*names)}"
                                + (f" WITH {options}" if options else ""))

    def restore(self, *names: str, options: str = "") -> str:
        """Restores to a new database, and returns its content."""
        target = self.server.db / f"restored-{time.monotonic_ns()}.db"
        options = f", {options}" if options else ""
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE {target.stem.replace('-', '_')} FROM {urls(*names)}"
            f" WITH MOVE 'source' TO {quoted(target)}{options}"))
        return content_of(target)

    def positions(self, name: str) -> list[object]:
        return [row["Position"]
                for row in self.server.query(f"RESTORE HEADERONLY FROM {urls(name)}")]

    def unsettled(self) -> list[str]:
        """Notes and uploads: what nobody has completed or undone."""
        return [key for key in self.s3.client.keys(BUCKET) if ".capstan-writing/" in key
                ] + self.s3.client.uploads(BUCKET)


class Media(S3TestCase):
    def test_backup_append_list_restore(self) -> None:
        source = self.server.next_database(size=20 << 20)
        first = content_of(source)
        self.assert_done(self.backup(self.name, options="FORMAT, CHECKSUM"))
        subprocess.run(["sqlite3", source, "INSERT INTO item VALUES (1000000, 'later', 'x')"],
                       check=True)
        second = content_of(source)
        self.assert_done(self.backup(self.name, options="CHECKSUM"))

        self.assertEqual(self.positions(self.name), [1, 2])
        label = self.server.query(f"RESTORE LABELONLY FROM {urls(self.name)}")
        self.assertEqual([row["FamilyCount"] for row in label], [1])
        self.assert_done(self.server.exec(f"RESTORE VERIFYONLY FROM {urls(self.name)}"))
        self.assertEqual(self.restore(self.name, options="FILE = 1"), first)
        self.assertEqual(self.restore(self.name, options="FILE = 2"), second)
        # Nothing was written twice: the first set's object is as it was, the second has its own.
        keys = self.s3.client.keys(BUCKET, self.name)
        self.assertEqual(len(keys), 2, keys)
        self.assertEqual(self.unsettled(), [])

        self.assert_done(self.backup(self.name, options="FORMAT"))
        self.assertEqual(self.positions(self.name), [1])
        self.assertEqual(self.s3.client.keys(BUCKET, self.name), [self.name])
        rows = self.server.query("SELECT device_type, physical_device_name"
                                 " FROM msdb.dbo.backupmediafamily")
        self.assertEqual({(row["device_type"], row["physical_device_name"]) for row in rows},
                         {(9, f"s3://{BUCKET}/{self.name}")})

    def test_stripes_and_compression(self) -> None:
        source = self.server.next_database(size=24 << 20)
        names = (f"1-{self.name}", f"2-{self.name}")
        self.assert_done(self.backup(*names, options="FORMAT, COMPRESSION"))

        self.assertEqual(self.restore(*reversed(names)), content_of(source))
        self.assertEqual(self.unsettled(), [])


@unittest.skipUnless(is_installed(), "Swift is not installed; tools/setup does that")
class RealServer(S3TestCase):
    make_s3 = S3Server

    def test_backup_append_restore(self) -> None:
        source = self.server.next_database(size=12 << 20)
        self.assert_done(self.backup(self.name, options="FORMAT, CHECKSUM"))
        self.assert_done(self.backup(self.name, options="CHECKSUM"))

        self.assertEqual(self.restore(self.name, options="FILE = 2"), content_of(source))
        self.assertEqual(len(self.s3.client.keys(BUCKET, self.name)), 2)
        self.assertEqual(self.unsettled(), [])


class Refusals(S3TestCase):
    def test_servers_own_words(self) -> None:
        self.server.next_database()
        missing = self.server.exec(
            "BACKUP DATABASE source TO URL = 's3://no-such-bucket/a.bak' WITH FORMAT")
        self.assert_error(missing, 3201, "s3://no-such-bucket/a.bak", "NoSuchBucket",
                          "create bucket 'no-such-bucket' first")
        self.assert_error(self.server.exec(f"RESTORE HEADERONLY FROM {urls('none.bak')}"), 3201,
                          f"s3://{BUCKET}/none.bak", terminated="RESTORE HEADERONLY")

        os.environ["AWS_SECRET_ACCESS_KEY"] = "wrong"
        self.server.terminate()
        self.server.start()
        self.agent_pid()
        refused = self.backup(self.name, options="FORMAT")
        self.assert_error(refused, 3201, "SignatureDoesNotMatch",
                          f"check the credential for s3://{BUCKET}")
        self.assertLess(refused.seconds, 10)


class Credentials(S3TestCase):
    def test_keys_from_a_statement(self) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            del os.environ[name]
        self.server.terminate()
        self.server.start()
        self.agent_pid()
        self.server.next_database()
        self.assert_error(self.backup(self.name, options="FORMAT"), 3201,
                          f"CREATE CREDENTIAL [s3://{BUCKET}]")

        self.assert_done(self.server.exec(
            f"CREATE CREDENTIAL [s3://{BUCKET}] WITH IDENTITY = 'S3 Access Key',"
            f" SECRET = '{ACCESS_KEY}:{SECRET_KEY}'"))
        self.assert_done(self.backup(self.name, options="FORMAT"))

        self.assert_done(self.server.exec(
            f"ALTER CREDENTIAL [s3://{BUCKET}] WITH IDENTITY = 'S3 Access Key',"
            f" SECRET = '{ACCESS_KEY}:wrong'"))
        self.assert_error(self.backup(self.name, options="FORMAT"), 3201, "SignatureDoesNotMatch")
        self.assert_done(self.server.exec(f"DROP CREDENTIAL [s3://{BUCKET}]"))
        for log in (self.server.errorlog, self.server.console, self.server.data / "catalog.db"):
            self.assertNotIn(SECRET_KEY.encode(), log.read_bytes(), log)


class Faults(S3TestCase):
    plugin_settings = {"stall_s": 2, "retry_for_s": 15}

    def setUp(self) -> None:
        super().setUp()
        self.source = self.server.next_database(size=BIG)
        self.small = self.server.next_database(name="small")
        self.assert_done(self.backup(self.name, options="FORMAT", database="small"))
        self.sets = self.server.backup_sets()

    def backup_in_the_middle(self, options: str) -> tuple[subprocess.Popen[str], float]:
        begin = time.monotonic()
        cli = self.server.popen(
            "exec", f"BACKUP DATABASE source TO {urls(self.name)} WITH {options}{SLOWLY}")
        wait_for(lambda: self.s3.client.uploads(BUCKET) or cli.poll() is not None, "an upload",
                 interval_s=0)
        return cli, begin

    def check_undone(self) -> None:
        wait_for(lambda: not self.unsettled() and not self.server.journal(),
                 "the settling of the interrupted backup")
        self.assertEqual(self.server.backup_sets(), self.sets)
        self.assertEqual(self.positions(self.name), [1])
        self.assertEqual(len(self.s3.client.keys(BUCKET, self.name)), 1)
        self.assert_done(self.backup(self.name, database="small"))
        self.assertEqual(self.positions(self.name), [1, 2])

    def test_killed_agent(self) -> None:
        for options in ("", "FORMAT, "):  # appending and replacing
            with self.subTest(options):
                cli, begin = self.backup_in_the_middle(options)
                os.kill(self.agent_pid(), signal.SIGKILL)
                self.assert_error(finish(cli, begin), 3202, self.name)
                self.check_undone()
                self.assert_done(self.backup(self.name, options="FORMAT", database="small"))
                self.sets = self.server.backup_sets()

    def test_killed_server(self) -> None:
        cli, begin = self.backup_in_the_middle("")
        self.server.kill()
        finish(cli, begin)
        self.server.start()
        self.agent_pid()
        self.check_undone()

    def test_outage(self) -> None:
        """The S3 server is gone for a while: the backup waits for it."""
        cli, begin = self.backup_in_the_middle("")
        self.s3.kill()
        time.sleep(1)  # how long the outage lasts
        self.s3.start()
        self.assert_done(finish(cli, begin))
        self.assertEqual(self.restore(self.name, options="FILE = 2"), content_of(self.source))


if __name__ == "__main__":
    main()
