#!/usr/bin/env python3
"""An S3 server in memory, strict, for the time of a test.

usage: memory_server.py COMMAND [ARGUMENT...]

Runs the command beside a server with the buckets "media", "versioned" and "locked" (versions and
object lock; "locked-later" as Ceph has it), and gives it the environment that the S3 plugin reads, as server.py does. Beside that:
CAPSTAN_S3_TEST_PORT, and CAPSTAN_S3_TEST_TLS_PORT and CAPSTAN_S3_TEST_CA for the same server behind a
certificate for localhost. Exit status: the command's.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import shutil
import ssl
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from s3.client import S3Client, chained_hmac, encoded  # noqa: E402
from s3.memory_store import (LOCK_MODE, LOCK_UNTIL, PAGE_SIZE, Bucket, S3Error,  # noqa: E402
                             check_body, http_date, iso_date)
from s3.server import ACCESS_KEY, BUCKET, REGION, SECRET_KEY, configuration_text  # noqa: E402

CLOCK_SKEW_S = 900
KEPT_HEADERS = ("content-type", LOCK_MODE, LOCK_UNTIL)
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, "
    r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})")


def check_signature(method: str, target: str, headers: dict[str, str]) -> None:
    match = AUTHORIZATION.fullmatch(headers.get("authorization", ""))
    if match is None:
        raise S3Error(403, "AccessDenied", "Access Denied.")
    key_id, day, region, names, signature = match.groups()
    if key_id != ACCESS_KEY:
        raise S3Error(403, "InvalidAccessKeyId", "The access key ID does not exist.")
    if region != REGION:
        raise S3Error(400, "AuthorizationHeaderMalformed", f"Expecting '{REGION}'.")
    stamp = headers.get("x-amz-date", "")
    then = time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone
    if abs(then - time.time()) > CLOCK_SKEW_S or not stamp.startswith(day):
        raise S3Error(403, "RequestTimeTooSkewed", "The difference of the clocks is too large.")
    signed = names.split(";")
    needed = {"host", *(n for n in headers if n.startswith("x-amz-") or n == "content-md5")}
    if not needed <= set(signed):
        raise S3Error(403, "AccessDenied", "There were headers which were not signed.")
    path, _, query = target.partition("?")
    canonical = "\n".join([method, path, "&".join(sorted(query.split("&"))),
                           *(f"{name}:{headers.get(name, '')}" for name in signed), "", names,
                           headers.get("x-amz-content-sha256", "")])
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, f"{day}/{region}/s3/aws4_request",
                      hashlib.sha256(canonical.encode()).hexdigest()])
    key = chained_hmac(f"AWS4{SECRET_KEY}".encode(), day, region, "s3", "aws4_request")
    if not hmac.compare_digest(chained_hmac(key, text).hex(), signature):
        raise S3Error(403, "SignatureDoesNotMatch", "The signature does not match.")


class Handler(BaseHTTPRequestHandler):
    """One connection. Every answer has a length, so it is kept open."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    server: "MemoryS3Listener"

    def handle_any(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        try:
            status, more, answer = self._answer(headers, body)
        except S3Error as error:
            status, more = error.status, {}
            answer = (f"<?xml version=\"1.0\"?><Error><Code>{error.code}</Code>"
                      f"<Message>{escape(error.message)}</Message></Error>").encode()
        self.send_response_only(status)
        self.send_header("Date", http_date(time.time()))
        for name, value in {"Content-Length": str(len(answer)), **more}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = handle_any

    def log_message(self, *_arguments: object) -> None:
        pass

    def _answer(self, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        store = self.server.store
        status = store.trouble(self.command, self.path) if store.trouble else None
        if status is not None:
            raise S3Error(status, "SlowDown", "Please reduce your request rate.")
        check_signature(self.command, self.path, headers)
        check_body(body, headers)
        raw_path, _, raw_query = self.path.partition("?")
        path = urllib.parse.unquote(raw_path).removeprefix("/")
        query = dict(urllib.parse.parse_qsl(raw_query, keep_blank_values=True))
        host = headers["host"].partition(":")[0]
        bucket_name, key = ((host.removesuffix(".localhost"), path) if host.endswith(".localhost")
                            else path.partition("/")[::2])
        with store.mutex:
            bucket = store.buckets.get(bucket_name)
            if bucket is None:
                raise S3Error(404, "NoSuchBucket", "The specified bucket does not exist.")
            request = Request(self.command, key, query, headers, body)
            return (request.of_object(bucket) if key else request.of_bucket(bucket))


class Request:
    """What one request does to a bucket."""

    def __init__(self, method: str, key: str, query: dict[str, str], headers: dict[str, str],
                 body: bytes) -> None:
        self.method, self.key, self.query = method, key, query
        self.headers, self.body = headers, body

    def of_bucket(self, bucket: Bucket) -> tuple[int, dict[str, str], bytes]:
        if self.method != "GET":
            raise S3Error(405, "MethodNotAllowed", "The method is not allowed.")
        if "object-lock" in self.query:
            if not bucket.lockable:
                raise S3Error(404, "ObjectLockConfigurationNotFoundError",
                              "Object Lock configuration does not exist for this bucket")
            return _xml("ObjectLockConfiguration", "<ObjectLockEnabled>Enabled</ObjectLockEnabled>")
        return self._uploads(bucket) if "uploads" in self.query else self._objects(bucket)

    def of_object(self, bucket: Bucket) -> tuple[int, dict[str, str], bytes]:
        upload_id = self.query.get("uploadId")
        if upload_id is not None:
            return self._of_upload(bucket, upload_id)
        if self.method == "POST" and "uploads" in self.query:
            upload_id = bucket.begin_upload(self.key, self._kept_headers())
            return _xml("InitiateMultipartUploadResult", f"<UploadId>{upload_id}</UploadId>")
        if self.method == "PUT" and "retention" in self.query:
            wish = {element.tag.rpartition("}")[2]: element.text or ""
                    for element in ElementTree.fromstring(self.body)}
            bucket.retain(self.key, wish["Mode"], wish["RetainUntilDate"])
            return 200, {}, b""
        if self.method == "PUT":
            self._check_absent(bucket)
            bucket.check_lock_headers(self._kept_headers())
            if LOCK_MODE in self.headers and "content-md5" not in self.headers:
                raise S3Error(400, "InvalidRequest", "Content-MD5 is required with a lock.")
            version = bucket.put(self.key, self.body, hashlib.md5(self.body).hexdigest(),
                                 self._kept_headers())
            return 200, {"ETag": f'"{version.etag}"'}, b""
        if self.method == "DELETE":
            bucket.delete(self.key, self.query.get("versionId"))
            return 204, {}, b""
        return self._get(bucket)

    def _of_upload(self, bucket: Bucket, upload_id: str) -> tuple[int, dict[str, str], bytes]:
        if self.method == "PUT":
            etag = bucket.put_part(self.key, upload_id, int(self.query["partNumber"]), self.body)
            return 200, {"ETag": f'"{etag}"'}, b""
        if self.method == "GET":
            parts = sorted(bucket.upload(self.key, upload_id).parts.items())
            marker = int(self.query.get("part-number-marker", "0"))
            page = [part for part in parts if part[0] > marker][:PAGE_SIZE]
            cut = bool(page) and page[-1][0] != parts[-1][0]
            return _xml("ListPartsResult", _truncated(
                cut, f"<NextPartNumberMarker>{page[-1][0] if page else 0}</NextPartNumberMarker>")
                + "".join(f"<Part><PartNumber>{number}</PartNumber><Size>{len(data)}</Size>"
                          f"<ETag>\"{etag}\"</ETag></Part>" for number, (data, etag) in page))
        if self.method == "DELETE":
            bucket.upload(self.key, upload_id)
            del bucket.uploads[upload_id]
            return 204, {}, b""
        wanted = [(int(part.findtext("PartNumber") or "0"), part.findtext("ETag") or "")
                  for part in ElementTree.fromstring(self.body).iter("Part")]
        bucket.upload(self.key, upload_id)
        self._check_absent(bucket)
        version = bucket.complete_upload(self.key, upload_id, wanted)
        return _xml("CompleteMultipartUploadResult", f"<ETag>\"{version.etag}\"</ETag>")

    def _get(self, bucket: Bucket) -> tuple[int, dict[str, str], bytes]:
        version = bucket.get(self.key)
        assert version.data is not None
        if self.headers.get("if-match", f'"{version.etag}"') != f'"{version.etag}"':
            raise S3Error(412, "PreconditionFailed", "A precondition you specified did not hold.")
        headers = {"ETag": f'"{version.etag}"', "Last-Modified": http_date(version.modified),
                   "x-amz-version-id": version.version_id, **version.headers}
        match = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("range", ""))
        if match is None:
            return 200, headers, version.data
        begin = int(match[1])
        end = min(int(match[2] or len(version.data)) + 1, len(version.data))
        if begin >= len(version.data):
            raise S3Error(416, "InvalidRange", "The requested range is not satisfiable")
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{len(version.data)}"
        return 206, headers, version.data[begin:end]

    def _objects(self, bucket: Bucket) -> tuple[int, dict[str, str], bytes]:
        after = self.query.get("continuation-token", "")
        keys = [key for key in bucket.keys(self.query.get("prefix", "")) if key > after]
        page = keys[:PAGE_SIZE]
        entries = ""
        for key in page:
            version = bucket.get(key)
            entries += (f"<Contents><Key>{encoded(key)}</Key><Size>{len(version.data or b'')}"
                        f"</Size><ETag>\"{version.etag}\"</ETag>"
                        f"<LastModified>{iso_date(version.modified)}</LastModified></Contents>")
        last = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if page else ""
        return _xml("ListBucketResult", _truncated(len(keys) > PAGE_SIZE, last) + entries)

    def _uploads(self, bucket: Bucket) -> tuple[int, dict[str, str], bytes]:
        prefix = self.query.get("prefix", "")
        entries = sorted((upload.key, upload_id, upload.begun)
                         for upload_id, upload in bucket.uploads.items()
                         if upload.key.startswith(prefix))
        return _xml("ListMultipartUploadsResult", _truncated(False, "") + "".join(
            f"<Upload><Key>{encoded(key)}</Key><UploadId>{upload_id}</UploadId>"
            f"<Initiated>{iso_date(begun)}</Initiated></Upload>"
            for key, upload_id, begun in entries))

    def _kept_headers(self) -> dict[str, str]:
        return {name: value for name, value in self.headers.items()
                if name in KEPT_HEADERS or name.startswith("x-amz-meta-")}

    def _check_absent(self, bucket: Bucket) -> None:
        if self.headers.get("if-none-match") == "*" and bucket.find(self.key) is not None:
            raise S3Error(412, "PreconditionFailed", "A precondition you specified did not hold.")


def _xml(root: str, text: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {"Content-Type": "application/xml"}, (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<{root} xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{text}</{root}>').encode()


def _truncated(cut: bool, next_page: str) -> str:
    return f"<IsTruncated>{str(cut).lower()}</IsTruncated>" + (next_page if cut else "")


class MemoryS3Listener(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, store: "MemoryS3", port: int, tls: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.store = store
        self._open: set[object] = set()
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_side=True,
                                          do_handshake_on_connect=False)
        self._thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def process_request(self, request, client_address) -> None:  # noqa: ANN001
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:  # noqa: ANN001
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_arguments: object) -> None:
        """A client that is killed breaks its connections."""

    def stop(self) -> None:
        """Breaks all connections, too."""
        self.shutdown()
        self.server_close()
        for connection in list(self._open):
            super().shutdown_request(connection)  # type: ignore[arg-type]
        self._thread.join()


class MemoryS3:
    """Starts on construction; stop() or `with` ends it. kill() and start() are an outage."""

    def __init__(self) -> None:
        self.mutex = threading.Lock()
        self.buckets = {BUCKET: Bucket(), "versioned": Bucket(versioned=True),
                        "locked": Bucket(lockable=True),
                        "locked-later": Bucket(lockable=True, heeds_uploads=False)}
        # Asked before each request; a status is the answer.
        self.trouble: Callable[[str, str], int | None] | None = None
        self.directory = Path(tempfile.mkdtemp(prefix="capstan-s3-"))
        self._listener: MemoryS3Listener | None = MemoryS3Listener(self, 0)
        self.port = self._listener.server_address[1]
        self._tls: MemoryS3Listener | None = None
        self.client = S3Client("127.0.0.1", self.port, REGION, ACCESS_KEY, SECRET_KEY)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self._listener = MemoryS3Listener(self, self.port)

    def kill(self) -> None:
        if self._listener is not None:
            self._listener.stop()
            self._listener = None

    def start_tls(self) -> tuple[int, Path]:
        """The port, and the certificate that is to be trusted."""
        key, certificate = self.directory / "key.pem", self.directory / "ca.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-days", "2", "-subj", "/CN=capstan test", "-addext",
             "subjectAltName=DNS:localhost,DNS:*.localhost", "-keyout", str(key), "-out",
             str(certificate)], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._tls = MemoryS3Listener(self, 0, context)
        return self._tls.server_address[1], certificate

    def stop(self) -> None:
        self.kill()
        if self._tls is not None:
            self._tls.stop()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> MemoryS3:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def environment(self, **settings: object) -> dict[str, str]:
        """What the plugin reads; `settings` are further keys of its configuration."""
        configuration = self.directory / "s3.toml"
        configuration.write_text(configuration_text(self.endpoint, settings))
        return {"CAPSTAN_S3_CONFIG": str(configuration), "AWS_ACCESS_KEY_ID": ACCESS_KEY,
                "AWS_SECRET_ACCESS_KEY": SECRET_KEY}


def main() -> int:
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    with MemoryS3() as server:
        tls_port, certificate = server.start_tls()
        return subprocess.run(
            sys.argv[1:], check=False,
            env={**os.environ, **server.environment(), "CAPSTAN_S3_TEST_PORT": str(server.port),
                 "CAPSTAN_S3_TEST_TLS_PORT": str(tls_port),
                 "CAPSTAN_S3_TEST_CA": str(certificate)}).returncode


if __name__ == "__main__":
    sys.exit(main())
