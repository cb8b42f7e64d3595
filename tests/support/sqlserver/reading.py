"""An independent reading of SQL Server's media: what LABELONLY, HEADERONLY and FILELISTONLY must say.

Reads a whole file front to back, asserting the structure on the way, and shares nothing with the
reader under test. Media of the `TAPE` form and the compressed container `MSSQLBAK`.

    python3 -m sqlserver.reading FILE...        prints one JSON object per file
"""

from __future__ import annotations

import json
import struct
import sys
import uuid

from .container import unpack

COMMON = 52
NO_GUID = "00000000-0000-0000-0000-000000000000"


def u(data: bytes, offset: int, code: str) -> int:
    return struct.unpack_from("<" + code, data, offset)[0]


def xor16(data: bytes) -> int:
    value = 0
    for (word,) in struct.iter_unpack("<H", data):
        value ^= word
    return value


def date(raw: bytes) -> str | None:
    bits = int.from_bytes(raw, "big")
    if bits == 0:
        return None
    return "%04d-%02d-%02d %02d:%02d:%02d.000" % (
        bits >> 26, bits >> 22 & 15, bits >> 17 & 31, bits >> 12 & 31, bits >> 6 & 63, bits & 63)


def guid(raw: bytes) -> str | None:
    return str(uuid.UUID(bytes_le=raw)).upper() if any(raw) else None


def lsn(raw: bytes) -> str:
    vlf, block, slot = struct.unpack("<IIH", raw)
    return str(vlf * 10**15 + block * 10**5 + slot)


def text(record: bytes, offset: int) -> str | None:
    size, start = struct.unpack_from("<HH", record, offset)
    return record[start:start + size].decode("utf-16-le").rstrip("\0") or None


def blocks(data: bytes):
    """(type, offset, header bytes, [(stream id, media attributes, content)]) of a `TAPE` form."""
    at, origin = 0, 0
    while at < len(data):
        head = data[at:at + COMMON]
        assert xor16(head[:50]) == u(head, 50, "H"), f"block checksum at {at}"
        kind, size = head[:4].decode(), u(head, 8, "H")
        if kind == "SFMB":
            yield kind, at, data[at:at + size], []
            at = origin = at + size
            continue
        header, streams, start = data[at:at + size], [], at
        at += size
        while True:
            at += -(at - origin) % 4
            raw = data[at:at + 22]
            assert xor16(raw[:20]) == u(raw, 20, "H"), f"stream checksum at {at}"
            length = u(raw, 8, "Q")
            assert at + 22 + length <= len(data), f"stream length at {at}"
            streams.append((raw[:4].decode(), u(raw, 6, "H"), data[at + 22:at + 22 + length]))
            at += 22 + length
            if raw[:4] == b"SPAD":
                break
        at += -(at - origin) % 1024
        yield kind, start, header, streams


def stream(streams, name: str) -> bytes | None:
    return next((content for kind, _, content in streams if kind == name), None)


def sector_sum(data: bytes) -> int:
    value = 0
    for at in range(0, len(data), 512):
        value = (value << 1 | value >> 31) & 0xFFFFFFFF
        for (word,) in struct.iter_unpack("<I", data[at:at + 512]):
            value ^= word
    return value


def check_sums(streams) -> int:
    """CSUM streams against the data before them; how many there were."""
    data, count = b"", 0
    for kind, _, content in streams:
        if kind in ("MQDA", "MQTL"):
            data += content
        elif kind == "CSUM":
            assert sector_sum(data[2:]) == u(content, 0, "I"), "CSUM"
            data, count = b"", count + 1
    return count


def records(config: bytes):
    at = 0
    while at < len(config):
        size = u(config, at + 4, "I")
        assert 8 <= size <= len(config) - at
        yield config[at:at + 4].decode(), config[at:at + size]
        at += size


def label(header: bytes, streams, compressed: bool) -> dict:
    raid = stream(streams, "RAID")
    return {
        "MediaName": text(header, 68),
        "MediaSetId": guid(raid[:16]),
        "FamilyCount": u(raid, 20, "H"),
        "FamilySequenceNumber": u(raid, 24, "H"),
        "MediaFamilyId": "%08X-0000-0000-0000-000000000000" % u(header, 52, "I"),
        "MediaSequenceNumber": u(header, 60, "H"),
        "MediaLabelPresent": u(header, 56, "I") >> 1 & 1,
        "MediaDescription": text(header, 72),
        "SoftwareName": text(header, 80),
        "SoftwareVendorId": u(header, 86, "H"),
        "MediaDate": date(header[88:93]),
        "Mirror_Count": u(raid, 22, "H"),
        "IsCompressed": int(compressed),
    }


def header_row(sset: bytes, volb: bytes, scin: bytes, compressed: bool) -> dict:
    flags = u(scin, 8, "I")
    osdata = sset[u(sset, 46, "H"):][:21]
    kind = chr(scin[87])
    fork, first_fork = scin[156:172], scin[184:200]
    bit = lambda mask: int(flags & mask != 0)
    status = u(scin, 244, "I")
    return {
        "BackupName": text(sset, 64),
        "BackupDescription": text(sset, 68),
        "BackupType": {"D": 1, "L": 2, "F": 4, "I": 5, "G": 6, "P": 7, "Q": 8}[kind],
        "ExpirationDate": date(osdata[16:]),
        "Compressed": int(compressed),
        "Position": u(sset, 62, "H"),
        "UserName": text(sset, 76),
        "ServerName": text(scin, 108),
        "DatabaseName": text(scin, 104),
        "DatabaseVersion": u(scin, 94, "H"),
        "DatabaseCreationDate": date(scin[72:77]),
        "BackupSize": u(scin, 96, "Q"),
        "FirstLSN": lsn(scin[32:42]),
        "LastLSN": lsn(scin[42:52]),
        "CheckpointLSN": lsn(scin[52:62]),
        "DatabaseBackupLSN": lsn(scin[62:72]),
        "BackupStartDate": date(scin[77:82]),
        "BackupFinishDate": date(scin[82:87]),
        "SortOrder": scin[88],
        "CodePage": 0,
        "UnicodeLocaleId": u(scin, 116, "I"),
        "UnicodeComparisonStyle": u(scin, 120, "I"),
        "CompatibilityLevel": scin[91],
        "SoftwareVendorId": u(sset, 60, "H"),
        "SoftwareVersionMajor": scin[27],
        "SoftwareVersionMinor": scin[26],
        "SoftwareVersionBuild": u(scin, 24, "H"),
        "MachineName": text(volb, 64),
        "Flags": flags,
        "BindingID": guid(scin[124:140]),
        "RecoveryForkID": guid(fork),
        "FamilyGUID": guid(scin[224:240]),
        "HasBulkLoggedData": bit(1),
        "IsSnapshot": bit(2),
        "IsReadOnly": bit(4),
        "IsSingleUser": bit(8),
        "HasBackupChecksums": bit(16),
        "IsDamaged": bit(32),
        "BeginsLogChain": int(kind == "L" and scin[248:258] == scin[32:42]),
        "HasIncompleteMetaData": bit(128),
        "IsForceOffline": bit(256),
        "IsCopyOnly": bit(1024),
        "FirstRecoveryForkID": guid(first_fork) or guid(fork),
        "ForkPointLSN": lsn(scin[172:182]) if any(first_fork) and first_fork != fork else None,
        "RecoveryModel": "SIMPLE" if status & 8 else "BULK-LOGGED" if status & 4 else "FULL",
        "DifferentialBaseLSN": lsn(scin[260:270]) if kind == "I" else None,
        "DifferentialBaseGUID": guid(scin[272:288]) if kind == "I" else None,
        "BackupTypeDescription": {"D": "Database", "L": "Transaction Log",
                                  "I": "Database Differential"}[kind],
        "BackupSetGUID": guid(osdata[:16]),
        "CompressedBackupSize": u(scin, 344, "Q") if scin[27] >= 10 else u(scin, 96, "Q"),
        "TimeZone": None if sset[95] == 127 else struct.unpack("b", sset[95:96])[0],
        # Not columns: what proofs across files need.
        "_last_full_guid": guid(scin[200:216]),
        "_own_guid": guid(osdata[:16]),
    }


def file_row(sfin: bytes, groups: dict[int, str]) -> dict:
    data = u(sfin, 28, "I") == 1
    return {
        "LogicalName": text(sfin, 48),
        "PhysicalName": text(sfin, 52),
        "Type": {1: "D", 2: "L"}.get(u(sfin, 28, "I")),
        "FileGroupName": groups.get(u(sfin, 36, "I")) if data else None,
        "Size": u(sfin, 40, "Q"),
        "MaxSize": u(sfin, 86, "Q"),
        "FileId": u(sfin, 20, "I"),
        "CreateLSN": lsn(sfin[138:148]),
        "DropLSN": lsn(sfin[148:158]),
        "UniqueId": guid(sfin[186:202]),
        "ReadOnlyLSN": lsn(sfin[56:66]),
        "ReadWriteLSN": lsn(sfin[66:76]),
        "BackupSizeInBytes": u(sfin, 250, "Q"),
        "SourceBlockSize": u(sfin, 32, "I"),
        "FileGroupId": u(sfin, 36, "I"),
        "DifferentialBaseLSN": lsn(sfin[158:168]),
        "DifferentialBaseGUID": guid(sfin[170:186]) or NO_GUID,
        "_flags": u(sfin, 8, "I"),
        "_pages": u(sfin, 24, "I"),
        "_type": u(sfin, 28, "I"),
    }


def read(path: str) -> dict:
    with open(path, "rb") as file:
        data = file.read()
    compressed = data[:8] == b"MSSQLBAK"
    if compressed:
        data = unpack(data)
    result: dict = {"sets": [], "sums": 0, "order": []}
    sset = volb = b""
    for kind, _, header, streams in blocks(data):
        result["order"].append(kind)
        result["sums"] += check_sums(streams)
        if kind == "TAPE":
            result["label"] = label(header, streams, compressed)
        elif kind == "SSET":
            sset = header
        elif kind == "VOLB":
            volb = header
        elif kind == "MSLS":
            parts = list(records(stream(streams, "MQCI")))
            groups = {u(r, 12, "I"): text(r, 16) for tag, r in parts if tag == "SFGI"}
            scin = next(r for tag, r in parts if tag == "SCIN")
            result["sets"].append({
                "header": header_row(sset, volb, scin, compressed),
                "files": [file_row(r, groups) for tag, r in parts if tag == "SFIN"]})
    return result


if __name__ == "__main__":
    for name in sys.argv[1:]:
        print(json.dumps(read(name)))
