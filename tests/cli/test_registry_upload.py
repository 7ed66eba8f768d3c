"""Uploads that break: what is sent again, what is begun anew, what ends the push, and what is left."""
import hashlib
import json
import signal
import subprocess
import time

import pytest

from conftest import BIN, VECTORS
from helpers import fault_server as fs

FIX = VECTORS / "ocicrypt"
MIB = 1 << 20


@pytest.fixture
def server():
    with fs.FaultServer() as s:
        yield s


def module(box, size, name="big.wasm"):
    """Bytes that differ everywhere, so that a wrong offset shows."""
    block = hashlib.shake_256(name.encode()).digest(MIB)
    data = (b"\0asm\1\0\0\0" + b"".join(bytes([i & 255]) + block for i in range(size // MIB + 1)))[:size]
    (box / name).write_bytes(data)
    return box / name


def ref(server, name="team/app:v1"):
    return f"docker://{server.host}/{name}"


def push(box, server, path, *more, **kw):
    return box.run("proppush", "push", path, ref(server), *more, **kw)


def ranges(server):
    return [r.headers.get("Content-Range") for r in server.requests if r.method == "PATCH"]


def is_whole(server, path):
    manifest = json.loads(server.manifests["team/app", "v1"][0])
    layer = manifest["layers"][0]
    return server.blobs[layer["digest"]] == path.read_bytes() and server.uploads == {}


def encrypt(box, server, keys, path, *more, **kw):
    kek = f"provider:attestation-agent:keypath={keys}/kek32.bin::keyid=kbs:///default/key/x"
    return box.run("propenc", "encrypt", path, ref(server), "-r", kek, *more, **kw)


def opens(box, server, keys, path):
    box.run("propenc", "decrypt", ref(server), "back.wasm", "--key", keys / "kek32.bin", "--force")
    return (box / "back.wasm").read_bytes() == path.read_bytes() and server.uploads == {}


# --- resume ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("after", [0, 1, 65536, MIB + 7, 3 * MIB - 1, 3 * MIB])
def test_a_cut_upload_goes_on_where_it_was(box, server, after):
    """0 and 1 byte cannot be told apart by the registry's answer: such a session is begun anew."""
    path = module(box, 3 * MIB)
    server.fault("PATCH", ".", fs.cut_patch(after))
    push(box, server, path)
    assert is_whole(server, path)
    if after == 3 * MIB:
        assert ranges(server) == [None]  # the layer, once; the config goes with its PUT
    elif after > 1:
        assert ranges(server)[:2] == [None, f"{after}-{3 * MIB - 1}"]
        assert server.count("POST", "/uploads/") == 2
    else:  # sessions: the layer's, perhaps another one, the config's
        begun, dropped = server.count("POST", "/uploads/"), server.count("DELETE", "/uploads/")
        # where the cut came before libcurl had sent a byte, libcurl asks again by itself: one session
        assert (begun, dropped) == (3, 1) or (after == 0 and (begun, dropped) == (2, 0))


def test_many_cuts(box, server):
    path = module(box, 2 * MIB)
    for i in range(8):
        server.fault("PATCH", ".", fs.cut_patch(200_000))
    push(box, server, path)
    assert is_whole(server, path)
    assert server.count("GET", "/uploads/") == 8


def test_the_answer_is_lost_after_the_last_byte(box, server, keys):
    path = module(box, MIB)
    server.fault("PATCH", ".", fs.lost_answer)
    server.fault("PUT", "/uploads/", fs.lost_answer)
    push(box, server, path)
    assert is_whole(server, path)
    assert len(ranges(server)) == 1  # nothing was sent twice
    server.fault("PATCH", ".", fs.lost_answer)
    server.fault("PUT", "/uploads/", fs.lost_answer)
    encrypt(box, server, keys, path)
    assert opens(box, server, keys, path)


def test_a_file_larger_than_the_window(box, server):
    """What the registry lacks is gone here: it is read again, and what is there is not sent again."""
    path = module(box, 12 * MIB)
    server.fault("PATCH", ".", fs.cut_patch(9 * MIB))
    server.fault("PATCH", ".", fs.cut_request(9 * MIB))
    push(box, server, path)
    assert is_whole(server, path)
    box.run("proppush", "copy", ref(server), "oci:out:v1")
    server.blobs.clear(), server.manifests.clear(), server.requests.clear(), server.rules.clear()
    server.fault("PATCH", ".", fs.cut_patch(2 * MIB))
    box.run("proppush", "copy", "oci:out:v1", ref(server))
    assert is_whole(server, path)


@pytest.mark.parametrize("strict", [False, True])
def test_encrypting_again_under_a_new_key(box, server, keys, strict):
    """A registry that forgets: the layer is encrypted anew, and no byte of the first try is in the second."""
    path = module(box, 9 * MIB)
    server.strict_state = strict
    seen = []

    def look_and_forget(h):
        rest = h.path.split("?")[0].rsplit("/", 1)[1]
        seen.append(h.read_part(7 * MIB))
        h.server.owner.uploads.pop(rest)
        h.reset()
        return True
    server.fault("PATCH", ".", look_and_forget)
    encrypt(box, server, keys, path)
    assert opens(box, server, keys, path)
    layer = json.loads(server.manifests["team/app", "v1"][0])["layers"][0]["digest"]
    assert seen[0] and server.blobs[layer][:len(seen[0])] != seen[0]
    assert server.blobs[layer][:32] != seen[0][:32]


def test_encrypting_goes_on_within_the_window(box, server, keys):
    path = module(box, 9 * MIB)
    server.fault("PATCH", ".", fs.cut_patch(6 * MIB))
    encrypt(box, server, keys, path)
    # how far the client was ahead depends on the kernel: within the window it goes on, else begins anew
    assert opens(box, server, keys, path)
    small = module(box, MIB, "small.wasm")
    server.requests.clear()
    server.fault("PATCH", ".", fs.cut_patch(MIB // 2))
    encrypt(box, server, keys, small)
    assert opens(box, server, keys, small)
    assert ranges(server)[:2] == [None, f"{MIB // 2}-{MIB - 1}"]


def test_a_pipe_cannot_be_read_again(box, server, keys):
    big = module(box, 9 * MIB)
    for argv in (["proppush", "push", "-", ref(server)],
                 ["propenc", "encrypt", "-", ref(server), "-r", f"jwe:{keys}/ec.pub.pem"]):
        def forget(h):
            h.read_part(7 * MIB)
            h.server.owner.uploads.clear()
            h.reset()
            return True
        server.fault("PATCH", ".", forget)
        e = box.run(*argv, "--json", stdin=big.read_bytes(), ok=6).error()
        assert e["code"] == "upload-lost" and "pipe" in e["hint"]
        assert server.manifests == {} and server.uploads == {}
    # within the window it can
    server.fault("PATCH", ".", fs.cut_patch(MIB))
    small = module(box, 2 * MIB, "small.wasm")
    box.run("proppush", "push", "-", ref(server), stdin=small.read_bytes())
    assert is_whole(server, small)


def test_a_session_that_is_always_lost(box, server):
    path = module(box, MIB)
    server.fault("PATCH", ".", fs.forget, times=50)
    e = push(box, server, path, "--json", ok=8).error()
    assert e["code"] == "upload-session-lost" and server.manifests == {}
    assert server.count("POST", "/uploads/") == 3


def test_a_session_lost_once(box, server):
    path = module(box, MIB)
    server.fault("PATCH", ".", fs.forget)
    push(box, server, path)
    assert is_whole(server, path)
    server.blobs.clear()
    server.fault("PUT", "/uploads/", fs.forget)
    push(box, server, path)
    assert is_whole(server, path)


def test_ranges_that_lie(box, server):
    path = module(box, MIB)
    server.fault("PATCH", ".", fs.cut_patch(1000))
    server.fault("GET", "/uploads/", fs.add_headers(Range=f"0-{9 * MIB}"), times=9)
    e = push(box, server, path, "--json", ok=6).error()
    assert e["code"] == "bad-range" and server.manifests == {} and server.uploads == {}
    server.rules.clear()
    server.fault("PATCH", ".", fs.add_headers(Range=f"0-{9 * MIB}"))
    assert push(box, server, path, "--json", ok=6).error()["code"] == "bad-range"
    # less than it has: asked again, it tells the truth
    server.fault("PATCH", ".", fs.add_headers(Range="0-500"))
    push(box, server, path)
    assert is_whole(server, path)
    # nonsense is no answer: begun anew
    for text in ("1-2", "0-", "0-0", "bytes 0-5", None, "0-18446744073709551615"):
        server.rules.clear(), server.blobs.clear()
        server.fault("PATCH", ".", fs.cut_patch(1000))
        server.fault("GET", "/uploads/", fs.add_headers(Range=text))
        push(box, server, path)
        assert is_whole(server, path), text


# --- chunks ----------------------------------------------------------------------------------------

def test_chunk_min_length_is_obeyed(box, server, keys):
    server.chunk_min = 20 * MIB
    path = module(box, 45 * MIB)
    push(box, server, path)
    assert is_whole(server, path)
    assert ranges(server)[:3] == [f"0-{20 * MIB - 1}", f"{20 * MIB}-{40 * MIB - 1}", f"{40 * MIB}-{45 * MIB - 1}"]
    assert all("Content-Length" in r.headers for r in server.requests if r.method == "PATCH")


def test_chunk_min_length_without_a_known_size(box, server):
    server.chunk_min = 300_000
    path = module(box, 5 * MIB + 1)
    box.run("proppush", "push", "-", ref(server), stdin=path.read_bytes())
    assert is_whole(server, path)
    assert all("Content-Length" in r.headers for r in server.requests if r.method == "PATCH")
    server.blobs.clear()
    empty_end = module(box, 4 * MIB, "even.wasm")
    box.run("proppush", "push", "-", ref(server), stdin=empty_end.read_bytes())
    assert is_whole(server, empty_end)


def test_chunks_survive_cuts(box, server, keys):
    server.chunk_min = MIB
    path = module(box, 20 * MIB)
    server.fault("PATCH", ".", fs.cut_patch(3 * MIB))
    server.fault("PATCH", ".", fs.status(503, b"", {"Retry-After": "0"}))
    server.fault("PATCH", ".", fs.lost_answer)
    encrypt(box, server, keys, path)
    assert opens(box, server, keys, path)


def test_too_large_bodies_become_smaller(box, server, keys):
    server.max_body = 3 * MIB
    path = module(box, 10 * MIB)
    push(box, server, path)
    assert is_whole(server, path)
    kept = [int(r.headers["Content-Length"]) for r in server.requests if r.headers.get("Content-Range")]
    assert sum(kept) >= 10 * MIB and min(kept) <= 3 * MIB
    server.max_body = 10
    server.blobs.clear(), server.manifests.clear()
    e = push(box, server, path, "--json", ok=6).error()
    assert e["code"] == "registry-refused" and "413" in e["message"] and server.uploads == {}


def test_a_server_that_wants_a_length(box, server):
    """411 for chunked coding: the body goes in pieces whose length is known."""
    server.want_length = True
    path = module(box, MIB)
    box.run("proppush", "push", "-", ref(server), stdin=path.read_bytes())
    assert is_whole(server, path)


def test_416_asks_how_far_it_got(box, server):
    path = module(box, MIB)
    server.fault("PATCH", ".", fs.cut_patch(1000))
    server.fault("PATCH", ".", fs.status(416))
    push(box, server, path)
    assert is_whole(server, path)
    server.blobs.clear(), server.manifests.clear()
    server.fault("PATCH", ".", fs.status(416), times=99)
    e = push(box, server, path, "--json", ok=6).error()
    assert "416" in e["message"] and server.manifests == {}


def test_one_patch_is_enough(box, server):
    path = module(box, 40 * MIB)
    push(box, server, path)
    assert ranges(server) == [None]


# --- answers in the middle -------------------------------------------------------------------------

@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("when", ["end", "middle"])
def test_transient_answers(box, server, code, when):
    path = module(box, 3 * MIB)
    act = fs.status(code, b"{}", {"Retry-After": "0"}) if when == "end" else \
        fs.early_drained(code, b"{}", {"Retry-After": "0"})
    server.fault("PATCH", ".", act, times=2)
    push(box, server, path)
    assert is_whole(server, path)


@pytest.mark.parametrize("code, exit, id", [(400, 6, "registry-refused"), (403, 5, "denied"), (405, 6, "registry-refused"),
                                            (409, 6, "registry-refused")])
def test_final_answers(box, server, keys, code, exit, id):
    """Not sent again, the session deleted, no tag."""
    path = module(box, 3 * MIB)
    for method in ("PATCH", "PUT"):
        server.requests.clear(), server.rules.clear()
        server.fault(method, "/uploads/", fs.early_drained(code, b"{}"), times=9)
        e = push(box, server, path, "--json", ok=exit).error()
        assert e["code"] == id and server.count(method, "/uploads/") == 1
        assert server.manifests == {} and server.uploads == {}
        e = encrypt(box, server, keys, path, "--json", ok=exit).error()
        assert e["code"] == id and server.manifests == {} and server.uploads == {}


def test_a_registry_that_is_broken_for_good(box, server):
    path = module(box, MIB)
    server.fault("PATCH", ".", fs.cut_patch(1000), times=1)
    server.fault("PATCH", ".", fs.drop, times=99)
    start = time.monotonic()
    e = push(box, server, path, "--json", ok=6).error()
    assert e["code"] == "reset" and server.manifests == {} and server.uploads == {}
    assert server.count("PATCH", ".") <= 6 and time.monotonic() - start < 30


def test_unclear_put_of_a_manifest_is_asked_about(box, server):
    """Nobody else's tag is overwritten by a repetition."""
    path = module(box, 1000)
    server.fault("PUT", "/manifests/v1", fs.lost_answer)
    push(box, server, path)
    assert server.count("PUT", "/manifests/v1") == 1 and server.count("HEAD", "/manifests/v1") == 1
    server.requests.clear(), server.manifests.clear()
    server.fault("PUT", "/manifests/v1", fs.drop)
    push(box, server, path)
    assert server.count("PUT", "/manifests/v1") == 2


def test_time_is_bounded(box, server):
    path = module(box, 1000)
    server.fault("POST", "/uploads/", fs.status(503, b"", {"Retry-After": "50"}), times=99)
    start = time.monotonic()
    e = push(box, server, path, "--json", "--timeout", "500ms", ok=6).error()
    assert e["code"] == "timeout" and time.monotonic() - start < 20
    server.rules.clear()
    server.fault("PATCH", ".", fs.stall, times=9)
    e = push(box, server, path, "--json", "--timeout", "700ms", ok=6).error()
    assert e["code"] == "timeout" and server.manifests == {}


def test_warnings_are_shown_once(box, server):
    path = module(box, 1000)
    said = {"Warning": ['299 - "this registry moves on \\"Friday\\""', '299 - "\x1b[31mred"', '110 - "stale"']}
    server.fault("HEAD", ".", fs.add_headers(**said), times=99)
    r = push(box, server, path)
    assert r.err.count('moves on "Friday"') == 1 and r.err.count("red") == 1
    assert "\x1b" not in r.err and "stale" not in r.err and server.host in r.err


def test_a_refused_mount_leaves_its_session_to_the_upload(box, server):
    path = module(box, MIB)
    push(box, server, path)
    server.requests.clear()
    box.run("proppush", "copy", ref(server), ref(server, "other/app:v1"))
    # the mock's blobs are everybody's, so they are there: take them away from it
    server.requests.clear()
    layer = json.loads(server.manifests["team/app", "v1"][0])["layers"][0]["digest"]
    server.fault("HEAD", f"/third/app/blobs/{layer}", fs.status(404))
    box.run("proppush", "copy", ref(server), ref(server, "third/app:v1"))
    assert server.count("POST", "mount=") == 1 and server.count("POST", "/uploads/") == 1
    assert server.count("DELETE", ".") == 0 and server.uploads == {}
    # and one that is granted moves nothing
    server.mounts = True
    server.requests.clear()
    server.fault("HEAD", f"/fourth/app/blobs/{layer}", fs.status(404))
    box.run("proppush", "copy", ref(server), ref(server, "fourth/app:v1"))
    assert server.count("PATCH", ".") == 0 and server.count("GET", "/blobs/") == 0


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_upload_is_taken_back(box, server, sig):
    server.fault("PATCH", ".", fs.stall)
    p = subprocess.Popen([BIN / "proppush", "push", "-", ref(server)], stdin=subprocess.PIPE, env=box.env,
                         stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdin.write(b"\0asm\1\0\0\0" + bytes(1000))
    p.stdin.flush()
    server.wait_for("PATCH", ".")
    p.send_signal(sig)
    assert p.wait(20) == 130, p.stderr.read()
    p.communicate()
    assert server.manifests == {} and server.uploads == {}
