#!/usr/bin/env python3
"""install_test.py BUILD_DIR PREFIX: what `cmake --install` puts in place works from there.

Installs below a temporary DESTDIR, so that nothing can be found by a path of the build.
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
import unittest
from contextlib import closing
from pathlib import Path

TIMEOUT_S = 60
SOURCE_DIR = Path(__file__).resolve().parents[3]
BUILD_DIR = Path()
PREFIX = Path()


def run(*command: str | Path, **options) -> str:
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT_S, **options
    )
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


class InstalledTree(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls._directory = tempfile.TemporaryDirectory(prefix="capstan-install-")
        cls.addClassCleanup(cls._directory.cleanup)
        cls.work = Path(cls._directory.name)
        cls.destination = cls.work / "root"
        cls.install()
        cls.tree = cls.in_destination(PREFIX)

    @classmethod
    def install(cls) -> None:
        environment = {**os.environ, "DESTDIR": str(cls.destination)}
        run("cmake", "--install", BUILD_DIR, env=environment)

    @classmethod
    def in_destination(cls, path: Path) -> Path:
        return cls.destination / path.relative_to("/")

    def configuration(self) -> Path:
        return next(self.destination.glob("**/etc/capstan/capstand.toml"))

    def test_every_program_names_its_version(self) -> None:
        for program in ("capstand", "capstan", "sqlcmd", "capstan-agent", "plugin-check"):
            with self.subTest(program):
                self.assertRegex(run(self.tree / "bin" / program, "--version"), r"\d+\.\d+\.\d+")

    def test_documents_are_there(self) -> None:
        documents = [name for name in ("README.md", "LICENSE") if (SOURCE_DIR / name).exists()]

        installed = [path.name for path in (self.tree / "share/doc/capstan").iterdir()]

        self.assertIn("LICENSE", installed)
        self.assertCountEqual(installed, [*documents, "vdi-porting.md", "example-plugin"])

    def test_plugin_header_compiles_alone_as_c(self) -> None:
        run(
            "cc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
            "-I", self.tree / "include", "-x", "c", "-",
            input="#include <capstan/plugin.h>\nint unused;\n",
        )

    def test_classic_headers_compile_alone_and_their_library_is_there(self) -> None:
        run(
            "c++", "-std=c++11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-fsyntax-only",
            "-I", self.tree / "include" / "capstan-vdi", "-x", "c++", "-",
            input="#include <vdi.h>\n#include <vdierror.h>\n#include <vdicompletion.h>\n"
                  "ClientVirtualDeviceSet set;\n",
        )
        self.assertEqual(len(list(self.tree.glob("lib/**/libsqlvdi.so"))), 1)

    def test_service_starts_what_was_installed(self) -> None:
        unit = (self.tree / "lib/systemd/system/capstand.service").read_text()

        self.assertNotIn("@CMAKE", unit)
        self.assertNotIn("@CAPSTAN", unit)
        command = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
        program, *arguments = command.removeprefix("ExecStart=").split()
        self.assertTrue(os.access(self.in_destination(Path(program)), os.X_OK))
        named = arguments[arguments.index("--config") + 1]
        self.assertEqual(self.in_destination(Path(named)), self.configuration())

    def test_installing_again_keeps_the_configuration(self) -> None:
        edited = "# edited\n" + self.configuration().read_text()
        self.configuration().write_text(edited)

        self.install()

        self.assertEqual(self.configuration().read_text(), edited)

    def test_backs_up_and_restores(self) -> None:
        with closing(sqlite3.connect(self.work / "shop.db", isolation_level=None)) as shop:
            shop.execute("PRAGMA journal_mode = WAL")
            shop.execute("CREATE TABLE sale(sale_id INTEGER PRIMARY KEY, cents INTEGER)")
            shop.executemany("INSERT INTO sale(cents) VALUES (?)", [(n,) for n in range(1000)])
            with self.started_server() as server:
                self.capstan("database", "add", "shop", f"sqlite:{self.work}/shop.db")
                self.capstan("backup", "shop", "--to", f"{self.work}/shop.bak")
                self.capstan("restore", "copy", "--from", f"{self.work}/shop.bak",
                             "--to", f"{self.work}/copy.db")
                server.terminate()
                self.assertEqual(server.wait(TIMEOUT_S), 0)

        with closing(sqlite3.connect(self.work / "copy.db")) as copy:
            self.assertEqual(copy.execute("PRAGMA integrity_check").fetchone(), ("ok",))
            self.assertEqual(
                copy.execute("SELECT count(*), sum(cents) FROM sale").fetchone(), (1000, 499_500)
            )

    def started_server(self) -> subprocess.Popen:
        log = open(self.work / "capstand.log", "wb")
        self.addCleanup(log.close)
        server = subprocess.Popen(
            [
                self.tree / "bin/capstand", "--config", self.configuration(),
                "--data-dir", self.work / "data", "--socket", self.work / "capstand.sock",
            ],
            stdout=subprocess.PIPE, stderr=log, text=True,
        )
        self.addCleanup(lambda: server.poll() is None and server.kill())
        self.assertIn("is ready", server.stdout.readline())
        return server

    def capstan(self, *arguments: str) -> str:
        return run(
            self.tree / "bin/capstan", "--server", f"unix:{self.work}/capstand.sock", *arguments
        )


if __name__ == "__main__":
    BUILD_DIR, PREFIX = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    unittest.main(argv=sys.argv[:1])
