"""Key providers seen from outside: requests as the Go library writes them, a service, a gRPC client, a
key broker behind it."""
import base64
import json
import pathlib
import re
import shutil
import signal
import subprocess
import time

import pytest

from conftest import BIN, shared

FIX = ("fixtures", "ocicrypt")
KID = "kbs:///default/key/wasm-addition"
WRAP, UNWRAP = "WrapKey", "UnWrapKey"
SERVICE = "/keyprovider.KeyProviderService/"


def fixture(*parts):
    return shared(*FIX, *parts)


def recorded(line):
    return fixture("20-keyprovider-cmd", "requests.jsonl").read_bytes().splitlines()[line]


@pytest.fixture
def kek(box):
    """The fixtures' KEK as a file of ours."""
    path = box / "kek.bin"
    path.write_bytes(fixture("keys", "kek32.bin").read_bytes())
    path.chmod(0o600)
    return path


def wrap_request(params, privopts=b'{"symkey":"x"}', name="attestation-agent", **more):
    b64 = lambda b: base64.b64encode(b).decode()  # noqa: E731
    return {"op": "keywrap",
            "keywrapparams": {"ec": {"Parameters": {name: [b64(p.encode()) for p in params], **more},
                                     "DecryptConfig": {"Parameters": {}}}, "optsdata": b64(privopts)},
            "keyunwrapparams": {"dc": None, "annotation": None}}


def unwrap_request(annotation, name="attestation-agent", **more):
    return {"op": "keyunwrap", "keywrapparams": {"ec": None, "optsdata": None},
            "keyunwrapparams": {"dc": {"Parameters": {name: ["RW5hYmxlZA=="], **more}},
                                "annotation": base64.b64encode(annotation).decode()}}


def packet_of(case):
    """The agent's packet and the private options' layer key of a fixture."""
    folder = fixture(case)
    index = json.loads((folder / "layout/index.json").read_bytes())
    blob = lambda d: (folder / "layout/blobs/sha256" / d.split(":")[1]).read_bytes()  # noqa: E731
    layer = json.loads(blob(index["manifests"][0]["digest"]))["layers"][0]
    value = next(v for k, v in layer["annotations"].items() if ".keys.provider." in k)
    want = json.loads((folder / "expect.json").read_bytes())["layers"][0]
    return base64.b64decode(value), bytes.fromhex(want["symkey_hex"])


def ask(box, request, *args, ok=True, **kw):
    """One request of the exec protocol: (member, bytes) of the reply, which is all of stdout."""
    r = box.run("propenc", "keyprovider", *args, ok=ok, **kw,
                stdin=request if isinstance(request, bytes) else json.dumps(request))
    if r.returncode:
        assert r.stdout == b"", r.stdout
        return r
    (outer, inner), = json.loads(r.stdout).items()
    (name, numbers), = inner.items()
    assert isinstance(numbers, list) and {"keywrapresults": "annotation", "keyunwrapresults": "optsdata"}[outer] == name
    return name, bytes(numbers)


def refused(box, code, error_id, request, *args, **kw):
    r = ask(box, request, "--json", *args, ok=code, **kw)
    e = r.error()
    assert e["code"] == error_id, e
    assert "\n" not in e["message"]
    return e


class Site:
    def __init__(self, box, kbs, policy="allow-all"):
        self.box, self.kbs = box, kbs
        self.admin = ("--kbs", kbs.url, "--admin-key", kbs.admin_key)
        self.guest = ("--kbs", kbs.url, "--tee", "sample")
        box.run("propkey", "policy", "preset", policy, *self.admin)

    def get(self, path):
        return self.box.run("propkey", "get", path, "--kbs", self.kbs.url, "--tee", "sample").stdout


@pytest.fixture
def site(box, kbs):
    return Site(box, kbs)


class Service:
    """propenc keyprovider --listen; address, and what it said."""

    def __init__(self, box, *args, listen=("--listen", "127.0.0.1:0"), program="propenc", verb=("keyprovider",)):
        self.box = box
        self.log_path = box / f"service-{time.monotonic_ns()}.log"
        self.log = open(self.log_path, "wb+")
        self.proc = subprocess.Popen([str(a) for a in (program if "/" in str(program) else BIN / program, *verb, *listen, *args)],
                                     stdout=subprocess.PIPE, stderr=self.log, env=box.env, cwd=box.path)
        line = self.proc.stdout.readline().decode()
        assert line.startswith("listening on "), (line, self.said())
        self.address = line.split()[-1]

    @property
    def port(self):
        return int(self.address.rsplit(":", 1)[1])

    def said(self):
        return self.log_path.read_text(errors="replace")

    def wait_said(self, text):
        for _ in range(1000):
            if text in self.said():
                return
            time.sleep(0.01)
        raise AssertionError((text, self.said()))

    def rss_kib(self):
        status = pathlib.Path(f"/proc/{self.proc.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])

    def stop(self, sig=signal.SIGTERM, rc=0):
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
        try:
            got = self.proc.wait(60)
        finally:
            self.proc.kill()
            self.proc.stdout.close()
            self.log.close()
        assert got == rc, (got, self.said())
        assert "AddressSanitizer" not in self.said() and "runtime error:" not in self.said(), self.said()


@pytest.fixture
def serve(box):
    started = []

    def start(*args, **kw):
        started.append(Service(box, *args, **kw))
        return started[-1]

    yield start
    for s in started:
        s.stop()


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def message(payload):
    return b"\x0a" + varint(len(payload)) + payload


def payload_of(raw):
    """The one field of a reply."""
    assert raw[0] == 0x0a
    n = shift = 0
    for i, byte in enumerate(raw[1:], 1):
        n |= (byte & 127) << shift
        shift += 7
        if not byte & 128:
            break
    assert len(raw) == i + 1 + n
    return raw[i + 1:]


@pytest.fixture
def grpc():
    return pytest.importorskip("grpc", reason="peer not installed: python3-grpcio")


class Stub:
    def __init__(self, grpc, target):
        self.channel = grpc.insecure_channel(target)

    def call(self, method, request, timeout=60):
        f = self.channel.unary_unary(SERVICE + method, request_serializer=message, response_deserializer=payload_of)
        return f(request if isinstance(request, bytes) else json.dumps(request).encode(), timeout=timeout)

    def future(self, method, request, timeout=60):
        f = self.channel.unary_unary(SERVICE + method, request_serializer=message, response_deserializer=payload_of)
        return f.future(json.dumps(request).encode(), timeout=timeout)


@pytest.fixture
def stub(grpc):
    opened = []

    def connect(target):
        opened.append(Stub(grpc, target))
        return opened[-1]

    yield connect
    for s in opened:
        s.channel.close()


def image(box):
    """A layer to encrypt, and where it goes."""
    module = box / "addition.wasm"
    module.write_bytes(fixture("wasm", "addition.wasm").read_bytes())
    return module


def config(box, **providers):
    path = box / "ocicrypt.conf"
    path.write_text(json.dumps({"key-providers": providers}))
    return {"OCICRYPT_KEYPROVIDER_CONFIG": str(path)}


def encrypt_and_back(box, env, name, params):
    module = image(box)
    shutil.rmtree(box / "enc", ignore_errors=True)
    (box / "out.wasm").unlink(missing_ok=True)
    box.run("propenc", "encrypt", module, "oci:enc:v1", "-r", f"provider:{name}:{params}", env=env)
    index = json.loads((box / "enc/index.json").read_bytes())
    blob = lambda d: (box / "enc/blobs/sha256" / d.split(":")[1]).read_bytes()  # noqa: E731
    layer = json.loads(blob(index["manifests"][0]["digest"]))["layers"][0]
    assert f"org.opencontainers.image.enc.keys.provider.{name}" in layer["annotations"]
    box.run("propenc", "decrypt", "oci:enc:v1", "out.wasm", "--key", f"provider:{name}", env=env)
    assert (box / "out.wasm").read_bytes() == module.read_bytes()
    return layer
