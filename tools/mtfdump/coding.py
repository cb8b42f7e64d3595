"""Compressed and encrypted payloads (format.md, section 6)."""

from __future__ import annotations

import struct
import subprocess
import threading
from collections.abc import Iterator
from shutil import which

from mtfdump.encodings import Stream, xor_words
from mtfdump.layout import Image

HEADER_SIZE = 24
TAG_SIZE = 16
_ENCRYPTED, _COMPRESSED = 8, 16


def check_frame_headers(image: Image, stan: Stream, head: bytes, length: int) -> None:
    """EH and FH at the beginning of a payload: their sizes follow from the frame's. What an EH
    is around cannot be seen without the key."""
    if stan.format_attributes & _ENCRYPTED:
        size = stan.length - HEADER_SIZE - TAG_SIZE
        inner = _COMPRESSED if stan.format_attributes & _COMPRESSED else 0
        _check_header(image, stan.data, head, (b"EH", inner, size, size, size + TAG_SIZE, 1, 0))
        most = length + (HEADER_SIZE if inner else 0)
        if size != length if not inner else not HEADER_SIZE < size <= most:
            raise image.damage(stan.data, f"EH: {size} bytes around a payload of {length}")
    elif stan.format_attributes & _COMPRESSED:
        size = stan.length - HEADER_SIZE
        _check_header(image, stan.data, head, (b"FH", 0, length, length, size, 1, 0))
        if not 0 < size <= length:
            raise image.damage(stan.data, f"FH: {size} bytes of data for {length}")


def _check_header(image: Image, offset: int, head: bytes, expected: tuple[object, ...]) -> None:
    kind = str(expected[0], "ascii") if isinstance(expected[0], bytes) else ""
    if len(head) < HEADER_SIZE or xor_words(head[:HEADER_SIZE]):
        raise image.damage(offset, f"{kind}: the checksum of the header is wrong")
    if struct.unpack("<2sHQIIBB", head[:22]) != expected:
        raise image.damage(offset, f"{kind}: sizes other than the frame header's")


def lz4_block(data: bytes, length: int) -> bytes:
    """Decodes an LZ4 block to `length` bytes; ValueError if it is none."""
    out = bytearray()
    at, end = 0, len(data)
    try:
        while True:
            token = data[at]
            literals, at = _lz4_length(data, at + 1, token >> 4)
            if at + literals > end:
                raise ValueError("literals run past the end")
            out += data[at:at + literals]
            at += literals
            if at == end:
                break
            distance = data[at] | data[at + 1] << 8
            size, at = _lz4_length(data, at + 2, token & 15)
            size += 4
            begin = len(out) - distance
            if distance == 0 or begin < 0 or len(out) + size > length:
                raise ValueError("a match of what is not there")
            if distance >= size:
                out += out[begin:begin + size]
            else:
                out += (bytes(out[begin:]) * (size // distance + 1))[:size]
    except IndexError:
        raise ValueError("the block ends amid a sequence") from None
    if len(out) != length:
        raise ValueError(f"{len(out)} bytes, expected {length}")
    return bytes(out)


def _lz4_length(data: bytes, at: int, value: int) -> tuple[int, int]:
    """A length of 15 goes on in bytes until one is not 255."""
    if value == 15:
        while data[at] == 255:
            value += 255
            at += 1
        value += data[at]
        at += 1
    return value, at


class ZstdProgram:
    """One run of the program `zstd` for all frames of a set: frames go in one behind the other,
    payloads come out alike."""

    def __init__(self, frames: Iterator[bytes]) -> None:
        program = which("zstd")
        if program is None:
            raise FileNotFoundError("the program zstd is not installed")
        self._process = subprocess.Popen([program, "-dcq"], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self._failure: BaseException | None = None
        self._feeder = threading.Thread(target=self._feed, args=(frames,), daemon=True)
        self._feeder.start()

    def _feed(self, frames: Iterator[bytes]) -> None:
        assert self._process.stdin is not None
        try:
            with self._process.stdin as pipe:
                for frame in frames:
                    pipe.write(frame)
        except Exception as error:  # handed over to close()
            self._failure = error

    def read(self, length: int) -> bytes:
        assert self._process.stdout is not None
        data = self._process.stdout.read(length)
        if len(data) != length:
            raise ValueError(f"zstd gave {len(data)} bytes, expected {length}")
        return data

    def close(self) -> None:
        """ValueError unless all went in and nothing is left."""
        assert self._process.stdout is not None
        rest = self._process.stdout.read(1)
        self._process.stdout.close()
        status = self._process.wait()
        self._feeder.join()
        if status or rest or self._failure is not None:
            raise ValueError(f"zstd ended with {status}")

    def kill(self) -> None:
        assert self._process.stdout is not None
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()
