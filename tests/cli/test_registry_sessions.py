"""Upload sessions: whatever goes wrong, none that was begun is left behind at the registry."""
import hashlib
import json
import signal
import subprocess
import threading
import time

import pytest

from conftest import BIN, need
from helpers import fault_server as fs
from helpers import registries
from images import Layout

MIB = 1 << 20
OCTETS = "application/octet-stream"


@pytest.fixture
def server():
    with fs.FaultServer() as s:
        yield s


def ref(server, name="team/app:v1"):
    return f"docker://{server.host}/{name}"


def data(size, seed=0):
    return (b"\0asm\1\0\0\0" + hashlib.shake_256(bytes([seed])).digest(size))[:size]


def image(box, sizes, name="src"):
    """An image of plain layers in a layout; what they hold."""
    layout, layers = Layout(box / name), [data(n, i) for i, n in enumerate(sizes)]
    layout.name(layout.image([(OCTETS, d, d) for d in layers]))
    return layout, layers


def later(seconds, event=None):
    """Go on as usual after a while."""
    def act(h):
        if event:
            event.set()
        time.sleep(seconds)
        return False
    return act


FAULTS = {
    "400": fs.status(400), "403": fs.status(403, b"{}"), "404": fs.status(404), "409": fs.status(409),
    "413": fs.early_drained(413), "416": fs.status(416), "429": fs.status(429, b"", {"Retry-After": "0"}),
    "500": fs.status(500, b"", {"Retry-After": "0"}), "502": fs.early_drained(502, b"", {"Retry-After": "0"}),
    "drop": fs.drop, "cut": fs.cut_request(1000), "lost": fs.lost_answer, "stall": fs.stall,
    "elsewhere": fs.add_headers(Location="http://127.0.0.9:1/x"), "digest": fs.add_headers(Docker_Content_Digest="sha256:" + "0" * 64),
    "range": fs.add_headers(Range="0-99999999"), "html": fs.status(200, b"<html>"), "forget": fs.forget,
    "challenge": fs.status(401, b"", {"WWW-Authenticate": "Basic realm=x"}),
}


# not: a PUT answered 200 by one that keeps the session, which nobody can know
CASES = [(f, m) for f in sorted(FAULTS) for m in ("PATCH", "PUT", "GET") if (f, m) != ("html", "PUT")]


@pytest.mark.parametrize("fault, method", CASES)
def test_nothing_is_left_of_an_upload(box, server, fault, method):
    """A file that is pushed, and an image of large and small blobs that go up side by side."""
    (box / "big.wasm").write_bytes(data(MIB))
    image(box, [300_000, 200_000, 1000, 400_000])
    for argv in (["push", "big.wasm", ref(server)], ["copy", "oci:src:v1", ref(server, "team/other:v1")]):
        server.rules.clear()
        if method == "GET":  # asked how far it got, after a cut
            server.fault("PATCH", ".", fs.cut_patch(50_000))
        server.fault(method, "/uploads/", FAULTS[fault], times=999)
        r = box.run("proppush", *argv, "--registry-timeout", "300ms", "--json", ok=None)
        assert r.returncode in (0, 4, 5, 6, 8), r.err
        assert server.uploads == {}, (argv, server.requests)
        assert r.returncode == 0 or not any(t == "v1" for _, t in server.manifests)


def test_a_stall_is_one_more_broken_connection(box, server):
    """The server takes bytes and stops reading, or reads all and says nothing: it is asked how far it got."""
    path = box / "big.wasm"
    path.write_bytes(data(3 * MIB))

    def stop_reading(h):
        rest = h.path.split("?")[0].rsplit("/", 1)[1]
        h.server.owner.uploads[rest] += h.read_part(MIB)
        return fs.stall(h)
    server.fault("PATCH", ".", stop_reading)
    box.run("proppush", "push", path, ref(server), "--registry-timeout", "1s")
    ranges = [r.headers.get("Content-Range") for r in server.requests if r.method == "PATCH"]
    assert ranges == [None, f"{MIB}-{3 * MIB - 1}"] and server.uploads == {}
    server.blobs.clear()
    server.fault("PUT", "/uploads/", fs.stall)  # the config's, or the layer's
    e = box.run("proppush", "push", path, ref(server, "team/app:v2"), "--registry-timeout", "1s", "--json", ok=None)
    assert e.returncode in (0, 6) and server.uploads == {}


@pytest.mark.parametrize("sizes", [[300_000], [300_000, 1000, 200_000, 250_000]])
def test_a_session_begun_while_everything_ends(box, server, sizes):
    """The signal comes while the registry begins the session: its answer is waited for, to delete it."""
    image(box, sizes)
    for sig in (signal.SIGTERM, signal.SIGINT):
        begun = threading.Event()
        server.rules.clear()
        server.fault("POST", "/uploads/", later(0.25, begun), times=99)
        p = subprocess.Popen([BIN / "proppush", "copy", "oci:src:v1", ref(server)], env=box.env, cwd=box.path,
                             stderr=subprocess.PIPE)
        assert begun.wait(20)
        p.send_signal(sig)
        assert p.wait(30) == 130, p.stderr.read()
        p.communicate()
        assert server.uploads == {} and server.manifests == {}, server.requests


def test_a_session_begun_beside_a_failure(box, server):
    layout, layers = image(box, [300_000 + i for i in range(6)])
    server.fault("POST", "/uploads/", lambda h: False)
    server.fault("POST", "/uploads/", later(0.3), times=99)
    server.fault("PATCH", ".", fs.early_drained(403, b"{}"))
    e = box.run("proppush", "copy", "oci:src:v1", ref(server), "--parallel", "4", "--json", ok=5).error()
    assert e["code"] == "denied" and server.uploads == {} and server.manifests == {}
    # and where the source fails
    victim = layout.blobs / fs.digest_of(layers[2])[7:]
    victim.write_bytes(b"?" + layers[2][1:])
    e = box.run("proppush", "copy", "oci:src:v1", ref(server), "--parallel", "4", "--json", ok=4).error()
    assert e["code"] == "digest-mismatch" and server.uploads == {} and server.manifests == {}


def test_sessions_of_refused_mounts(box, server):
    """Three mounts at once are refused, each with a session: blobs use them, and what is over is deleted."""
    image(box, [200_000 + i for i in range(3)] + [1000])
    box.run("proppush", "copy", "oci:src:v1", ref(server))
    for then, code in ((None, 0), (fs.status(403, b"{}"), 5)):
        server.rules.clear(), server.requests.clear()
        server.fault("HEAD", "/third/app/blobs/", fs.status(404), times=99)
        if then:
            server.fault("GET", "/blobs/", then, times=99)
        box.run("proppush", "copy", ref(server), ref(server, f"third/app:v{code}"), ok=code)
        assert server.count("POST", "mount=") > 0 and server.uploads == {}


def test_a_deaf_registry_does_not_hold_us(box, server):
    """It answers nothing more, not the DELETE either: a signal ends the command long before its timeouts."""
    image(box, [300_000 + i for i in range(4)])
    server.fault("PATCH", ".", fs.stall, times=99)
    server.fault("DELETE", ".", fs.stall, times=99)
    p = subprocess.Popen([BIN / "proppush", "copy", "oci:src:v1", ref(server)], env=box.env, cwd=box.path,
                         stderr=subprocess.PIPE)
    server.wait_for("PATCH", ".")
    start = time.monotonic()
    p.send_signal(signal.SIGTERM)
    assert p.wait(30) == 130, p.stderr.read()
    p.communicate()
    assert time.monotonic() - start < 20  # the silence of 60 s that is borne otherwise


@pytest.mark.parametrize("kind", ["plain", "htpasswd", "token", "tls"])
def test_docker_registry_keeps_no_session(box, tmp_path, kind):
    """A damaged source ends uploads in the middle. With tokens, deleting needs a right of its own."""
    need("docker-registry")
    layout, layers = image(box, [400_000, 300_000, 1000])
    victim = layout.blobs / fs.digest_of(layers[0])[7:]
    victim.write_bytes(layers[0][:-1] + b"?")
    with registries.place(kind, box, tmp_path / kind) as p:
        e = box.run("proppush", "copy", "oci:src:v1", p.ref("team/app:v1"), *p.ours, "--json", ok=4).error()
        assert e["code"] == "digest-mismatch"
        # it deletes a session's bytes, and stores an empty hash state again while it does that
        assert list(p.registry.root.rglob("_uploads/*/data")) == []
        if p.tokens:
            asked = [s for _, query, _ in p.tokens.requests for s in query.get("scope", [])]
            assert any("delete" in s for s in asked)


# --- the time that is given -------------------------------------------------------------------------

def test_one_time_for_the_whole_command(box, server):
    """Several tags are several connections: --timeout is for all of them together."""
    (box / "m.wasm").write_bytes(data(1000))
    tags = ",".join(f"v{i}" for i in range(8))
    server.fault("PUT", "/manifests/v", later(0.4), times=99)
    e = box.run("proppush", "push", "m.wasm", ref(server, f"team/app:{tags}"), "--timeout", "1s", "--json", ok=6).error()
    assert e["code"] == "timeout"
    assert server.count("PUT", "/manifests/v") < 8


# --- small blobs ------------------------------------------------------------------------------------

def test_a_registry_that_takes_small_blobs_at_once(box, server):
    layout, layers = image(box, [1000, 2000, 128 << 10, 0], "src")
    server.single = True
    box.run("proppush", "copy", "oci:src:v1", ref(server))
    assert all(server.blobs[fs.digest_of(d)] == d for d in layers)
    assert server.count("POST", "digest=") == 5 and server.count("PATCH", ".") == server.count("PUT", "/uploads/") == 0


def test_one_that_does_not_is_asked_once(box, server):
    image(box, [1000, 2000, 3000, 0])
    box.run("proppush", "copy", "oci:src:v1", ref(server), "--parallel", "1")
    assert server.count("POST", "digest=") == 1 and server.count("POST", "/uploads/") == 5
    assert server.count("PUT", "/uploads/") == 5 and server.count("PATCH", ".") == 0 and server.uploads == {}


@pytest.mark.parametrize("code", [400, 404, 405, 411, 413, 415, 501])
def test_one_that_refuses_the_whole_body(box, server, code):
    """Refused with the first request, or the second: the blob goes up in the long way."""
    image(box, [1000])
    server.fault("POST", "digest=", fs.status(code), times=99)
    box.run("proppush", "copy", "oci:src:v1", ref(server), "--parallel", "1")
    assert server.count("POST", "digest=") == 1 and server.count("PATCH", ".") == 0
    server.blobs.clear(), server.manifests.clear(), server.requests.clear()

    def no_body(h):
        return len(h.read_body()) > 0 and fs.status(code)(h)
    server.fault("PUT", "/uploads/", no_body, times=99)
    box.run("proppush", "copy", "oci:src:v1", ref(server), "--parallel", "1")
    assert server.count("PATCH", ".") == 2 and ("team/app", "v1") in server.manifests and server.uploads == {}


def test_bodies_that_went_into_the_session_already(box, server):
    """202 for the POST, and its body is kept: all of it, or some."""
    image(box, [1000])
    layer = data(1000)

    def keep(count):
        def act(h):
            body = h.read_body()
            if "digest=" not in h.path:
                return False
            h.server.owner.uploads["x"] = body[:count]
            h.answer(202, b"", {"Location": "/v2/team/app/blobs/uploads/x?s=0", "Range": f"0-{max(len(body[:count]) - 1, 0)}"})
            return True
        return act
    for count in (10 ** 6, 500):
        server.rules.clear(), server.blobs.clear(), server.manifests.clear()
        server.fault("POST", "/uploads/", keep(count))
        box.run("proppush", "copy", "oci:src:v1", ref(server), "--parallel", "1")
        assert server.blobs[fs.digest_of(layer)] == layer and server.uploads == {}


def test_lost_answers_of_small_blobs(box, server):
    image(box, [1000, 2000])
    server.single = True
    server.fault("POST", "digest=", fs.lost_answer, times=2)
    box.run("proppush", "copy", "oci:src:v1", ref(server))
    server.single = False
    server.blobs.clear(), server.manifests.clear(), server.requests.clear()
    server.fault("PUT", "/uploads/", fs.lost_answer, times=3)
    box.run("proppush", "copy", "oci:src:v1", ref(server))
    assert server.count("PUT", "/uploads/") == 3 and server.uploads == {}
    assert len(json.loads(server.manifests["team/app", "v1"][0])["layers"]) == 2
