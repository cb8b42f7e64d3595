#!/usr/bin/env python3
"""Every liar is caught for its own lie and for nothing else, and who is honest for nothing at all."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# Who lies, and the clauses of plugin-check that find it.
LIES = {
    "honest": [],
    "begins_anew": ["resume-goes-on"],
    "changes_buffer": ["write-buffer-unchanged"],
    "changes_umask": ["global-state"],
    "completes_twice": ["completes-once"],
    "eager_thread": ["no-idle-threads"],
    "flushes_early": ["flushed-survives-kill", "resume-goes-on"],
    "keeps_tail": ["resume-ends-medium"],
    "leaks": ["nothing-accumulates"],
    "never_completes": ["completes-once"],
    "never_syncs": ["flush-reaches-disk"],
    "prints": ["never-prints"],
    "reorders": ["scattered-writes"],
    "shares_partial": ["resume-second-writer"],
    "touches_buffer": ["buffer-after-completion"],
    "truncates_positions": ["far-position"],
    "writes_short": ["whole-transfers"],
    # Media that end with their process: everything that needs a second one.
    "memory_medium": ["flushed-survives-kill", "completed-survives-kill", "kept-is-committed",
                      "kept-is-discarded", "append-kept", "resume-goes-on"],
}
# What the evidence must say, where two liars meet in one clause.
EVIDENCE = {
    "completes_twice": "was completed 2 times",
    "never_completes": "FLUSH was never completed",
    "leaks": "50 descriptors",
    "touches_buffer": "SIGSEGV",
    "changes_buffer": "SIGSEGV",
    "prints": "'medium complete'",
}
# What needs a file system that can tell what it has not written yet. All else is judged in memory,
# where nobody waits for a disk.
ON_DISK = ["flush-reaches-disk", "complete-reaches-disk"]
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
SEGMENTATION_FAULT = "signal 11"
PATIENCE_S = 2.0  # only a request that is never completed waits for it

settings: argparse.Namespace


class Liars(unittest.TestCase):
    def judge(self, name: str, folder: str, *only: str) -> tuple[int, dict]:
        Path(folder, name).mkdir()
        done = subprocess.run(
            [settings.check, settings.liars / f"{name}.so", f"{folder}/{name}/medium",
             "--patience", str(PATIENCE_S), "--json",
             *(argument for clause in only for argument in ("--only", clause))],
            capture_output=True, text=True, timeout=120, check=False)
        self.assertIn(done.returncode, (0, 1), done.stderr)
        return done.returncode, json.loads(done.stdout)

    def check(self, name: str, status: int, report: dict) -> None:
        verdicts = {clause["clause"]: clause for clause in report["clauses"]}
        expected = LIES[name]
        failed = [clause for clause, one in verdicts.items()
                  if one["verdict"] in ("FAILED", "unjudged")]
        self.assertCountEqual(failed, expected, json.dumps([verdicts[c] for c in failed], indent=1))
        self.assertEqual(status, 1 if expected else 0)
        if name in EVIDENCE:
            wanted = EVIDENCE[name].replace("SIGSEGV", SEGMENTATION_FAULT)
            self.assertIn(wanted, verdicts[expected[0]]["evidence"])

    def test_each_is_caught_for_its_own_lie(self) -> None:
        with (tempfile.TemporaryDirectory(prefix="capstan-liars-", dir=MEMORY) as memory,
              ThreadPoolExecutor(4) as pool):
            judged = {name: pool.submit(self.judge, name, memory) for name in LIES
                      if LIES[name] != ["flush-reaches-disk"]}
            for name, result in judged.items():
                with self.subTest(name):
                    self.check(name, *result.result())

    def test_who_does_not_sync_is_caught_where_the_kernel_can_tell(self) -> None:
        with tempfile.TemporaryDirectory(prefix="capstan-liars-") as disk:
            status, report = self.judge("honest", disk, *ON_DISK)
            if report["skipped"]:
                self.skipTest(report["clauses"][0]["evidence"])
            self.check("honest", status, report)
            self.check("never_syncs", *self.judge("never_syncs", disk, *ON_DISK))

    def test_every_library_is_judged(self) -> None:
        self.assertEqual({path.stem for path in settings.liars.glob("*.so")}, set(LIES))

    def test_wrong_use_is_no_verdict(self) -> None:
        for arguments in (["/nowhere.so", "/tmp/x"], [__file__, "/tmp/x"], ["--only", "no-such"],
                          [settings.liars / "honest.so"],
                          [settings.liars / "honest.so", "/tmp/x", "--option", "novalue"]):
            with self.subTest(arguments):
                done = subprocess.run([settings.check, *arguments], capture_output=True, text=True,
                                      timeout=60, check=False)
                self.assertEqual(done.returncode, 2, done.stdout)
                self.assertNotEqual(done.stderr, "")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--check", type=Path, required=True)
    parser.add_argument("--liars", type=Path, required=True)
    settings, rest = parser.parse_known_args()
    unittest.main(argv=[sys.argv[0], *rest], verbosity=2)
