"""What a vendor does, from the installed header to a restored database.

Everything is taken from a temporary prefix: the header that the example is compiled against,
plugin-check, and the server that carries jobs out through it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from harness import (CapstanServer, Outcome, Programs, ServerTestCase, content_of, main, program_of,
                     quoted, wait_for)

TIMEOUT_S = 120


def run(*command: object, **environment: str) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True,
                          timeout=TIMEOUT_S, check=False, env={**os.environ, **environment})
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class VendorPlugin(ServerTestCase):
    """Two URL plugins share one class of devices: the scheme of a name says which it is."""

    work: Path
    check: Path
    plugin: Path

    @classmethod
    def setUpClass(cls) -> None:
        cls.work = Path(tempfile.mkdtemp(prefix="capstan-vendor-", dir="/tmp"))
        cls.addClassCleanup(shutil.rmtree, cls.work)
        root = cls.work / "root"
        run("cmake", "--install", os.environ["CAPSTAN_BUILD_DIR"], DESTDIR=str(root))
        cls.check, = root.glob("**/bin/plugin-check")
        example, = root.glob("**/example-plugin")
        # Outside the tree, as somebody who has nothing but what was installed.
        shutil.copytree(example, cls.work / "example")
        run("cmake", "-S", cls.work / "example", "-B", cls.work / "build",
            f"-DCMAKE_PREFIX_PATH={cls.check.parents[1]}", "-DCMAKE_C_FLAGS=-Werror")
        run("cmake", "--build", cls.work / "build")
        cls.plugin = cls.work / "build" / "cas.so"

    def setUp(self) -> None:
        self.server = CapstanServer(
            start=False, agent=[{"name": "disk", "plugin": "disk"}, {"name": "s3", "plugin": "s3"},
                                {"name": "vendor", "plugin": str(self.plugin)}])
        self.addCleanup(self._close)
        self.server.start()

        def attached() -> bool:
            rows = self.server.query("SELECT * FROM sys.dm_backup_agents")
            return all(row["state"] == "Idle" and program_of(int(str(row["pid"])))
                       for row in rows) and len(rows) == 3
        wait_for(attached, "the agents")
        self.store = self.server.media / "store"
        self.store.mkdir()

    def url(self, name: str) -> str:
        return f"URL = {quoted(f'cas://{self.store}/{name}')}"

    def backup(self, name: str, options: str = "FORMAT") -> Outcome:
        return self.server.exec(f"BACKUP DATABASE source TO {self.url(name)} WITH {options}")

    def restored(self, name: str, number: int) -> str:
        target = self.server.db / f"restored{number}.db"
        self.assert_done(self.server.exec(
            f"RESTORE DATABASE {target.stem} FROM {self.url(name)}"
            f" WITH FILE = {number}, MOVE 'source' TO {quoted(target)}"))
        return content_of(target)

    def test_example_keeps_every_promise(self) -> None:
        report = json.loads(run(self.check, self.plugin, f"cas://{self.store}/medium", "--json"))
        broken = [clause for clause in report["clauses"]
                  if clause["verdict"] in ("FAILED", "unjudged")]
        self.assertEqual(broken, [])
        self.assertGreater(report["kept"], 35)
        left = [path for path in self.store.rglob("*") if path.is_file()]
        self.assertEqual([path.name for path in left], ["lock"])

    def test_backs_up_and_restores(self) -> None:
        source = self.server.next_database(size=6 << 20)
        content = content_of(source)
        self.assert_done(self.backup("a"))
        self.assert_done(self.backup("a", "NOINIT"))
        self.assert_done(self.server.exec(f"RESTORE VERIFYONLY FROM {self.url('a')}"))
        self.assertEqual(self.restored("a", 1), content)
        self.assertEqual(self.restored("a", 2), content)

        self.assert_done(self.backup("b"))
        # The same database once more: chunks that differ are few, if any.
        self.assertEqual({path.name for path in (self.store / "media").iterdir()}, {"a", "b"})
        self.assertEqual(list((self.store / "building").iterdir()), [])

    def test_a_broken_chunk_is_told(self) -> None:
        self.server.next_database(size=4 << 20)
        self.assert_done(self.backup("a"))
        chunks = sorted(path for path in (self.store / "chunks").rglob("*") if path.is_file())
        chunks[len(chunks) // 2].write_bytes(b"x" * 65536)
        outcome = self.server.exec(f"RESTORE VERIFYONLY FROM {self.url('a')}")
        self.assertEqual(outcome.exit_code, 1, outcome.describe())
        self.assertIn("a", outcome.messages[0].text)

    def test_a_scheme_that_nobody_serves_is_named(self) -> None:
        self.server.next_database()
        outcome = self.server.exec("BACKUP DATABASE source TO URL = 'gs://bucket/a'")
        message = self.assert_error(outcome, 65001, "gs://")
        self.assertRegex(message.hint, re.escape("--plugin"))


if __name__ == "__main__":
    main()
