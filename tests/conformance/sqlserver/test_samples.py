"""Real media of SQL Server: what the server lists of them, against an independent reading of every
byte, and against one another.

    python3 test_samples.py --bin build/release/bin --samples DIRECTORY

Exit status 77, which CTest takes for "skipped", if there is no such directory.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from sqlserver import reading  # noqa: E402

OPTIONS = argparse.Namespace(bin=None, samples=None)
SKIPPED = 77
MEDIA_PASSWORD = "dbatools"  # of the one medium that has one
# Not on the medium, or of the statement.
NOT_READ = {"DeviceType", "Collation", "Containment", "KeyAlgorithm", "EncryptorThumbprint",
            "EncryptorType", "LastValidRestoreTime", "CompressionAlgorithm", "LogGroupGUID",
            "IsReadOnly", "IsPresent", "TDEThumbprint", "SnapshotUrl"}


def as_text(value) -> str | None:
    return None if value is None else str(value)


class SampleTestCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.paths = sorted(p for p in Path(OPTIONS.samples).rglob("*")
                           if p.suffix.lower() in (".bak", ".trn"))
        output = subprocess.run([Path(OPTIONS.bin) / "sqlserver_media_probe", MEDIA_PASSWORD, *cls.paths],
                                check=True, capture_output=True, text=True, timeout=300).stdout
        cls.said = {line["file"]: line for line in map(json.loads, output.splitlines())}
        cls.read = {str(path): reading.read(str(path)) for path in cls.paths}

    def each(self):
        self.assertTrue(self.paths, "no sample at all")
        for path in map(str, self.paths):
            self.assertNotIn("error", self.said[path])
            yield self.said[path], self.read[path]


class Samples(SampleTestCase):
    """The listings of every sample, read twice."""

    def compare(self, said: dict, read: dict):
        known = {name for name in said if name in read or name not in NOT_READ}
        self.assertEqual(known, {name for name in read if not name.startswith("_")})
        for name in known:
            self.assertEqual(said[name], as_text(read[name]), name)

    def test_label_is_what_the_medium_says(self):
        for said, read in self.each():
            self.compare(said["label"][0], read["label"])

    def test_headers_are_what_the_medium_says(self):
        for said, read in self.each():
            self.assertEqual(len(said["headers"]), len(read["sets"]))
            for row, of_set in zip(said["headers"], read["sets"]):
                self.compare(row, of_set["header"])

    def test_files_are_what_the_medium_says(self):
        for said, read in self.each():
            self.assertEqual(len(said["files"]), len(read["sets"]))
            for rows, of_set in zip(said["files"], read["sets"]):
                self.assertEqual(len(rows), len(of_set["files"]))
                for row, of_file in zip(rows, of_set["files"]):
                    self.compare(row, of_file)

    def test_a_listing_reads_a_few_blocks(self):
        for said, _ in self.each():
            self.assertLess(said["bytes_read"], 256 << 10)

    def test_verification_finds_nothing_wrong(self):
        for said, _ in self.each():
            self.assertEqual(said["verified"], "", said["file"])


class Proofs(SampleTestCase):
    """What sets say of one another."""

    def sets(self):
        return [(path, of_set["header"], of_set["files"])
                for path, read in self.read.items() for of_set in read["sets"]]

    def fulls(self):
        return {row["BackupSetGUID"]: row for _, row, _ in self.sets() if row["BackupType"] == 1}

    def test_logs_and_differentials_name_the_checkpoint_of_their_full_backup(self):
        proven = 0
        for path, row, _ in self.sets():
            full = self.fulls().get(row["_last_full_guid"])
            if row["BackupType"] != 1 and full is not None:
                self.assertEqual(row["DatabaseBackupLSN"], full["CheckpointLSN"], path)
                proven += 1
        self.assertGreater(proven, 0)

    def test_differentials_name_their_base(self):
        proven = 0
        for path, row, _ in self.sets():
            full = self.fulls().get(row["DifferentialBaseGUID"])
            if row["BackupType"] == 5 and full is not None:
                self.assertEqual(row["DifferentialBaseLSN"], full["CheckpointLSN"], path)
                proven += 1
        self.assertGreater(proven, 0)

    def test_stripes_say_the_same_of_their_set(self):
        by_guid: dict = {}
        for path, row, files in self.sets():
            by_guid.setdefault(row["BackupSetGUID"], []).append((path, row, files))
        striped = [parts for parts in by_guid.values() if len(parts) > 1]
        self.assertTrue(striped)
        for parts in striped:
            labels = [self.read[path]["label"] for path, _, _ in parts]
            self.assertEqual(len({label["MediaSetId"] for label in labels}), 1)
            self.assertEqual(sorted(label["FamilySequenceNumber"] for label in labels),
                             list(range(1, labels[0]["FamilyCount"] + 1)))
            self.assertEqual(len({label["MediaFamilyId"] for label in labels}), len(labels))
            for _, row, files in parts[1:]:
                self.assertEqual((row, files), parts[0][1:])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bin", required=True)
    parser.add_argument("--samples", default=os.environ.get("CAPSTAN_SQLSERVER_SAMPLES"))
    options, rest = parser.parse_known_args()
    vars(OPTIONS).update(vars(options))
    if not OPTIONS.samples or not Path(OPTIONS.samples).is_dir():
        print(f"skipped: no media of SQL Server at '{OPTIONS.samples}' "
              "(CAPSTAN_SQLSERVER_SAMPLES, --samples)")
        return SKIPPED
    return 0 if unittest.main(argv=[sys.argv[0], *rest], exit=False).result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main())
