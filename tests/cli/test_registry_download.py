"""Downloads that break, and images of several blobs moved at once."""
import hashlib
import json
import threading
import time

import pytest

from helpers import fault_server as fs

MIB = 1 << 20
OCI = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture
def server():
    with fs.FaultServer() as s:
        yield s


def ref(server, name="team/app:v1"):
    return f"docker://{server.host}/{name}"


def blob(size, seed=0):
    block = hashlib.shake_256(bytes([seed])).digest(MIB)
    return (b"\0asm\1\0\0\0" + b"".join(bytes([i & 255]) + block for i in range(size // MIB + 1)))[:size]


def put_layers(server, layers, name="team/app", tag="v1"):
    """An image of these layers, in this order; its manifest's digest."""
    config = b'{"architecture":"amd64"}'
    for data in [config, *layers]:
        server.blobs[fs.digest_of(data)] = data

    def described(kind, data):
        return {"mediaType": kind, "digest": fs.digest_of(data), "size": len(data)}
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": OCI, "config": described("application/vnd.oci.image.config.v1+json", config),
        "layers": [described("application/vnd.oci.image.layer.v1.tar", d) for d in layers]}).encode()
    server.manifests[name, tag] = server.manifests[name, fs.digest_of(manifest)] = manifest, OCI
    return fs.digest_of(manifest)


# --- ranges ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("cuts", [[1], [MIB - 1], [0], [700_000, 1, 2, 900_000], [2 * MIB - 1]])
@pytest.mark.parametrize("ranges", [True, False])
def test_a_cut_download_goes_on(box, server, cuts, ranges):
    layer = blob(2 * MIB)
    server.put_image("team/app", "v1", layer)
    server.ranges = ranges
    for after in cuts:
        server.fault("GET", f"/blobs/{fs.digest_of(layer)}", fs.cut(after))
    r = box.run("proppush", "pull", ref(server), "out.wasm", ok=None)
    if cuts == [0]:  # nothing came: one of the three tries of a request
        assert r.returncode == 0, r.err
    assert r.returncode == 0 and (box / "out.wasm").read_bytes() == layer, r.err
    if ranges and cuts == [MIB - 1]:
        assert [q.headers.get("Range") for q in server.requests if "/blobs/" in q.path][:2] == [None, f"bytes={MIB - 1}-"]


@pytest.mark.parametrize("code", [416, 400, 501])
def test_a_server_that_refuses_ranges(box, server, code):
    """The blob begins again, and what is there already is skipped, not hashed twice."""
    layer = blob(MIB)
    server.put_image("team/app", "v1", layer)
    path = f"/blobs/{fs.digest_of(layer)}"
    server.fault("GET", path, fs.cut(500_000))
    server.fault("GET", path, fs.status(code))
    box.run("proppush", "pull", ref(server), "out.wasm")
    assert (box / "out.wasm").read_bytes() == layer


@pytest.mark.parametrize("text", ["bytes 0-{last}/{size}", "bytes {half}-{last}/{more}", "bytes {half}-{more}/{size}", "nonsense", None])
def test_ranges_that_lie(box, server, text):
    layer = blob(MIB)
    server.put_image("team/app", "v1", layer)
    path = f"/blobs/{fs.digest_of(layer)}"
    server.fault("GET", path, fs.cut(MIB // 2))
    if text:
        text = text.format(half=MIB // 2, last=MIB - 1, size=MIB, more=MIB + 5)
    server.fault("GET", path, fs.add_headers(Content_Range=text))
    e = box.run("proppush", "pull", ref(server), "out.wasm", "--json", ok=6).error()
    assert e["code"] == "bad-range" and not (box / "out.wasm").exists()


def test_other_bytes_after_a_cut_are_noticed(box, server):
    layer, other = blob(MIB), blob(MIB, 1)
    server.put_image("team/app", "v1", layer)
    path = f"/blobs/{fs.digest_of(layer)}"
    for ranges in (True, False):
        server.ranges = ranges
        server.fault("GET", path, fs.cut(MIB // 2))
        server.fault("GET", path, fs.replace_body(lambda b: other[-len(b):]))
        e = box.run("proppush", "copy", ref(server), "oci:out", "--json", ok=4).error()
        assert e["code"] == "digest-mismatch" and not (box / "out").exists()


def test_no_byte_more_than_stated(box, server):
    """An endless answer is left at the first byte too many."""
    server.put_image("team/app", "v1", blob(100_000))

    def endless(h):
        h.close_connection = True
        h.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(10_000):
            h.wfile.write(bytes(65536))
            h.server.owner.sent = getattr(h.server.owner, "sent", 0) + 65536
        return True
    server.fault("GET", f"/blobs/{fs.digest_of(blob(100_000))}", endless)
    e = box.run("proppush", "pull", ref(server), "out.wasm", "--json", ok=4).error()
    assert e["code"] == "size-mismatch" and not (box / "out.wasm").exists()
    assert server.sent < 64 * MIB


def test_retry_after_as_a_date(box, server):
    server.put_image("team/app", "v1")
    when = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 2))
    server.fault("GET", "/manifests/", fs.status(429, b"", {"Retry-After": when}))
    start = time.monotonic()
    box.run("proppush", "inspect", ref(server))
    assert time.monotonic() - start >= 0.9
    # an hour is cut to a minute, and the deadline is shorter still
    for long in ("3600", "Fri, 01 Jan 2100 00:00:00 GMT"):
        server.fault("GET", "/manifests/", fs.status(429, b"", {"Retry-After": long}))
        e = box.run("proppush", "inspect", ref(server), "--timeout", "400ms", "--json", ok=6).error()
        assert e["code"] == "timeout"


# --- several blobs at once -------------------------------------------------------------------------

class Meeting:
    """A fault that holds requests until `n` of them are there, which proves that they came at once."""

    def __init__(self, n):
        self.barrier = threading.Barrier(n)

    def __call__(self, h):
        try:
            self.barrier.wait(10)
        except threading.BrokenBarrierError:
            pass
        return False


def test_layers_move_side_by_side(box, server):
    layers = [blob(300_000 + i, i) for i in range(6)]
    digest = put_layers(server, layers)
    meeting = Meeting(3)
    server.fault("GET", "/blobs/", meeting, times=3)
    assert box.run("proppush", "copy", ref(server), "oci:out:v1", "--json").json()["digest"] == digest
    assert not meeting.barrier.broken
    for data in layers:
        assert (box / "out/blobs" / fs.digest_of(data).replace(":", "/")).read_bytes() == data
    # and up again: three PATCH requests wait for each other
    with fs.FaultServer() as other:
        meeting = Meeting(3)
        other.fault("PATCH", ".", meeting, times=3)
        assert box.run("proppush", "copy", "oci:out:v1", ref(other), "--json").json()["digest"] == digest
        assert not meeting.barrier.broken and other.uploads == {}
        assert other.manifests["team/app", "v1"][0] == server.manifests["team/app", "v1"][0]
        assert all(other.blobs[fs.digest_of(d)] == d for d in layers)


@pytest.mark.parametrize("parallel, most", [("1", 1), ("2", 2), ("8", 7)])
def test_parallel_is_a_limit(box, server, parallel, most):
    layers = [blob(2000 + i, i) for i in range(6)]
    put_layers(server, layers)
    at_once, peak, lock = [0], [0], threading.Lock()

    def count(h):
        with lock:
            at_once[0] += 1
            peak[0] = max(peak[0], at_once[0])
        time.sleep(0.05)
        with lock:
            at_once[0] -= 1
        return False
    server.fault("GET", "/blobs/", count, times=99)
    box.run("proppush", "copy", ref(server), "dir:out", "--parallel", parallel)
    assert peak[0] <= most and (most == 1 or peak[0] > 1)


def test_the_same_layer_twice_moves_once(box, server):
    layers = [blob(5000), blob(6000, 1), blob(5000), blob(5000)]
    digest = put_layers(server, layers)
    with fs.FaultServer() as other:
        assert box.run("proppush", "copy", ref(server), ref(other), "--json").json()["digest"] == digest
        assert other.count("PUT", "/uploads/") == 3 and server.count("GET", "/blobs/") == 3


@pytest.mark.parametrize("fault, code, id", [
    (fs.status(403, b"{}"), 5, "denied"), (fs.replace_body(lambda b: b[:-1] + b"?"), 4, "digest-mismatch")])
def test_the_first_failure_ends_the_others(box, server, fault, code, id):
    layers = [blob(400_000 + i, i) for i in range(5)]
    put_layers(server, layers)
    server.fault("GET", f"/blobs/{fs.digest_of(layers[1])}", fault, times=9)
    # the others hang: without being told to stop they would wait for a minute
    server.fault("GET", "/blobs/", fs.stall_after(1000), times=99)
    start = time.monotonic()
    for dst in ("oci:out:v1", "dir:out"):
        e = box.run("proppush", "copy", ref(server), dst, "--json", ok=code).error()
        assert e["code"] == id and "layer 2 of 5" in e["message"]
        assert not (box / "out").exists()
    assert time.monotonic() - start < 20


def test_a_failed_parallel_push_takes_its_uploads_back(box, server):
    layers = [blob(400_000 + i, i) for i in range(5)]
    put_layers(server, layers)
    box.run("proppush", "copy", ref(server), "oci:out:v1")
    with fs.FaultServer() as other:
        def refuse_when_all_are_there(h):
            end = time.monotonic() + 10
            while other.count("PATCH", ".") < 3 and time.monotonic() < end:
                time.sleep(0.01)
            return fs.early_drained(403, b"{}")(h)
        other.fault("PATCH", ".", refuse_when_all_are_there)
        other.fault("PATCH", ".", fs.stall, times=9)
        e = box.run("proppush", "copy", "oci:out:v1", ref(other), "--json", ok=5).error()
        assert e["code"] == "denied" and other.manifests == {}
        deadline = time.monotonic() + 5
        while other.uploads and time.monotonic() < deadline:
            time.sleep(0.02)
        assert other.uploads == {}


def test_faults_in_the_middle_of_parallel_copies(box, server):
    layers = [blob(3 * MIB + i, i) for i in range(5)]
    digest = put_layers(server, layers)
    with fs.FaultServer() as other:
        for after in (100_000, 1, 2 * MIB):
            server.fault("GET", "/blobs/", fs.cut(after))
            other.fault("PATCH", ".", fs.cut_patch(after))
        server.fault("GET", "/blobs/", fs.status(502))
        other.fault("PATCH", ".", fs.lost_answer)
        other.fault("PUT", "/uploads/", fs.lost_answer)
        other.fault("POST", "/uploads/", fs.status(429, b"", {"Retry-After": "0"}))
        assert box.run("proppush", "copy", ref(server), ref(other), "--json").json()["digest"] == digest
        assert all(other.blobs[fs.digest_of(d)] == d for d in layers) and other.uploads == {}


def test_many_layers(box, server):
    layers = [blob(100 + i, i) for i in range(60)]
    digest = put_layers(server, layers)
    with fs.FaultServer() as other:
        r = box.run("proppush", "copy", ref(server), ref(other), "--parallel", "16", "--json")
        assert r.json()["digest"] == digest
        assert len([b for b in other.blobs]) == 61
