"""The compressed container `MSSQLBAK`: its records decoded into the medium that they hold."""

from __future__ import annotations

import struct

RECORD_HEADER = 28
FIRST_RECORD = 0x1E0


def decompress(payload: bytes, size: int) -> bytes:
    """One chunk of LZ77+Huffman as [MS-XCA] section 2.2 has it, symbol by symbol."""
    lengths = [payload[s // 2] >> (4 * (s & 1)) & 15 for s in range(512)]
    codes, code = {}, 0
    for bits in range(1, 16):
        for symbol in (s for s in range(512) if lengths[s] == bits):
            codes[bits, code] = symbol
            code += 1
        code <<= 1
    out, at = bytearray(), 256
    buffer = count = 0

    def word():
        nonlocal at
        value = int.from_bytes(payload[at:at + 2], "little")
        at += 2
        return value

    # Two words ahead, as the decoder of the specification keeps them: lengths stand between words.
    buffer, count = word() << 16 | word(), 32

    def take(bits: int) -> int:
        nonlocal buffer, count
        value = buffer >> 32 - bits & (1 << bits) - 1 if bits else 0
        buffer = buffer << bits & 0xFFFFFFFF
        count -= bits
        if count < 16:
            buffer |= word() << 16 - count
            count += 16
        return value

    while len(out) < size:
        code = bits = 0
        while (bits, code) not in codes:
            assert bits < 15, "code"
            code, bits = code << 1 | take_peek(buffer, bits), bits + 1
        symbol = codes[bits, code]
        take(bits)
        if symbol < 256:
            out.append(symbol)
            continue
        symbol -= 256
        length, distance_bits = symbol & 15, symbol >> 4
        if length == 15:
            length = payload[at]
            at += 1
            if length == 255:
                length = word()
                if length == 0:
                    length = int.from_bytes(payload[at:at + 4], "little")
                    at += 4
            else:
                length += 15
        length += 3
        distance = (1 << distance_bits) + take(distance_bits)
        assert distance <= len(out), "distance"
        for _ in range(length):
            out.append(out[-distance])
    assert len(out) == size, (len(out), size)
    return bytes(out)


def take_peek(buffer: int, index: int) -> int:
    return buffer >> 31 - index & 1


def record(data: bytes, at: int) -> tuple[bytes, int]:
    units, packed = data[at + 1], struct.unpack_from("<H", data, at + 2)[0]
    start = at + RECORD_HEADER
    return decompress(data[start:start + packed], units * 512), start + packed


def unpack(data: bytes) -> bytes:
    """The medium as it would be uncompressed; soft filemarks are kept where they stand."""
    assert data[:8] == b"MSSQLBAK"
    out, at = record(data, FIRST_RECORD)
    medium = bytearray(out)
    while at < len(data):
        if data[at] == 0x21 and data[at:at + 2] != b"\0\0":
            out, at = record(data, at)
            medium += out
        elif data[at:at + 4] == b"SFMB":
            size = struct.unpack_from("<H", data, at + 8)[0]
            medium += data[at:at + size]
            at += size
        else:
            found = data.find(b"SFMB", at)
            nearest = found if found >= 0 else len(data)
            at = nearest
    return bytes(medium)
