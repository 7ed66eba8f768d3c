"""Who we are to a registry: challenges, tokens, files and helpers, line by line of the protocol page."""
import base64
import json
import re
import signal
import subprocess
import time
import urllib.parse

import pytest

from conftest import BIN, VECTORS
from helpers import fault_server as fs

ADDITION = VECTORS / "ocicrypt/wasm/addition.wasm"
PASSWORD = "pW-93xkQ:with:colons"


def b64(text):
    return base64.b64encode(text.encode()).decode()


class Guarded(fs.FaultServer):
    """A registry with a token endpoint of its own; tokens name their scopes and may be taken back."""

    def __init__(self, lifetime=300, **answer):
        super().__init__()
        self.asked, self.valid, self.answer, self.lifetime = [], {}, answer, lifetime
        self.fault("GET", "^/token", self.give, times=10**6)
        self.fault("POST", "^/token", self.exchange, times=10**6)
        self.fault("*", "^/v2/", self.guard, times=10**6)

    def issue(self, scopes):
        token = f"T{len(self.asked)}"
        self.valid[token] = set(" ".join(scopes).split())
        return {"token": token, "expires_in": self.lifetime, **self.answer}

    def give(self, h):
        query = urllib.parse.parse_qs(h.path.split("?", 1)[1])
        self.asked.append(("GET", query, h.headers.get("Authorization")))
        h.answer(200, json.dumps(self.issue(query.get("scope", []))).encode())
        return True

    def exchange(self, h):
        form = urllib.parse.parse_qs(h.read_body().decode())
        self.asked.append(("POST", form, h.headers.get("Authorization")))
        doc = self.issue(form.get("scope", []))
        doc["access_token"] = doc.pop("token")
        h.answer(200, json.dumps(doc).encode())
        return True

    def wanted(self, h):
        m = re.match(r"/v2/(.+)/(?:blobs|manifests|tags)", h.path)
        if not m:
            return None
        return f"repository:{m.group(1)}:" + ("pull" if h.command in ("GET", "HEAD") else "pull,push")

    def guard(self, h):
        want, error = self.wanted(h), ""
        token = h.headers.get("Authorization", "")[7:]
        if token:
            error = ',error="invalid_token"'
        if token in self.valid:
            have = {(s.rsplit(":", 1)[0], a) for s in self.valid[token] for a in s.rsplit(":", 1)[1].split(",")}
            if want is None or {(want.rsplit(":", 1)[0], a) for a in want.rsplit(":", 1)[1].split(",")} <= have:
                return False
            error = ',error="insufficient_scope"'
        h.read_body()
        scope = f',scope="{want}"' if want else ""
        h.answer(401, b"{}", {"WWW-Authenticate": f'Bearer realm="{self.url}/token",service="reg"{scope}{error}'})
        return True


def logged_in(box, host, entry=None):
    f = box / "auth.json"
    f.write_text(json.dumps({"auths": {host: entry or {"auth": b64(f"alice:{PASSWORD}")}}}))
    f.chmod(0o600)
    return "--authfile", f


def ref(server, name="team/app:v1"):
    return f"docker://{server.host}/{name}"


# --- challenges (3.1) ------------------------------------------------------------------------------

@pytest.mark.parametrize("headers", [
    ["Basic realm=\"x\"", "Bearer realm=\"{url}/token\",service=\"reg\""],
    ["Basic realm=\"x, y=z\", Bearer service=\"a,b\" , realm = \"{url}/token\""],
    ["Negotiate, BEARER Realm=\"{url}/token\",Service=reg,scope=\"repository:team/app:pull\", Digest nonce=\"a\\\"b\""],
    ["Negotiate YWJj==", "bearer realm=\"{url}/to\\ken\""]])
def test_bearer_is_found_among_others(box, headers):
    with fs.FaultServer() as s:
        s.put_image("team/app", "v1")
        s.fault("GET", "^/token", fs.status(200, b'{"token":"T"}'))
        s.fault("GET", "/manifests/", fs.status(401, b"", {"WWW-Authenticate": [h.format(url=s.url) for h in headers]}))
        box.run("proppush", "inspect", ref(s), *logged_in(box, s.host))
        assert s.count("GET", "^/token") == 1 and s.requests[-1].headers["Authorization"] == "Bearer T"


def test_one_token_for_a_push_and_another_for_a_mount(box):
    with Guarded() as s:
        auth = logged_in(box, s.host)
        box.run("proppush", "push", ADDITION, ref(s), *auth)
        assert [q[1]["scope"] for q in s.asked] == [["repository:team/app:pull,push"]]
        layer = json.loads(s.manifests["team/app", "v1"][0])["layers"][0]["digest"]
        s.asked.clear()
        s.rules.insert(0, ["HEAD", f"/other/app/blobs/{layer}", lambda h: h.answer(404) or True, 9])
        s.mounts = True
        box.run("proppush", "copy", ref(s), ref(s, "other/app:v1"), *auth)
        scopes = [" ".join(q[1]["scope"]) for q in s.asked]
        assert "repository:other/app:pull,push repository:team/app:pull" in scopes
        assert all(q[1]["service"] == ["reg"] and q[1]["account"] == ["alice"] for q in s.asked)
        assert len(scopes) == len(set(scopes))  # cached: none is asked for twice


def test_insufficient_scope_is_answered_once(box):
    """The challenge names more than we asked for: both go into the one new token."""
    with Guarded() as s:
        s.put_image("team/app", "v1")
        s.wanted = lambda h: "repository:team/app:pull repository:base/app:pull"

        def guard(h):
            token = h.headers.get("Authorization", "")[7:]
            if "repository:base/app:pull" in s.valid.get(token, ()):
                return False
            h.answer(401, b"{}", {"WWW-Authenticate": f'Bearer realm="{s.url}/token",service="reg",'
                                  'scope="repository:base/app:pull",error="insufficient_scope"'})
            return True
        s.rules[-1][2] = guard
        box.run("proppush", "inspect", ref(s), *logged_in(box, s.host))
        assert s.asked[-1][1]["scope"] == ["repository:base/app:pull", "repository:team/app:pull"]
        # never enough: one new token, then an error
        s.asked.clear(), s.requests.clear()
        s.rules[-1][2] = lambda h: h.answer(401, b"{}", {
            "WWW-Authenticate": f'Bearer realm="{s.url}/token",service="reg",error="insufficient_scope"'}) or True
        e = box.run("proppush", "inspect", ref(s), *logged_in(box, s.host), "--json", ok=5).error()
        assert e["code"] == "unauthorized" and len(s.asked) == 1 and s.count("GET", "/manifests/") == 2


# --- in the middle (3.4) ---------------------------------------------------------------------------

@pytest.mark.parametrize("method, path", [("HEAD", "/blobs/"), ("POST", "/uploads/"), ("PATCH", "."), ("PUT", "/uploads/"),
                                          ("PUT", "/manifests/sha"), ("PUT", "/manifests/v1")])
def test_a_token_that_runs_out_in_the_middle(box, method, path):
    """Each request of a push is the first that a token is too old for."""
    (box / "big.wasm").write_bytes(b"\0asm\1\0\0\0" + bytes(3 << 20))
    with Guarded() as s:
        s.rules.insert(0, [method, path, lambda h: s.valid.clear() or False, 1])
        # a rule that declines is followed by no other: guard it here
        s.rules[0][2] = lambda h: (s.valid.clear(), s.guard(h))[1]
        box.run("proppush", "push", "big.wasm", ref(s), *logged_in(box, s.host))
        assert ("team/app", "v1") in s.manifests and s.uploads == {}
        assert len(s.asked) == (1 if method == "POST" else 2)  # POST is the first, and has none yet


def test_a_token_that_runs_out_while_pulling(box):
    with Guarded() as s:
        s.put_image("team/app", "v1", b"\0asm\1\0\0\0" + bytes(1 << 20))
        s.rules.insert(0, ["GET", "/blobs/", lambda h: (s.valid.clear(), s.guard(h))[1], 1])
        box.run("proppush", "pull", ref(s), "out.wasm", *logged_in(box, s.host))
        assert len(s.asked) == 2


@pytest.mark.parametrize("age, tokens, zone", [(-3600, 1, "Z"), (0, 1, "Z"), (40, 1, "+02:00"), (299, None, "Z"),
                                               (299, None, "+02:00"), (299, None, ".123456Z"), (86400, None, "Z")])
def test_issued_at_counts(box, age, tokens, zone):
    """A token that was issued long ago, by the server's own clock, is not taken for a fresh one."""
    then = time.time() - age + (7200 if zone.startswith("+") else 0)
    with Guarded(issued_at=time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(then)) + zone) as s:
        s.rules.insert(0, ["PUT", "/uploads/", lambda h: (time.sleep(1.1), s.guard(h))[1], 1])
        box.run("proppush", "push", ADDITION, ref(s), *logged_in(box, s.host))
        assert len(s.asked) == tokens if tokens else len(s.asked) > 1


@pytest.mark.parametrize("issued", [1, "yesterday", "2026-13-", "", None, {}])
def test_nonsense_in_issued_at_counts_from_now(box, issued):
    with Guarded(issued_at=issued) as s:
        box.run("proppush", "push", ADDITION, ref(s), *logged_in(box, s.host))
        assert len(s.asked) == 1


def test_a_short_life_is_a_minute(box):
    for lifetime in (None, 0, 1, 59, -5, "60"):
        with Guarded(lifetime=lifetime) as s:
            box.run("proppush", "push", ADDITION, ref(s), *logged_in(box, s.host))
            assert len(s.asked) == 1, lifetime


# --- OAuth2 (3.3) ----------------------------------------------------------------------------------

def test_identity_token_by_post(box):
    with Guarded() as s:
        auth = logged_in(box, s.host, {"auth": b64("alice:ignored"), "identitytoken": "refresh&me=1 +"})
        box.run("proppush", "push", ADDITION, ref(s), *auth)
        method, form, authorization = s.asked[0]
        assert method == "POST" and authorization is None and len(s.asked) == 1
        assert form == {"grant_type": ["refresh_token"], "client_id": ["proppush"], "service": ["reg"],
                        "scope": ["repository:team/app:pull,push"], "refresh_token": ["refresh&me=1 +"]}
        post = next(r for r in s.requests if r.path.startswith("/token"))
        assert post.headers["Content-Type"] == "application/x-www-form-urlencoded" and "refresh" not in post.path


@pytest.mark.parametrize("status, exit, id", [(404, 9, "identity-token"), (405, 9, "identity-token"), (400, 5, "unauthorized"),
                                              (401, 5, "unauthorized"), (403, 5, "denied")])
def test_a_server_that_does_not_take_identity_tokens(box, status, exit, id):
    with Guarded() as s:
        s.rules.insert(0, ["POST", "^/token", fs.status(status, b'{"error":"x","error_description":"because"}'), 9])
        e = box.run("proppush", "push", ADDITION, ref(s), "--json", *logged_in(box, s.host, {"identitytoken": "refresh-1"}),
                    ok=exit)
        assert e.error()["code"] == id and "refresh-1" not in e.err
        assert s.count("GET", "^/token") == 0 and s.count("POST", "^/token") == 1


def helper(box, text):
    folder = box / "bin"
    folder.mkdir(exist_ok=True)
    f = folder / "docker-credential-t"
    f.write_text("#!/bin/sh\n" + text)
    f.chmod(0o755)
    return {"PATH": f"{folder}:{box.env['PATH']}"}


def test_identity_token_from_a_helper(box):
    with Guarded() as s:
        env = helper(box, 'cat > "$0.asked"; echo \'{"ServerURL":"x","Username":"<token>","Secret":"from-helper"}\'\n')
        (box / "c.json").write_text(json.dumps({"credHelpers": {s.host: "t"}}))
        box.run("proppush", "push", ADDITION, ref(s), "--authfile", "c.json", env=env)
        assert s.asked[0][0] == "POST" and s.asked[0][1]["refresh_token"] == ["from-helper"]
        assert (box / "bin/docker-credential-t.asked").read_text() == s.host


def test_helpers_before_the_file_and_their_words(box):
    with Guarded() as s:
        both = {"auths": {s.host: {"auth": b64("file:file")}}, "credsStore": "t"}
        (box / "c.json").write_text(json.dumps(both))
        more = "--authfile", "c.json"
        env = helper(box, 'echo \'{"ServerURL":"x","Username":"store","Secret":"pw"}\'\n')
        box.run("proppush", "push", ADDITION, ref(s), *more, env=env)
        assert s.asked[-1][2] == "Basic " + b64("store:pw")
        # a helper of the host's own goes before the store
        (box / "c.json").write_text(json.dumps({**both, "credsStore": "nowhere", "credHelpers": {s.host: "t"}}))
        box.run("proppush", "push", ADDITION, ref(s), *more, env=env)
        assert s.asked[-1][2] == "Basic " + b64("store:pw")
        # an empty name means none for this host, whatever the store for the others is
        (box / "c.json").write_text(json.dumps({**both, "credHelpers": {s.host: ""}}))
        box.run("proppush", "push", ADDITION, ref(s), *more, env=env)
        assert s.asked[-1][2] == "Basic " + b64("file:file")
        # it has nothing: the file is asked
        (box / "c.json").write_text(json.dumps(both))
        env = helper(box, 'echo "credentials not found in native keychain"; exit 1\n')
        box.run("proppush", "push", ADDITION, ref(s), *more, env=env)
        assert s.asked[-1][2] == "Basic " + b64("file:file")
        # anything else is told, and nothing is sent
        for text, word in (('echo "the keyring is locked"; exit 1\n', "keyring is locked"), ("exit 3\n", "credential"),
                           ('echo "{}"\n', "malformed"), ('printf "\\033[31mred"; exit 1\n', "red")):
            s.requests.clear(), s.asked.clear()
            e = box.run("proppush", "push", ADDITION, ref(s), *more, "--json", env=helper(box, text), ok=6)
            assert e.error()["code"] == "credential-helper" and word in e.error()["message"] and "\x1b" not in e.err
            assert s.asked == [] and s.manifests  # of the pushes before


@pytest.mark.parametrize("text", ["trap '' TERM; exec >&-; sleep 60\n", "trap '' TERM; sleep 60\n"])
def test_a_helper_that_does_not_end(box, text):
    """A signal ends us, and the helper with us, whether it has closed its output or not."""
    with Guarded() as s:
        (box / "c.json").write_text(json.dumps({"credHelpers": {s.host: "t"}}))
        env = helper(box, 'touch "$0.runs"\n' + text)
        p = subprocess.Popen([BIN / "proppush", "push", ADDITION, ref(s), "--authfile", "c.json"], cwd=box.path,
                             env={**box.env, **env}, stderr=subprocess.DEVNULL)
        while not (box / "bin/docker-credential-t.runs").exists():
            assert p.poll() is None
            time.sleep(0.01)
        start = time.monotonic()
        p.send_signal(signal.SIGTERM)
        assert p.wait(50) == 130 and time.monotonic() - start < 40


# --- files (4) -------------------------------------------------------------------------------------

def entry(user):
    return {"auth": b64(f"{user}:pw")}


def test_the_places_and_their_order(box):
    """The first file with an entry for this registry counts; a named one counts alone."""
    with Guarded() as s:
        s.put_image("team/app", "v1")
        places = [("run/containers/auth.json", {}), ("config/containers/auth.json", {}), (".docker/config.json", {}),
                  (".dockercfg", None)]
        for i in reversed(range(4)):
            f = box.home / places[i][0]
            f.parent.mkdir(parents=True, exist_ok=True)
            f.write_text(json.dumps({s.host: entry(f"u{i}")} if i == 3 else {"auths": {s.host: entry(f"u{i}")}}))
            box.run("proppush", "inspect", ref(s))
            assert s.asked[-1][2] == "Basic " + b64(f"u{i}:pw"), i
        # an empty entry counts as none, and so does one for another registry
        (box.home / places[0][0]).write_text(json.dumps({"auths": {s.host: {}, "x.example": entry("x")}}))
        box.run("proppush", "inspect", ref(s))
        assert s.asked[-1][2] == "Basic " + b64("u1:pw")
        docker = box / "dockerdir"
        docker.mkdir()
        (docker / "config.json").write_text(json.dumps({"auths": {s.host: entry("dir")}}))
        (box.home / places[1][0]).unlink()
        box.run("proppush", "inspect", ref(s), env={"DOCKER_CONFIG": str(docker)})
        assert s.asked[-1][2] == "Basic " + b64("dir:pw")
        (box / "named.json").write_text('{"auths":{}}')
        for more, env in ((["--authfile", "named.json"], {}), ([], {"REGISTRY_AUTH_FILE": str(box / "named.json")})):
            box.run("proppush", "inspect", ref(s), *more, env=env)
            assert s.asked[-1][2] is None


@pytest.mark.parametrize("keys, want", [
    (["{h}/team/app", "{h}/team", "{h}"], 0), (["{h}/team/other", "{h}/team", "{h}"], 1), (["{h}/tea", "{h}/team/ap", "{h}"], 2),
    (["http://{h}/v2/"], 0), (["https://{h}"], 0), (["https://{h}/team/app", "{h}/team"], 1)])
def test_the_longest_namespace_counts(box, keys, want):
    with Guarded() as s:
        s.put_image("team/app", "v1")
        (box / "a.json").write_text(json.dumps({"auths": {k.format(h=s.host): entry(f"u{i}") for i, k in enumerate(keys)}}))
        box.run("proppush", "inspect", ref(s), "--authfile", "a.json")
        assert s.asked[-1][2] == "Basic " + b64(f"u{want}:pw")


def test_forms_of_an_entry(box):
    with Guarded() as s:
        s.put_image("team/app", "v1")
        for e, want in (({"auth": b64(f"alice:{PASSWORD}")}, f"alice:{PASSWORD}"),  # split at the first colon
                        ({"auth": b64("alice:pw\0\0")}, "alice:pw"),
                        ({"username": "alice", "password": "pw"}, "alice:pw")):
            box.run("proppush", "inspect", ref(s), *logged_in(box, s.host, e))
            assert s.asked[-1][2] == "Basic " + b64(want)
        for e, id in (({"auth": "!!!"}, None), ({"auth": b64("nocolon")}, None), ({"auth": b64("a\x01:b")}, "bad-credentials"),
                      ({"auth": b64("a:b\r\nX: y")}, "bad-credentials")):
            s.requests.clear()
            r = box.run("proppush", "inspect", ref(s), *logged_in(box, s.host, e), "--json", ok=3)
            assert id is None or r.error()["code"] == id
            assert not any("Authorization" in q.headers for q in s.requests)


# --- safety (3.5) ----------------------------------------------------------------------------------

def test_secrets_are_nowhere_in_the_talk(box):
    with Guarded() as s:
        for more in ([], ["-v"], ["--json"]):
            r = box.run("proppush", "push", ADDITION, ref(s), *logged_in(box, s.host), *more)
            assert PASSWORD not in r.err + r.out and b64(f"alice:{PASSWORD}") not in r.err + r.out
            assert not re.search(r"\bT\d\b", r.err)


def test_a_token_goes_to_its_registry_only(box):
    """Neither a redirect of a blob nor one of the token server takes credentials along."""
    with Guarded() as s, fs.FaultServer() as other:
        digest = s.put_image("team/app", "v1", b"\0asm\1\0\0\0" + bytes(5000))
        other.blobs.update(s.blobs)
        layer = json.loads(s.manifests["team/app", digest][0])["layers"][0]["digest"]
        s.rules.insert(0, ["GET", f"/blobs/{layer}", fs.redirect(f"{other.url}/v2/x/blobs/{layer}"), 9])
        box.run("proppush", "pull", ref(s), "out.wasm", *logged_in(box, s.host))
        assert other.count("GET", "/blobs/") == 1
        other.fault("GET", "^/token", fs.status(200, b'{"token":"T"}'), times=9)
        s.rules.insert(0, ["GET", "^/token", fs.redirect(f"{other.url}/token", 302), 9])
        box.run("proppush", "inspect", ref(s), *logged_in(box, s.host), ok=5)
        assert other.count("GET", "^/token") >= 1
        assert not any("Authorization" in q.headers for q in other.requests)


def test_a_token_server_may_fail_for_a_moment(box):
    with Guarded() as s:
        for act in (fs.status(503, b"", {"Retry-After": "0"}), fs.drop, fs.status(429, b"", {"Retry-After": "0"})):
            s.rules.insert(0, ["GET", "^/token", act, 1])
            box.run("proppush", "push", ADDITION, ref(s), *logged_in(box, s.host))
        s.rules.insert(0, ["GET", "^/token", fs.status(500), 99])
        e = box.run("proppush", "push", ADDITION, ref(s), *logged_in(box, s.host), "--json", ok=6).error()
        assert e["code"] == "registry-error" and "token server" in e["message"]
