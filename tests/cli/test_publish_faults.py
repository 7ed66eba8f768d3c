"""proppush publish while servers, networks and other people get in its way: wherever it ends, an image
has no name before its key stands in the KBS, and no key stands there before its rule."""
import base64
import concurrent.futures
import http.server
import json
import os
import signal
import subprocess
import threading

import pytest

from conftest import free_port
from publishing import ADDITION, Publisher, World, host_of, kept_keks, manifest, tag_digest

ARGS = ("--policy-doc", "p.toml", "--allow", "tee=sample", "--kid", "team/key/k1")
SAMPLE = {"PROP_TEE": "sample"}


def in_worlds(tmp_path, registry, which, action):
    """Run action(world, proxy, i) for each request i that a publish sends to `which`, side by side."""
    first = World(tmp_path / "count", registry, "team/count")
    first.run(*ARGS, env=SAMPLE)
    first.check(False)
    count = len((first.kbs_proxy if which == "kbs" else first.reg_proxy).log)
    first.stop()
    assert count > 4

    def one(i):
        w = World(tmp_path / f"world{i}", registry, f"team/world{i}")
        try:
            action(w, w.kbs_proxy if which == "kbs" else w.reg_proxy, i)
        finally:
            w.stop()

    # most of it is waiting between one retry and the next
    with concurrent.futures.ThreadPoolExecutor(10) as pool:
        list(pool.map(one, range(count)))


@pytest.mark.parametrize("which", ["kbs", "registry"])
@pytest.mark.parametrize("fault", [500, 401, "drop", "lost"])
def test_each_request_fails(tmp_path, registry, which, fault):
    """Request after request fails for good from then on: the command fails, the tag stays, and all of
    it is taken back, at once or when the servers are there again. A lost answer is lost once."""
    def action(w, proxy, i):
        proxy.fault = (lambda n, method, path: fault if n == i else None) if fault == "lost" else (
            lambda n, method, path: fault if n >= i and method != "DELETE" else None)
        before = w.snapshot()
        r = w.run(*ARGS, "--json", ok=None, env=SAMPLE)
        proxy.fault = lambda n, method, path: None
        if r.returncode == 0:
            # retried with success, or the answer was not needed: then it is all there
            w.check(False)
            assert w.tag() == r.json()["digest"]
            return
        assert r.returncode in (4, 5, 6, 7, 8), (i, r.returncode, r.err)
        assert r.out == "" and r.error()["message"]
        w.check(True)
        # What the failed command could not take back is a run that stays open, and says so.
        for run in w.open_runs():
            assert f"--abort {run['run']}" in r.error()["hint"], r.err
            w.run_verb("--abort", run["run"])
        assert w.snapshot() == before, r.err

    in_worlds(tmp_path, registry, which, action)


def interrupted_at(w, proxy, i):
    """SIGINT while the i-th request is on its way; it is still answered."""
    child, ready = [], threading.Event()

    def interrupt():
        ready.wait(20)
        child[0].send_signal(signal.SIGINT)
        return None

    proxy.fault = lambda n, method, path: interrupt if n == i else None
    child.append(subprocess.Popen([str(a) for a in w.argv(*ARGS, "--json")], env={**w.box.env, **SAMPLE},
                                  cwd=w.box.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    ready.set()
    out, err = child[0].communicate(timeout=60)
    proxy.fault = lambda n, method, path: None
    return child[0].returncode, out, err.decode()


@pytest.mark.parametrize("which", ["kbs", "registry"])
def test_interrupted_at_each_request(tmp_path, registry, which):
    """Exit 130 with everything as it was; or a run that stays open, told, and is taken back or finished
    later; or, too late to stop, the published image."""
    def action(w, proxy, i):
        before = w.snapshot()
        status, out, err = interrupted_at(w, proxy, i)
        if status == 0:
            w.check(False)
            assert w.tag() == json.loads(out)["digest"]
            return
        assert status == 130 and out == b"", (i, status, err)
        for run in w.open_runs():
            assert f"--abort {run['run']}" in err
            r = w.run_verb("--abort", run["run"], ok=None)
            if r.returncode != 0:
                assert r.error()["code"] == "run-complete", r.err
                w.run_verb("--resume", run["run"], env=SAMPLE)
                w.check(False)
                return
        w.check(True)
        assert w.snapshot() == before, (i, err)

    in_worlds(tmp_path, registry, which, action)


def test_servers_down(pub, box):
    port = free_port()
    e = pub.fails(6, "connect", dst=f"127.0.0.1:{port}/team/addition:encrypted")
    assert e["message"]
    url = pub.url
    pub.url = f"http://127.0.0.1:{port}"
    pub.fails(6, "connect")
    pub.url = url
    assert tag_digest(host_of(pub)) is None and kept_keks(box) == []


def test_wrong_admin(pub, box):
    box.run("propkey", "admin-keygen", "-o", "other.key")
    pub.fails(5, "admin-auth-access", admin=box / "other.key")
    pub.fails(8, "not-found", admin=box / "none.key")
    assert tag_digest(host_of(pub)) is None and kept_keks(box) == []


def test_not_a_kbs_and_not_a_registry(pub, box, registry):
    saved = pub.url
    pub.url = f"http://{registry.host}"
    r = pub.run("--json", ok=None)
    assert r.returncode in (5, 6, 8, 9) and r.error()["message"] and kept_keks(box) == []
    pub.url = saved
    r = pub.run("--json", ok=None, dst=f"{pub.kbs.url.split('://')[1]}/team/addition:x")
    assert r.returncode in (5, 6, 8, 9) and r.error()["message"] and kept_keks(box) == []


def test_policy_refused_by_the_kbs(world):
    """The KBS takes the administrator, not the policy: no key, no tag, the document as it was."""
    world.kbs_proxy.fault = lambda n, method, path: (
        401 if method == "POST" and path.endswith("/resource-policy") else None)
    r = world.run(*ARGS, "--json", ok=None)
    assert r.returncode in (5, 6)
    assert (world.box / "p.toml").read_text() == "version = 1\n"
    assert not world.kbs_proxy.done("POST", "/resource/")
    assert kept_keks(world.box) == []
    world.check(True)


def is_proof(world, method, path):
    """Is this the fetch that proves the key, and not the look before it was given?"""
    return (method == "GET" and path.endswith(f"/resource/{world.name}") and
            bool(world.kbs_proxy.done("POST", f"/resource/{world.name}$")))


def test_policy_that_denies_the_guest_named(world):
    """Somebody else's policy gets between: the guest named cannot have the key, so there is no tag."""

    def fault(n, method, path):
        if is_proof(world, method, path):
            world.box.run("propkey", "policy", "preset", "deny-all", "--kbs", world.kbs.url,
                          "--admin-key", world.kbs.admin_key,
                          env={"XDG_STATE_HOME": str(world.box / "elsewhere")})
        return None

    world.kbs_proxy.fault = fault
    before = world.snapshot()
    e = world.fails(5, "policy-deny", *ARGS, env={"PROP_TEE": "sample"})
    assert "fetch the key back" in e["message"]
    assert world.kbs_proxy.done("DELETE", f"/resource/{world.name}$")
    assert world.snapshot() == before and world.open_runs() == []
    world.check(True)


def test_another_key_in_the_kbs(world):
    """The KBS gives out something else than what it took."""

    def fault(n, method, path):
        if is_proof(world, method, path):
            (world.box / "evil.key").write_bytes(b"e" * 32)
            world.box.run("propkey", "set", world.name, world.box / "evil.key", "--kbs",
                          world.kbs.url, "--admin-key", world.kbs.admin_key,
                          env={"XDG_STATE_HOME": str(world.box / "elsewhere")})
        return None

    os.close(os.open(world.box / "evil.key", os.O_CREAT | os.O_WRONLY, 0o600))
    world.kbs_proxy.fault = fault
    world.fails(4, "proof", *ARGS, env={"PROP_TEE": "sample"})
    world.check(True)


def test_somebody_else_moves_the_tag(world):
    third = world.box / "third.wasm"
    third.write_bytes(ADDITION + b"\x00\x02\x013")

    def fault(n, method, path):
        if method == "POST" and path.endswith("/auth"):
            world.box.run("proppush", "push", third,
                          f"{world.registry.host}/team/addition:encrypted")
        return None

    world.kbs_proxy.fault = fault
    world.fails(7, "tag-changed", *ARGS, env={"PROP_TEE": "sample"})
    now = world.tag()
    assert now != world.old
    assert "+encrypted" not in json.dumps(manifest(world.registry.host, now))


def test_registry_keeps_something_else(world):
    """What is read back is not what was sent."""
    def fault(n, method, path):
        if method == "GET" and "/manifests/sha256:" in path:
            return 404
        return None

    world.reg_proxy.fault = fault
    e = world.fails(8, "image-not-found", *ARGS)
    assert "read the image back" in e["message"]
    world.check(True)
    assert world.kbs_proxy.done("DELETE", f"/resource/{world.name}$")


def test_older_kbs_tells_its_policy(world):
    """Up to v0.18 the policy's text comes back: then it must be what the document makes."""
    doc = world.json(*ARGS)
    theirs = b'package policy\nimport rego.v1\ndefault allow := false\nallow if data.plugin == "x"\n'

    class Old(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args):
            pass

        def do_GET(self):
            data = b"" if self.path == "/healthz" else base64.urlsafe_b64encode(theirs).rstrip(b"=")
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Old)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        world.url = f"http://127.0.0.1:{server.server_address[1]}"
        world.fails(2, "policy-differs", *ARGS[:-1], "x/y/z")
        assert world.json(*ARGS[:-1], "x/y/z", "--replace-policy", "--dry-run")["dry_run"]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    assert doc["digest"]


def test_parallel_publishers(box, kbs, registry, module):
    """Publishers on one machine add their rules to one policy, and none is lost."""
    (box / "p.toml").write_text("version = 1\n")
    # docker-registry rewrites a blob's link in place: the one config blob is put there beforehand
    box.run("proppush", "push", module, f"{registry.host}/team/addition:plain")
    children = []
    for i in range(6):
        children.append(subprocess.Popen(
            [str(a) for a in ("proppush", "publish", module, f"{registry.host}/team/addition:p{i}",
                              "--kbs", kbs.url, "--admin-key", kbs.admin_key, "--policy-doc", "p.toml",
                              "--allow", "tee=sample", "--kid", f"team/key/p{i}")],
            env=box.env, cwd=box.path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE))
    for c in children:
        err = c.communicate(timeout=120)[1]
        assert c.returncode == 0, err.decode()
    pub = Publisher(box, kbs, module, "")
    for i in range(6):
        assert pub.get(f"team/key/p{i}") is not None
        assert tag_digest(registry.host, tag=f"p{i}") is not None
    assert (box / "p.toml").read_text().count("[[rule]]") == 6
