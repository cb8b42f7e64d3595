"""A whole OpenStack Swift with its S3 API in one process, on loopback: a real S3 server for tests.

usage: /usr/bin/python3 swift_daemon.py DIRECTORY PORT ACCESS_KEY SECRET_KEY REGION

Debian's packages swift-proxy, swift-account, swift-container and swift-object are needed. Signatures
are checked. Objects are files below DIRECTORY, so they outlive the process. Takes PORT to PORT + 3;
the file DIRECTORY/ready appears when the S3 API answers on PORT. See server.py, which starts this.
"""

import sys
from pathlib import Path

import eventlet

eventlet.monkey_patch()

from eventlet import wsgi  # noqa: E402
from swift.common import storage_policy, utils  # noqa: E402
from swift.common.middleware import tempauth  # noqa: E402
from swift.common.ring import RingBuilder  # noqa: E402
from swift.common.wsgi import loadapp  # noqa: E402

HOST = "127.0.0.1"
RING_POWER = 4  # as few partitions as will do: there is one device
CHUNK_BYTES = 1 << 20

DEFAULTS = """[DEFAULT]
swift_dir = {etc}
devices = {devices}
mount_check = false
fallocate_reserve = 0
log_level = ERROR
"""

STORAGE = """[pipeline:main]
pipeline = server
[app:server]
use = egg:swift#{kind}
network_chunk_size = {chunk}
disk_chunk_size = {chunk}
"""

PROXY = """[pipeline:main]
pipeline = catch_errors gatekeeper cache listing_formats bulk s3api tempauth copy slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
node_timeout = 60
client_chunk_size = {chunk}
object_chunk_size = {chunk}
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:9
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = {region}
s3_acl = false
auth_pipeline_check = false
check_bucket_owner = false
max_upload_part_num = 10000
[filter:tempauth]
use = egg:swift#tempauth
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
max_manifest_segments = 10000
[filter:dlo]
use = egg:swift#dlo
"""


class Silent:
    """A logger that keeps quiet, for eventlet's servers."""

    def __getattr__(self, _name):
        return lambda *_args, **_kwargs: None


def write_configuration(etc, devices, ports, region):
    values = {"etc": etc, "devices": devices, "chunk": CHUNK_BYTES, "region": region}
    for kind in ports:
        text = DEFAULTS + (PROXY if kind == "proxy" else STORAGE)
        (etc / f"{kind}.conf").write_text(text.format(kind=kind, **values))
    (etc / "swift.conf").write_text(
        "[swift-hash]\nswift_hash_path_suffix = tests\nswift_hash_path_prefix = tests\n"
        "[storage-policy:0]\nname = only\ndefault = yes\n")


def make_rings(etc, ports):
    for kind, port in ports.items():
        if kind != "proxy":
            ring = RingBuilder(RING_POWER, 1, 0)
            ring.add_dev({"region": 1, "zone": 1, "ip": HOST, "port": port, "device": "disk",
                          "weight": 1, "replication_ip": HOST, "replication_port": port})
            ring.rebalance()
            ring.get_ring().save(str(etc / f"{kind}.ring.gz"))


def allow(access_key, secret_key):
    """Adds a user whose name is the access key; tempauth's own names have a colon."""
    make = tempauth.TempAuth.__init__

    def make_with_user(self, app, conf):
        make(self, app, conf)
        self.users[access_key] = {"key": secret_key, "groups": [".admin"],
                                  "url": "$HOST/v1/AUTH_tests"}

    tempauth.TempAuth.__init__ = make_with_user


def main():
    directory = Path(sys.argv[1])
    first_port = int(sys.argv[2])
    access_key, secret_key, region = sys.argv[3:6]
    etc, devices = directory / "etc", directory / "devices"
    for folder in (etc, devices / "disk"):
        folder.mkdir(parents=True, exist_ok=True)
    ports = {kind: first_port + offset
             for offset, kind in enumerate(("proxy", "account", "container", "object"))}
    write_configuration(etc, devices, ports, region)
    utils.SWIFT_CONF_FILE = storage_policy.SWIFT_CONF_FILE = str(etc / "swift.conf")
    utils.HASH_PATH_PREFIX = utils.HASH_PATH_SUFFIX = b"tests"
    storage_policy.reload_storage_policies()
    make_rings(etc, ports)
    allow(access_key, secret_key)
    servers = []
    for kind in ("account", "container", "object", "proxy"):
        # reuse_port would let two servers share a port without a word.
        listener = eventlet.listen((HOST, ports[kind]), backlog=1024, reuse_port=False)
        servers.append(eventlet.spawn(
            wsgi.server, listener, loadapp(str(etc / f"{kind}.conf")), log=Silent(),
            log_output=False, max_size=1024))
    (directory / "ready").write_text("ready\n")
    servers[-1].wait()


main()
