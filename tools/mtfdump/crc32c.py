"""CRC32C (format.md, section 2) at the speed of long integers.

A table costs a step of the interpreter per byte. Instead the message is one integer, taken as a
polynomial over GF(2), and its first part is folded onto what follows: x^5685 + x^1362 + x^426 + 1
is a multiple of the generator, and so is the same with all exponents doubled, any number of times.
Each fold halves a long message by three shifts. A table takes what is left, about a kilobyte.
"""

_GENERATOR = 0x82F63B78  # of Castagnoli, bits reflected
_A, _B, _C = 5685, 1362, 426
_STEP = _A - _B  # bits that one fold takes away
_TABLE_ONLY = (_A + _STEP) // 8  # bytes
_PIECE = 1 << 20  # more at once would leave the processor's cache


def _make_table() -> tuple[int, ...]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_GENERATOR if value & 1 else 0)
        table.append(value)
    return tuple(table)


_TABLE = _make_table()


def _by_table(register: int, data: bytes) -> int:
    table = _TABLE
    for byte in data:
        register = table[(register ^ byte) & 0xFF] ^ register >> 8
    return register


def _fold(message: int, bits: int) -> tuple[int, int]:
    """A shorter message of the same remainder; bit 0 is the one that is transmitted first."""
    scale = max(0, (bits // (_A + _STEP)).bit_length() - 1)
    while scale >= 0:
        step = _STEP << scale
        if bits < step + (_A << scale):
            scale -= 1
            continue
        first = message & (1 << step) - 1
        message = message >> step ^ first ^ first << (_B - _C << scale) ^ first << (_B << scale)
        bits -= step
    return message, bits


def crc32c(data: bytes, seed: int = 0) -> int:
    """CRC32C of the data, going on from that of what stood before it."""
    for begin in range(0, len(data) - _PIECE, _PIECE):
        seed = _crc32c(data[begin:begin + _PIECE], seed)
    return _crc32c(data[max(0, len(data) - 1) // _PIECE * _PIECE:], seed)


def _crc32c(data: bytes, seed: int) -> int:
    register = seed ^ 0xFFFFFFFF
    if len(data) <= _TABLE_ONLY:
        return _by_table(register, data) ^ 0xFFFFFFFF
    message, bits = _fold(int.from_bytes(data, "little") ^ register, len(data) * 8)
    rest = message << -bits % 8  # zeros in front change nothing once the register is part of it
    return _by_table(0, rest.to_bytes((bits + 7) // 8, "little")) ^ 0xFFFFFFFF
