"""Servers that say yes and do something else, or that somebody else speaks to in between."""
import http.server
import threading

import pytest

from publishing import ADDITION, Proxy, Publisher, kept_keks
from test_publish_journal import killed

from helpers.old_kbs import OldKbs

ARGS = ("--policy-doc", "p.toml", "--allow", "tee=sample", "--kid", "team/key/k1")
SAMPLE = {"PROP_TEE": "sample"}
THEIRS = b'package policy\nimport rego.v1\ndefault allow := false\nallow if data.plugin == "x"\n'


class Liar(http.server.ThreadingHTTPServer):
    """A registry that takes everything and keeps nothing."""
    daemon_threads = True

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def answer(self, status, **headers):
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.send_response(status)
                for k, v in headers.items():
                    self.send_header(k, v)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def do_GET(self):
                self.answer(200 if self.path == "/v2/" else 404)

            do_HEAD = do_GET

            def do_POST(self):
                self.answer(202, Location="/v2/team/addition/blobs/uploads/1")

            def do_PATCH(self):
                self.answer(202, Location="/v2/team/addition/blobs/uploads/1", Range="0-0")

            def do_PUT(self):
                self.answer(201, Location="/v2/team/addition/x")

            do_DELETE = do_GET

        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.shutdown()
        self.server_close()
        self.thread.join()


def test_registry_that_keeps_nothing(box, kbs, module):
    with Liar() as liar:
        pub = Publisher(box, kbs, module, f"127.0.0.1:{liar.server_address[1]}/team/addition:1")
        pub.fails(8, "image-not-found", "--kid", "t/k/1")
        assert pub.get("t/k/1") is None and kept_keks(box) == []
        assert box.run("proppush", "publish", "--list", "--json").json()["runs"] == []


def test_registry_that_does_not_move_the_tag(world):
    """The PUT of the name is answered 201 and forgotten. Whether a cache shows the old state for a while
    cannot be known, so nothing is taken back until somebody asks for it."""
    before = world.snapshot()
    world.reg_proxy.fault = lambda n, m, path: 201 if m == "PUT" and path.endswith(
        "/manifests/encrypted") else None
    e = world.fails(4, "proof", *ARGS, env=SAMPLE)
    assert "does not name it" in e["message"] and "--abort" in e["hint"]
    assert world.tag() == world.old and len(world.open_runs()) == 1
    world.run_verb("--abort")
    assert world.snapshot() == before and world.open_runs() == []
    # a cache that shows the old state for a while
    seen = []

    def late(n, m, path):
        if m == "PUT" and path.endswith("/manifests/encrypted"):
            seen.append(0)
        if seen and m == "HEAD" and path.endswith("/manifests/encrypted") and len(seen) < 3:
            seen.append(1)
            return 404 if world.old is None else None
        return None

    world.reg_proxy.fault = late
    assert world.json(*ARGS, env=SAMPLE)["digest"] == world.tag()


def test_kbs_that_does_not_keep_the_key(world):
    """A machine that may be a guest finds out; another one says that it has the KBS's word only."""
    before = world.snapshot()
    world.kbs_proxy.fault = lambda n, m, path: 200 if m == "POST" and "/resource/" in path else None
    e = world.fails(4, "proof", *ARGS, env=SAMPLE)
    assert "does not have it" in e["message"]
    assert world.snapshot() == before and world.open_runs() == []
    doc = world.json(*ARGS)
    assert doc["proof"]["key"] == "taken by the KBS; only a guest can read it back"


def test_tag_moved_while_nothing_was_to_change(world, registry):
    """The image is there already; somebody moves its name while key and policy are looked after."""
    world.json(*ARGS)
    other = world.box / "other.wasm"
    other.write_bytes(ADDITION + b"\x00\x02\x01o")

    def fault(n, m, path):
        if m == "POST" and path.endswith("/resource-policy"):
            world.box.run("proppush", "push", other, f"{registry.host}/{world.repo}:encrypted")
        return None

    world.kbs_proxy.fault = fault
    world.fails(7, "tag-changed", *ARGS)
    assert world.open_runs() == []


# --- servers before v0.19 -----------------------------------------------------------------------------

class Old:
    """A KBS of v0.18 behind a proxy, as Publisher wants one."""

    def __init__(self, box, release="v0.18"):
        self.server = OldKbs(release, open=True)
        self.proxy = Proxy(self.server.url.split("://")[1])
        self.url = f"http://{self.proxy.address}"
        self.admin_key = box / "admin.key"
        box.run("propkey", "admin-keygen", "-o", self.admin_key)

    def stop(self):
        self.proxy.stop()
        self.server.__exit__()

    def theirs_before_get(self, behind):
        """Somebody else's policy comes before the policy is next asked for, once `behind` is true."""
        done = []

        def come():
            self.server.policy = THEIRS
            return None

        def fault(n, m, path):
            if m == "GET" and path.endswith("/resource-policy") and behind() and not done:
                done.append(n)
                return come
            return None

        self.proxy.fault = fault

    def posts(self, what):
        return self.server.count("POST", what)


@pytest.fixture
def old(box):
    o = Old(box)
    yield o
    o.stop()


@pytest.fixture
def old_pub(box, old, registry, module):
    (box / "p.toml").write_text("version = 1\n")
    pub = Publisher(box, old, module, f"{registry.host}/team/addition:encrypted")
    # what a KBS is set up with: nobody may have anything
    box.run("propkey", "policy", "preset", "deny-all", "--kbs", old.url, "--admin-key", old.admin_key)
    return pub


def test_old_kbs_is_asked_again_before_the_upload(old_pub, old, box):
    posts = old.posts("/resource-policy$")
    old.theirs_before_get(lambda: kept_keks(box))  # behind the plan
    old_pub.fails(2, "policy-differs", *ARGS)
    assert old.server.policy == THEIRS and old.posts("/resource-policy$") == posts
    assert old.posts("/resource/") == 0 and kept_keks(box) == []
    assert (box / "p.toml").read_text() == "version = 1\n"


def test_old_kbs_is_asked_after_the_upload(old_pub, old, box):
    """Somebody's upload right behind ours: theirs stays, no key goes there, all else is taken back."""
    posts = old.posts("/resource-policy$")
    old.theirs_before_get(lambda: old.posts("/resource-policy$") > posts)
    e = old_pub.fails(7, "policy-changed", *ARGS)
    assert "get their document" in e["hint"]
    assert old.server.policy == THEIRS and old.posts("/resource-policy$") == posts + 1
    assert old.posts("/resource/") == 0 and kept_keks(box) == []
    assert (box / "p.toml").read_text() == "version = 1\n"


def test_old_kbs_is_asked_at_the_end(old_pub, old, box, registry):
    """Their upload behind the key: the image gets no name, the policy is left to them."""
    old.theirs_before_get(lambda: old.posts("/resource/"))
    e = old_pub.fails(7, "policy-changed", *ARGS)
    assert old.server.policy == THEIRS and old.posts("/resource/") == 1
    assert "somebody uploaded another one since" in e["hint"]


def test_old_kbs_undisturbed(old_pub, old):
    doc = old_pub.json(*ARGS)
    assert "team/key/k1" in old.server.policy.decode() and old.server.resources["team/key/k1"]
    again = old_pub.json(*ARGS)
    assert again["unchanged"] is True and again["digest"] == doc["digest"]


def test_a_key_that_stays_keeps_its_guard(box, registry, module):
    """A server before v0.20 cannot delete: the policy that let others have any key does not come back
    while the key is still there."""
    o = Old(box)
    try:
        pub = Publisher(box, o, module, f"{registry.host}/team/addition:encrypted")
        box.run("propkey", "policy", "preset", "allow-all", "--kbs", o.url, "--admin-key", o.admin_key)
        (box / "p.toml").write_text("version = 1\n")
        o.proxy.fault = lambda n, m, path: None
        reg = Proxy(registry.host)
        reg.fault = lambda n, m, path: 500 if m == "PUT" and path.endswith(
            "/manifests/encrypted") else None
        try:
            pub.dst = f"{reg.address}/team/addition:encrypted"
            e = pub.fails(6, "registry-error", *ARGS, "--replace-policy")
            assert "still there" in e["hint"], e
            assert "team/key/k1" in o.server.policy.decode()
        finally:
            reg.stop()
    finally:
        o.stop()


def test_abort_leaves_their_policy(box, tmp_path, registry, old_pub, old):
    """Killed after its upload; theirs came since, which the ledger of this machine cannot know."""
    class Pair:
        pass

    w = Pair()
    w.box, w.kbs_proxy, w.reg_proxy = box, old.proxy, Proxy(registry.host)
    w.argv = old_pub.argv
    try:
        old_pub.dst = f"{w.reg_proxy.address}/team/addition:encrypted"
        killed(w, "POST", "/resource/team")
        assert "team/key/k1" in old.server.policy.decode()
        old.server.policy = THEIRS
        doc = box.run("proppush", "publish", "--abort", "--json").json()
        assert old.server.policy == THEIRS
        assert any("somebody uploaded another one" in t for t in doc["left"])
    finally:
        w.reg_proxy.stop()
