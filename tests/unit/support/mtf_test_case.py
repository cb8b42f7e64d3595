"""What the tests of tests/support/mtf_extract.py share: media, a run of the tool, a directory."""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import mtf_extract  # noqa: E402
from mtf_builder import MediumBuilder, Stream  # noqa: E402

FIRST = bytes(range(251)) * 300
SECOND = b"the second piece, of odd length" * 5


class Result:
    """How a run of the tool ended."""

    def __init__(self, *arguments: object) -> None:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            self.status = mtf_extract.main([str(argument) for argument in arguments])
        self.out, self.err = out.getvalue(), err.getvalue()


def two_sets() -> MediumBuilder:
    """Two sets with the same two pieces each."""
    medium = MediumBuilder()
    for number in (1, 2):
        medium.begin_set(number)
        medium.directory(1, "\0")
        medium.directory(2, "sales\0")
        medium.plain_file(1, 2, "sales.mdf.000000000000", FIRST)
        medium.plain_file(2, 2, "sales.mdf.000000075300", SECOND)
        medium.end_set(number, directories=2, files=2)
    return medium


def family(family_id: int, pieces: dict[str, bytes]) -> MediumBuilder:
    """One family of a striped set."""
    medium = MediumBuilder(family_id)
    medium.begin_set(1)
    medium.directory(1, "\0")
    for identity, (name, data) in enumerate(pieces.items(), start=1):
        medium.plain_file(identity, 1, name, data)
    medium.end_set(1, directories=1, files=len(pieces))
    return medium


def one_file(streams: list[Stream], size: int, *, compression: int = 0, attributes: int = 0,
             name: str = "f", type_attributes: int = 0) -> MediumBuilder:
    """A set with a single FILE made of the given streams."""
    medium = MediumBuilder()
    medium.begin_set(1, attributes, compression)
    medium.directory(1, "\0", attributes)
    medium.file(1, 1, name, streams, size, attributes, type_attributes)
    medium.end_set(1, directories=1, files=1, attributes=attributes)
    return medium


class MtfTest(unittest.TestCase):
    """Gives each test a directory, and writes media into it."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.directory = Path(holder.name)

    def write(self, data: bytes, name: str = "medium.mtf") -> Path:
        path = self.directory / name
        path.write_bytes(data)
        return path

    def expect_failure(self, data: bytes, block: str, offset: int, reason: str) -> None:
        result = Result(self.write(data), "--verify")
        self.assertEqual(result.status, 1, result.out)
        self.assertEqual(result.err.count("\n"), 1, result.err)
        self.assertIn(f"{block} at byte {offset}: ", result.err)
        self.assertIn(reason, result.err)
