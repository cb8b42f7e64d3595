"""The few requests to an S3 server that tests make by themselves, apart from what they test."""

from __future__ import annotations

import hashlib
import hmac
import http.client
import time
import urllib.parse
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def texts(self, name: str) -> list[str]:
        """The texts of all elements of this name, whatever their namespace."""
        return [element.text or "" for element in ElementTree.fromstring(self.body).iter()
                if element.tag.rpartition("}")[2] == name]


def encoded(text: str, safe: str = "") -> str:
    return urllib.parse.quote(text, safe=safe + "-._~")


def chained_hmac(key: bytes, *texts: str) -> bytes:
    for text in texts:
        key = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return key


@dataclass(frozen=True)
class S3Client:
    host: str
    port: int
    region: str
    access_key: str
    secret_key: str

    def request(self, method: str, path: str, query: dict[str, str] | None = None,
                body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        """`path` begins with '/' and is raw."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        payload = hashlib.sha256(body).hexdigest()
        signed = {"host": f"{self.host}:{self.port}", "x-amz-content-sha256": payload,
                  "x-amz-date": stamp, **(headers or {})}
        target = encoded(path, "/")
        query_text = "&".join(f"{encoded(name)}={encoded(value)}"
                              for name, value in sorted((query or {}).items()))
        names = ";".join(sorted(signed))
        canonical = "\n".join([method, target, query_text,
                               *(f"{name}:{signed[name]}" for name in sorted(signed)), "", names,
                               payload])
        scope = f"{stamp[:8]}/{self.region}/s3/aws4_request"
        text = "\n".join(["AWS4-HMAC-SHA256", stamp, scope,
                          hashlib.sha256(canonical.encode()).hexdigest()])
        key = chained_hmac(f"AWS4{self.secret_key}".encode(), stamp[:8], self.region, "s3",
                           "aws4_request")
        signed["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, SignedHeaders={names}, "
            f"Signature={chained_hmac(key, text).hex()}")
        connection = http.client.HTTPConnection(self.host, self.port, timeout=60)
        try:
            connection.request(method, target + ("?" + query_text if query_text else ""), body,
                               signed)
            answer = connection.getresponse()
            return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()},
                          answer.read())
        finally:
            connection.close()

    def create_bucket(self, bucket: str) -> None:
        answer = self.request("PUT", f"/{bucket}")
        assert answer.status in (200, 409), answer

    def keys(self, bucket: str, prefix: str = "") -> list[str]:
        return self.request("GET", f"/{bucket}", {"list-type": "2", "prefix": prefix}).texts("Key")

    def uploads(self, bucket: str) -> list[str]:
        """Keys of uploads that are not complete."""
        return self.request("GET", f"/{bucket}", {"uploads": ""}).texts("Key")
