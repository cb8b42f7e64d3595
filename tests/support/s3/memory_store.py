"""What an S3 server keeps, in memory: buckets, versions, uploads and locks, and the rules for them.

Strict where real servers are: parts and checksums, the order of parts, conditions, object lock.
Threads: any; the caller holds the lock of memory_server.py.
"""

from __future__ import annotations

import base64
import hashlib
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from uuid import uuid4

PART_MIN = 5 << 20  # bytes, of all parts but the last
PART_NUMBER_MAX = 10_000
PAGE_SIZE = 1_000
LOCK_MODE = "x-amz-object-lock-mode"
LOCK_UNTIL = "x-amz-object-lock-retain-until-date"


class S3Error(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message


@dataclass
class Version:
    """One state of a key; a delete marker has no data."""

    data: bytes | None
    etag: str = ""
    headers: dict[str, str] = field(default_factory=dict)  # metadata and lock
    modified: float = field(default_factory=time.time)
    version_id: str = field(default_factory=lambda: uuid4().hex)

    @property
    def locked(self) -> bool:
        until = self.headers.get(LOCK_UNTIL)
        return until is not None and until > time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


@dataclass
class Upload:
    key: str
    headers: dict[str, str]
    begun: float = field(default_factory=time.time)
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)  # bytes, ETag


class Bucket:
    def __init__(self, versioned: bool = False, lockable: bool = False,
                 heeds_uploads: bool = True) -> None:
        """`heeds_uploads` false: an upload's wish to be locked is ignored, as Ceph's gateway does."""
        self.versioned = versioned or lockable
        self.lockable = lockable
        self.heeds_uploads = heeds_uploads
        self.versions: dict[str, list[Version]] = {}  # the latest is the last
        self.uploads: dict[str, Upload] = {}  # by id

    # --- objects --------------------------------------------------------------------------------

    def find(self, key: str) -> Version | None:
        latest = self.versions.get(key, [None])[-1]
        return latest if latest is not None and latest.data is not None else None

    def get(self, key: str) -> Version:
        found = self.find(key)
        if found is None:
            raise S3Error(404, "NoSuchKey", "The specified key does not exist.")
        return found

    def put(self, key: str, data: bytes, etag: str, headers: dict[str, str]) -> Version:
        version = Version(data, etag, headers)
        if self.versioned:
            self.versions.setdefault(key, []).append(version)
        else:
            self.versions[key] = [version]
        return version

    def delete(self, key: str, version_id: str | None) -> None:
        if version_id is not None:
            for version in self.versions.get(key, []):
                if version.version_id == version_id and version.locked:
                    raise S3Error(403, "AccessDenied", "Object is WORM protected and cannot be "
                                  "overwritten")
            self.versions[key] = [version for version in self.versions.get(key, [])
                                  if version.version_id != version_id]
            if not self.versions[key]:
                del self.versions[key]
        elif self.versioned:
            if self.find(key) is not None:
                self.versions[key].append(Version(None))
        else:
            self.versions.pop(key, None)

    def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.versions
                      if key.startswith(prefix) and self.find(key) is not None)

    def check_lock_headers(self, headers: dict[str, str]) -> None:
        if (LOCK_MODE in headers) != (LOCK_UNTIL in headers):
            raise S3Error(400, "InvalidArgument", "Mode and date of a retention go together.")
        if LOCK_MODE in headers and not self.lockable:
            raise S3Error(400, "InvalidRequest", "Bucket is missing Object Lock Configuration")
        if headers.get(LOCK_MODE, "COMPLIANCE") not in ("COMPLIANCE", "GOVERNANCE"):
            raise S3Error(400, "InvalidArgument", "Unknown wormMode directive.")

    def retain(self, key: str, mode: str, until: str) -> None:
        version = self.get(key)
        wish = {LOCK_MODE: mode, LOCK_UNTIL: until}
        self.check_lock_headers(wish)
        if version.locked and until < version.headers[LOCK_UNTIL]:
            raise S3Error(403, "AccessDenied", "A lock does not become shorter.")
        version.headers = {**version.headers, **wish}

    # --- uploads --------------------------------------------------------------------------------

    def upload(self, key: str, upload_id: str) -> Upload:
        found = self.uploads.get(upload_id)
        if found is None or found.key != key:
            raise S3Error(404, "NoSuchUpload", "The specified multipart upload does not exist.")
        return found

    def begin_upload(self, key: str, headers: dict[str, str]) -> str:
        self.check_lock_headers(headers)
        if not self.heeds_uploads:
            headers = {n: v for n, v in headers.items() if n not in (LOCK_MODE, LOCK_UNTIL)}
        upload_id = uuid4().hex
        self.uploads[upload_id] = Upload(key, headers)
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, data: bytes) -> str:
        if not 1 <= number <= PART_NUMBER_MAX:
            raise S3Error(400, "InvalidArgument", "Part number must be between 1 and 10000")
        etag = hashlib.md5(data).hexdigest()
        self.upload(key, upload_id).parts[number] = (data, etag)
        return etag

    def complete_upload(self, key: str, upload_id: str, wanted: list[tuple[int, str]]) -> Version:
        upload = self.upload(key, upload_id)
        if not wanted:
            raise S3Error(400, "MalformedXML", "You must specify at least one part")
        numbers = [number for number, _ in wanted]
        if numbers != sorted(set(numbers)):
            raise S3Error(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
        pieces, digests = [], b""
        for number, etag in wanted:
            if number not in upload.parts or upload.parts[number][1] != etag.strip('"'):
                raise S3Error(400, "InvalidPart", "One or more parts could not be found.")
            if number != numbers[-1] and len(upload.parts[number][0]) < PART_MIN:
                raise S3Error(400, "EntityTooSmall", "A part is smaller than the minimum.")
            pieces.append(upload.parts[number][0])
            digests += bytes.fromhex(upload.parts[number][1])
        etag = f"{hashlib.md5(digests).hexdigest()}-{len(wanted)}"
        version = self.put(key, b"".join(pieces), etag, upload.headers)
        del self.uploads[upload_id]
        return version


def check_body(body: bytes, headers: dict[str, str]) -> None:
    """The two ways in which a request can say what its body is."""
    md5 = headers.get("content-md5")
    if md5 is not None and base64.b64encode(hashlib.md5(body).digest()).decode() != md5:
        raise S3Error(400, "BadDigest", "The Content-MD5 you specified did not match what we got.")
    sha256 = headers.get("x-amz-content-sha256", "")
    if sha256 != "UNSIGNED-PAYLOAD" and hashlib.sha256(body).hexdigest() != sha256:
        raise S3Error(400, "XAmzContentSHA256Mismatch", "The SHA-256 does not match the body.")


def http_date(seconds: float) -> str:
    return formatdate(seconds, usegmt=True)


def iso_date(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(seconds))
