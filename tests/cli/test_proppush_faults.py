"""proppush against a registry that misbehaves: each failure is told apart, and leaves nothing."""
import json
import pathlib
import signal
import subprocess
import sys
import time

import pytest

from conftest import BIN, VECTORS

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
import fault_server as fs  # noqa: E402
import token_server  # noqa: E402

ADDITION = VECTORS / "ocicrypt/wasm/addition.wasm"
GOLDEN = "sha256:dc3ef967b8fb17f99bee152d0a385addf3dcc978af37e0341a1aa77c30393039"
SECRET = "kVq7-the-password"


@pytest.fixture
def server():
    with fs.FaultServer() as s:
        yield s


def ref(server, name="team/app:v1"):
    return f"docker://{server.host}/{name}"


def log_in(box, host, user="alice"):
    import base64
    f = box / "auth.json"
    f.write_text(json.dumps({"auths": {host: {"auth": base64.b64encode(f"{user}:{SECRET}".encode()).decode()}}}))
    f.chmod(0o600)
    return "--authfile", f


def refused(box, *argv, code, id, **kw):
    r = box.run("proppush", *argv, "--json", ok=code, **kw)
    error = r.error()
    assert error["code"] == id, error
    assert r.stdout == b""
    assert SECRET not in r.err
    return error


def push_refused(box, server, code, id, *more):
    e = refused(box, "push", ADDITION, ref(server), *more, code=code, id=id)
    assert ("team/app", "v1") not in server.manifests
    return e


def pull_refused(box, server, code, id, *more):
    e = refused(box, "pull", ref(server), "oci:out:v1", *more, code=code, id=id)
    assert not (box / "out").exists()
    e = refused(box, "pull", ref(server), "out.wasm", *more, code=code, id=id)
    assert not (box / "out.wasm").exists()
    return e


def test_plain_push_and_its_requests(box, server):
    box.run("proppush", "push", ADDITION, ref(server))
    assert fs.digest_of(server.manifests["team/app", "v1"][0]) == GOLDEN
    assert all(r.headers.get("Content-Length") for r in server.requests if r.method == "PATCH")
    seen = [(r.method, r.path.split("?")[0].rsplit("/", 1)[0]) for r in server.requests]
    assert [m for m, _ in seen].count("PATCH") == 1  # the layer; the config goes with its PUT
    assert seen[-2:] == [("PUT", "/v2/team/app/manifests")] * 2
    assert server.requests[-2].path.endswith(GOLDEN) and server.requests[-1].path.endswith("/v1")
    assert all("Expect" not in r.headers for r in server.requests)
    # everything is there already: only the manifest and the tag go again
    server.requests.clear()
    box.run("proppush", "copy", ref(server), ref(server, "team/app:v2"))
    assert server.count("PATCH", ".") == 0 and server.count("POST", ".") == 0


def test_location_forms(box, server):
    """The newest Location counts, relative or absolute, with a query or without."""
    other = fs.FaultServer()
    try:
        box.run("proppush", "push", ADDITION, ref(server))
        states = [r.path for r in server.requests if "blobs/uploads/" in r.path and r.method in ("PATCH", "PUT")]
        assert all("s=0" in p for p in states[0::2]) and all("s=0" not in p for p in states[1::2])
        for bad, id in ((f"http://{other.host}/v2/team/app/blobs/uploads/x", "foreign-location"),
                        (f"http://127.0.0.2:{server.port}/v2/x", "foreign-location"),
                        (f"https://{server.host}/v2/x", "foreign-location"), ("http://[", "bad-location")):
            server.manifests.clear()
            server.blobs.clear()
            server.fault("POST", "/uploads/", fs.add_headers(Location=bad))
            push_refused(box, server, 6, id, *log_in(box, server.host))
            server.fault("PATCH", "/uploads/", fs.add_headers(Location=bad))
            push_refused(box, server, 6, id)
        server.fault("POST", "/uploads/", fs.add_headers(Location=None))
        push_refused(box, server, 6, "bad-location")
        assert other.requests == []
    finally:
        other.close()


@pytest.mark.parametrize("code, exit, id", [
    (400, 6, "registry-refused"), (401, 5, "unauthorized"), (403, 5, "denied"), (404, 8, None),
    (405, 6, "registry-refused"), (413, 6, "registry-refused"), (429, 6, "rate-limited"),
    (500, 6, "registry-error"), (502, 6, "registry-error"), (503, 6, "registry-error")])
def test_refusals(box, server, code, exit, id):
    """Each request of a push and of a pull refused in turn, retries included."""
    body = json.dumps({"errors": [{"code": "SOME_CODE", "message": "it will not"}]}).encode()
    fault = fs.status(code, body, {"Retry-After": "0"})
    not_found = {"/uploads/$": "repository-not-found", "/uploads/.": "upload-session-lost", "/manifests/": "repository-not-found"}
    for method, path in (("POST", "/uploads/$"), ("PATCH", "/uploads/."), ("PUT", "/uploads/."), ("PUT", "/manifests/")):
        server.blobs.clear()
        server.rules.clear()
        server.fault(method, path, fault, times=50)
        e = push_refused(box, server, exit, id or not_found[path])
        assert "SOME_CODE: it will not" in e["message"] and str(code) in e["message"]
        if code == 401:
            assert f"proppush login {server.host}" in e["hint"]
    server.rules.clear()
    server.put_image("team/app", "v1")
    for path, nf in (("/manifests/", "image-not-found"), ("/blobs/", "blob-not-found")):
        server.rules.clear()
        server.fault("GET", path, fault, times=50)
        pull_refused(box, server, exit, id or nf)


def test_odd_error_bodies(box, server):
    for body, want in ((b"<html><body>Bad gateway</body></html>", None), (b"plain words\nmore", "plain words"),
                       (b'{"error":"invalid","error_description":"because"}', "invalid: because"),
                       (b'{"errors":[{"code":"X","message":"\x1b[31mred"}]}', None),
                       (b"\xff\xfe\x00", None), (b"x" * 200000, "xxx"), (b"", "403")):
        server.rules.clear()
        server.fault("POST", "/uploads/", fs.status(403, body))
        e = push_refused(box, server, 5, "denied")
        assert "\x1b" not in e["message"] and "\n" not in e["message"]
        if want:
            assert want in e["message"]


def test_retries_until_it_works(box, server):
    """What may be sent again is: HEAD, POST of a session, PUT of a manifest, GET."""
    server.fault("HEAD", "/blobs/", fs.status(503), times=2)
    server.fault("POST", "/uploads/", fs.status(429, b"", {"Retry-After": "0"}))
    server.fault("POST", "/uploads/", fs.drop)
    server.fault("PUT", "/uploads/", fs.lost_answer)
    server.fault("PUT", "/manifests/sha256", fs.status(500))
    server.fault("PUT", "/manifests/v1", fs.lost_answer)
    box.run("proppush", "push", ADDITION, ref(server))
    assert fs.digest_of(server.manifests["team/app", "v1"][0]) == GOLDEN
    server.fault("GET", "/manifests/", fs.status(502))
    server.fault("GET", "/manifests/", fs.drop)
    server.fault("GET", "/blobs/", fs.status(408))
    box.run("proppush", "pull", ref(server), "out.wasm")
    assert (box / "out.wasm").read_bytes() == ADDITION.read_bytes()
    assert not any(rule[3] for rule in server.rules)


def test_retry_after_is_honoured(box, server):
    server.put_image("team/app", "v1")
    server.fault("GET", "/manifests/", fs.status(429, b"", {"Retry-After": "1"}))
    start = time.monotonic()
    box.run("proppush", "inspect", ref(server))
    assert time.monotonic() - start >= 1
    server.fault("GET", "/manifests/", fs.status(503, b"", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    box.run("proppush", "inspect", ref(server))


def test_not_retried(box, server):
    for code in (400, 403, 404, 409, 413):
        server.requests.clear()
        server.fault("GET", "/manifests/", fs.status(code))
        box.run("proppush", "inspect", ref(server), ok=None)
        assert server.count("GET", "/manifests/") == 1


def test_unclear_commit_is_asked_about(box, server):
    """The blob's PUT fails with 500 though the blob is there: no second PUT, no failure."""
    def did_it(h):
        h.serve_answer = None
        real, h.answer = h.answer, lambda *a, **k: None
        h.serve()
        h.answer = real
        h.answer(500, b"{}")
        return True
    server.fault("PUT", "/uploads/", did_it, times=2)
    box.run("proppush", "push", ADDITION, ref(server))
    assert server.count("PUT", "/uploads/") == 2
    assert fs.digest_of(server.manifests["team/app", "v1"][0]) == GOLDEN


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_truncated_and_wrong_blobs(box, server, size):
    layer = b"\0asm\1\0\0\0" + bytes(size)
    server.put_image("team/app", "v1", layer)
    digest = fs.digest_of(layer)
    server.ranges = False

    def again(fault, times=20):
        server.rules.clear()
        server.fault("GET", f"/blobs/{digest}", fault, times)

    again(fs.cut(len(layer) // 2))
    pull_refused(box, server, 6, "blob-truncated")
    again(fs.replace_body(lambda b: b[:-1] + b"x"))
    pull_refused(box, server, 4, "digest-mismatch")
    again(fs.lie_length(-3))
    pull_refused(box, server, 4, "size-mismatch")
    again(fs.lie_length(+3))
    pull_refused(box, server, 4, "size-mismatch")
    again(fs.status(200, layer + b"more", {"Transfer-Encoding": "identity", "Content-Length": str(len(layer) + 4)}))
    pull_refused(box, server, 4, "size-mismatch")
    again(fs.status(204))
    pull_refused(box, server, 6, "registry-refused")
    # a config that is wrong counts as much
    server.rules.clear()
    server.blobs[fs.digest_of(b"{}")] = b"[]"
    refused(box, "pull", ref(server), "oci:out:v1", code=4, id="digest-mismatch")
    assert not (box / "out").exists()


def test_body_without_length(box, server):
    """No Content-Length and no chunks: the end of the connection is the end, and is not believed."""
    layer = b"\0asm\1\0\0\0" + bytes(5000)
    server.put_image("team/app", "v1", layer)

    def until_close(count):
        def act(h):
            h.close_connection = True
            h.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + (layer + b"y" * 10)[:count])
            return True
        return act
    server.fault("GET", "/blobs/", until_close(len(layer)))
    box.run("proppush", "pull", ref(server), "good.wasm")
    server.fault("GET", "/blobs/", until_close(len(layer) - 1), times=9)
    refused(box, "pull", ref(server), "out.wasm", code=6, id="blob-truncated")
    server.rules.clear()
    server.fault("GET", "/blobs/", until_close(len(layer) + 1), times=9)
    refused(box, "pull", ref(server), "out.wasm", code=4, id="size-mismatch")
    assert not (box / "out.wasm").exists()


def test_resume_with_range(box, server):
    layer = b"\0asm\1\0\0\0" + bytes(range(256)) * 8192
    server.put_image("team/app", "v1", layer)
    path = f"/blobs/{fs.digest_of(layer)}"
    for ranges in (True, False):
        server.ranges = ranges
        server.requests.clear()
        server.fault("GET", path, fs.cut(500000))
        server.fault("GET", path, fs.cut(900000))
        box.run("proppush", "pull", ref(server), "out.wasm", "--force")
        assert (box / "out.wasm").read_bytes() == layer
        asked = [r.headers.get("Range") for r in server.requests if path in r.path]
        assert asked[0] is None and asked[1] == "bytes=500000-"
    # a range that was not asked for
    server.rules.clear()
    server.ranges = True
    server.fault("GET", path, fs.cut(500000))
    server.fault("GET", path, fs.add_headers(Content_Range=f"bytes 0-{len(layer) - 1}/{len(layer)}"))
    refused(box, "pull", ref(server), "bad.wasm", code=6, id="bad-range")


def test_manifest_faults(box, server):
    digest = server.put_image("team/app", "v1")
    server.fault("GET", "/manifests/", fs.replace_body(lambda b: b.replace(b"schemaVersion", b"schemaVersiom")))
    refused(box, "pull", ref(server), "out.wasm", code=4, id="digest-mismatch")
    server.fault("GET", "/manifests/", fs.add_headers(Docker_Content_Digest=None))
    box.run("proppush", "inspect", ref(server))
    server.fault("GET", "/manifests/", fs.add_headers(Docker_Content_Digest="sha256:zz"))
    refused(box, "inspect", ref(server), code=3, id="bad-digest")
    server.fault("GET", "/manifests/", fs.add_headers(Content_Type="application/vnd.oci.image.index.v1+json"))
    refused(box, "inspect", ref(server), code=3, id="media-type-mismatch")
    server.fault("GET", "/manifests/", fs.add_headers(Content_Type=None, Docker_Content_Digest=None))
    box.run("proppush", "inspect", ref(server))
    # by digest: the registry's word is not needed, another manifest is refused
    pinned = ref(server, f"team/app@{digest}")
    box.run("proppush", "inspect", pinned)
    other = server.put_image("team/app", "v2", b"\0asm\1\0\0\0other")
    server.manifests["team/app", digest] = server.manifests["team/app", other]
    server.fault("GET", "/manifests/", fs.add_headers(Docker_Content_Digest=None))
    refused(box, "inspect", pinned, code=4, id="digest-mismatch")
    refused(box, "inspect", ref(server), "--digest", other, code=4, id="digest-mismatch")
    # too large, and endless
    server.fault("GET", "/manifests/", fs.status(200, b" " * ((4 << 20) + 1), {"Content-Type": "application/json"}))
    refused(box, "inspect", ref(server), code=9, id="body-too-large")
    server.fault("GET", "/manifests/", fs.status(200, b'{"schemaVersion":2,"manifests":[]}'))
    refused(box, "copy", ref(server), "oci:out", code=3, id="empty-index")
    server.fault("GET", "/manifests/", fs.add_headers(**{f"X{i}": "y" * 900 for i in range(100)}))
    refused(box, "inspect", ref(server), code=6, id="headers-too-large")


def test_wrong_digest_said_after_upload(box, server):
    wrong = "sha256:" + "0" * 64
    server.fault("PUT", "/uploads/", fs.add_headers(Docker_Content_Digest=wrong))
    push_refused(box, server, 4, "digest-mismatch")
    server.fault("PUT", "/manifests/", fs.add_headers(Docker_Content_Digest=wrong))
    push_refused(box, server, 4, "digest-mismatch")


def test_stalled_server(box, server):
    server.put_image("team/app", "v1", b"\0asm\1\0\0\0" + bytes(100000))
    short = "--registry-timeout", "300ms"
    server.fault("GET", "/manifests/", fs.stall)
    refused(box, "pull", ref(server), "out.wasm", *short, code=6, id="timeout")
    server.ranges = False
    server.fault("GET", "/blobs/", fs.stall_after(50000), times=9)
    refused(box, "pull", ref(server), "out.wasm", *short, code=6, id="timeout")
    assert not (box / "out.wasm").exists()
    server.rules.clear()
    server.blobs.clear()
    server.manifests.clear()
    server.fault("PATCH", ".", fs.stall, times=9)
    push_refused(box, server, 6, "timeout", *short)
    assert server.uploads == {} and server.count("PATCH", ".") == 3


def test_upload_cut_and_refused_early(box, server):
    big = box / "big.wasm"
    big.write_bytes(b"\0asm\1\0\0\0" + bytes(8 << 20))
    server.fault("PATCH", ".", fs.cut_request(1 << 20), times=99)
    refused(box, "push", big, ref(server), code=6, id="reset")
    server.rules.clear()
    server.fault("PATCH", ".", fs.early(413, b'{"errors":[{"code":"SIZE_INVALID","message":"too big"}]}'), times=99)
    r = box.run("proppush", "push", big, ref(server), "--json", ok=6)
    assert r.error()["code"] in ("registry-refused", "reset"), r.err
    server.rules.clear()
    assert server.manifests == {} and server.blobs == {}
    # a refused upload is taken back
    server.uploads.clear()
    server.fault("PUT", "/uploads/", fs.status(400), times=1)
    refused(box, "push", big, ref(server), code=6, id="registry-refused")
    assert server.uploads == {}


def test_redirects_drop_credentials(box, server):
    """A blob on another host is fetched without Authorization; a manifest too."""
    auth = log_in(box, server.host)
    layer = b"\0asm\1\0\0\0" + bytes(1000)
    server.put_image("team/app", "v1", layer)
    challenge = fs.status(401, b"", {"WWW-Authenticate": 'Basic realm="x"'})
    with fs.FaultServer() as storage:
        storage.put_image("team/app", "v1", layer)
        for target in (f"http://{storage.host}/v2/team/app/blobs/{fs.digest_of(layer)}",):
            server.fault("GET", "/manifests/", challenge)
            server.fault("GET", f"/blobs/{fs.digest_of(layer)}", fs.redirect(target, 307))
            box.run("proppush", "pull", ref(server), "out.wasm", *auth)
            assert (box / "out.wasm").read_bytes() == layer
        assert any("Authorization" in r.headers for r in server.requests)
        assert storage.requests and not any("Authorization" in r.headers for r in storage.requests)
        # a 401 from there is not answered with credentials either
        storage.requests.clear()
        server.fault("GET", f"/blobs/{fs.digest_of(layer)}", fs.redirect(target, 302))
        storage.fault("GET", ".", challenge, times=9)
        refused(box, "pull", ref(server), "out2.wasm", *auth, code=5, id="unauthorized")
        assert len(storage.requests) == 1 and "Authorization" not in storage.requests[0].headers
        # within one origin they stay
        server.requests.clear()
        server.fault("GET", "/manifests/", challenge)
        server.fault("GET", "/manifests/v1", fs.redirect("/v2/team/app/manifests/v1?x=1", 301))
        box.run("proppush", "inspect", ref(server), *auth)
        assert all("Authorization" in r.headers for r in server.requests[1:])


def test_redirect_traps(box, server):
    server.put_image("team/app", "v1")
    server.fault("GET", "/manifests/", fs.redirect(f"http://{server.host}/v2/team/app/manifests/v1"), times=99)
    refused(box, "inspect", ref(server), code=6, id="redirects")
    for target, code, id in (("ftp://127.0.0.1/x", 6, "bad-location"), ("file:///etc/passwd", 6, "bad-location"),
                             ("http://registry.example/x", 6, "insecure-redirect"),
                             ("http://u:p@127.0.0.1/", 6, "bad-location")):
        server.rules.clear()
        server.fault("GET", "/manifests/", fs.redirect(target))
        refused(box, "inspect", ref(server), code=code, id=id)
    # requests with a body are never redirected
    server.rules.clear()
    server.manifests.clear()
    with fs.FaultServer() as other:
        for method, path in (("POST", "/uploads/"), ("PATCH", "/uploads/"), ("PUT", "/uploads/"), ("PUT", "/manifests/")):
            server.blobs.clear()
            server.fault(method, path, fs.redirect(f"http://{other.host}/v2/x", 307))
            push_refused(box, server, 6, "registry-refused")
        assert other.requests == []


def test_no_way_down_from_https(box, server, tmp_path):
    """Over TLS a redirect, a Location or a token server on plain HTTP is refused, loopback or not."""
    cert, key = token_server.make_certificate(tmp_path)
    server.put_image("team/app", "v1")
    with fs.FaultServer(tls=(cert, key)) as secure:
        auth = log_in(box, secure.host)
        digest = secure.put_image("team/app", "v1")
        more = "--registry-ca", cert, *auth
        box.run("proppush", "inspect", ref(secure), *more)
        secure.fault("GET", "/manifests/", fs.redirect(f"{server.url}/v2/team/app/manifests/v1"))
        refused(box, "inspect", ref(secure), *more, code=6, id="insecure-redirect")
        secure.fault("POST", "/uploads/", fs.add_headers(Location=f"{server.url}/v2/team/app/blobs/uploads/x"))
        secure.blobs.clear()
        refused(box, "push", ADDITION, ref(secure), *more, code=6, id="foreign-location")
        secure.fault("GET", "/manifests/", fs.status(401, b"", {"WWW-Authenticate": f'Bearer realm="{server.url}/t"'}))
        refused(box, "inspect", ref(secure, f"team/app@{digest}"), *more, code=6, id="bad-realm")
        assert server.requests == []


def test_plain_http_only_where_allowed(box):
    e = refused(box, "inspect", "docker://registry.invalid/team/app", code=6, id="connect", timeout=60)
    assert "https://registry.invalid" in e["message"]


def test_insecure_registry_and_proxy(box, server):
    """Plain HTTP to a host that was named, through a proxy; to no other host."""
    server.put_image("team/app", "v1")
    for variable in ("http_proxy", "HTTP_PROXY"):
        env = {variable: server.url, "NO_PROXY": "direct.invalid"}
        server.requests.clear()
        for named in ("registry.invalid", "registry.invalid:5000"):
            box.run("proppush", "inspect", "docker://registry.invalid:5000/team/app:v1", "--insecure-registry", named, env=env)
        assert [r.headers["Host"] for r in server.requests] == ["registry.invalid:5000"] * 2
        server.requests.clear()
        r = box.run("proppush", "inspect", "docker://registry.invalid:5000/team/app:v1", "--insecure-registry",
                    "registry.invalid:5001", "--json", env=env, ok=6)
        assert r.error()["code"] == "connect" and server.requests == []
        # loopback never goes through a proxy
        box.run("proppush", "inspect", ref(server), env={variable: "http://127.0.0.1:1"})


@pytest.mark.parametrize("entry, direct", [
    ("registry.invalid", True), (".invalid", True), ("invalid", True), ("*", True), ("registry.invalid:5000", True),
    ("a.example, registry.invalid", True), ("a.example registry.invalid.", True), ("REGISTRY.invalid", True),
    ("registry.invalid:5001", False), ("istry.invalid", False), ("y.registry.invalid", False), ("", False), (",, ,", False)])
def test_no_proxy_forms(box, server, entry, direct):
    """What is named in NO_PROXY is asked itself (and is not there); other hosts through the proxy."""
    server.put_image("team/app", "v1")
    for variable in ("NO_PROXY", "no_proxy"):
        server.requests.clear()
        r = box.run("proppush", "inspect", "docker://registry.invalid:5000/team/app:v1", "--insecure-registry", "registry.invalid",
                    env={"http_proxy": server.url, variable: entry}, ok=None)
        assert (r.returncode, len(server.requests)) == ((6, 0) if direct else (0, 1)), (variable, r.err)


@pytest.mark.parametrize("entry, direct", [
    ("192.0.2.0/24", True), ("192.0.2.7", True), ("192.0.2.7:5000", True), ("192.0.0.0/8", True), ("192.0.2.7/32", True),
    ("192.0.2.8", False), ("192.0.3.0/24", False), ("192.0.2.7:80", False), ("192.0.2.0/x", False), ("192.0.2.0/33", False)])
def test_no_proxy_networks(box, server, entry, direct):
    """192.0.2.0/24 is for documents: nobody is there, and no name has to be looked up."""
    server.put_image("team/app", "v1")
    r = box.run("proppush", "inspect", "docker://192.0.2.7:5000/team/app:v1", "--insecure-registry", "192.0.2.7", "--timeout",
                "600ms" if direct else "30s", env={"http_proxy": server.url, "NO_PROXY": entry}, ok=None)
    assert (r.returncode, len(server.requests)) == ((6, 0) if direct else (0, 1)), r.err


def test_a_proxy_that_refuses(box, server):
    """A tunnel to a TLS registry: the mock has no CONNECT. Told as the proxy's answer, and not tried again."""
    e = refused(box, "inspect", "docker://registry.invalid/team/app:v1", env={"https_proxy": server.url}, code=6, id="proxy")
    assert "501" in e["message"]
    assert server.requests == []
    with_password = server.url.replace("http://", f"http://bob:{SECRET}@")
    refused(box, "inspect", "docker://registry.invalid/team/app:v1", env={"HTTPS_PROXY": with_password}, code=6, id="proxy")


def test_nobody_there(box):
    from conftest import free_port
    host = f"127.0.0.1:{free_port()}"
    e = refused(box, "push", ADDITION, f"docker://{host}/a/b:v1", code=6, id="connect")
    assert "connection refused" in e["message"].lower() and host in e["message"]
    refused(box, "pull", f"docker://{host}/a/b:v1", "oci:out", code=6, id="connect")
    assert not (box / "out").exists()


def test_killed_mid_upload(box, server):
    """SIGKILL, SIGTERM and SIGINT while bytes flow: the tag is not there, nor any manifest."""
    for sig, status in ((signal.SIGKILL, -9), (signal.SIGTERM, 130), (signal.SIGINT, 130)):
        server.requests.clear()
        server.rules.clear()
        server.fault("PATCH", ".", fs.stall)
        p = subprocess.Popen([BIN / "proppush", "push", "-", ref(server)], stdin=subprocess.PIPE, env=box.env,
                             stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        p.stdin.write(ADDITION.read_bytes())
        p.stdin.flush()
        server.wait_for("PATCH", ".")
        p.send_signal(sig)
        assert p.wait(20) == status, p.stderr.read()
        assert p.stdout.read() == b"" and server.manifests == {}
        p.stdin.close()


def test_killed_mid_copy_to_layout(box, server):
    server.put_image("team/app", "v1", b"\0asm\1\0\0\0" + bytes(1 << 20))
    for sig in (signal.SIGTERM, signal.SIGKILL):
        for dst in ("oci:out:v1", "dir:out", "oci-archive:out:v1"):
            server.requests.clear()
            server.rules.clear()
            server.fault("GET", "/blobs/", fs.stall_after(1 << 19))
            p = subprocess.Popen([BIN / "proppush", "copy", ref(server), dst], env=box.env, cwd=box.path,
                                 stderr=subprocess.PIPE, stdout=subprocess.PIPE)
            server.wait_for("GET", "/blobs/")
            time.sleep(0.05)
            p.send_signal(sig)
            p.communicate(timeout=20)
            if sig == signal.SIGTERM:
                assert p.returncode == 130
                assert sorted(f.name for f in box.path.iterdir()) == ["home"], dst
            # killed: what is left has no name, and the same command works afterwards
            assert not (box / "out/index.json").exists() and not (box / "out/manifest.json").exists()
            server.rules.clear()
            box.run("proppush", "copy", ref(server), dst.replace("out", "after"))
            box.run("rm", "-rf", "after")
            if sig == signal.SIGKILL:
                box.run("proppush", "copy", ref(server), dst)
                box.run("sh", "-c", "rm -rf out out.new-*")


def test_tags_pages(box, server):
    first = fs.status(200, b'{"name":"team/app","tags":["a","b"]}', {"Link": '</v2/team/app/tags/list?n=2&last=b>; rel="next"'})
    server.fault("GET", "/tags/", first)
    server.fault("GET", "/tags/", fs.status(200, b'{"name":"team/app","tags":["c"]}'))
    assert box.run("proppush", "list-tags", ref(server, "team/app")).out.split() == ["a", "b", "c"]
    # the right one of several links, in one header or in two
    for links in (['</x?a=1>; rel="prev", </v2/team/app/tags/list?last=z>; title="a, b"; rel="next"'],
                  ['</x?a=1>; rel=prev', '</v2/team/app/tags/list?last=z>; rel=next'], ['</v2/team/app/tags/list?last=z>;rel="last next"']):
        server.fault("GET", "/tags/", fs.status(200, b'{"name":"team/app","tags":["a"]}', {"Link": links}))
        server.fault("GET", "/tags/list.last=z", fs.status(200, b'{"name":"team/app","tags":["z"]}'))
        assert box.run("proppush", "list-tags", ref(server, "team/app")).out.split() == ["a", "z"]
    server.fault("GET", "/tags/", fs.status(200, b'{"name":"team/app","tags":["a"]}', {"Link": '</x>; rel="prev"'}))
    assert box.run("proppush", "list-tags", ref(server, "team/app")).out.split() == ["a"]
    server.fault("GET", "/tags/", fs.status(200, b'{"name":"team/app","tags":null}'))
    assert box.run("proppush", "list-tags", ref(server, "team/app")).out == ""
    server.fault("GET", "/tags/", fs.status(200, b"{}", {"Link": '<http://127.0.0.2/x>; rel="next"'}))
    refused(box, "list-tags", ref(server, "team/app"), code=6, id="foreign-location")
    server.fault("GET", "/tags/", fs.status(200, b'{"tags":[1]}'))
    refused(box, "list-tags", ref(server, "team/app"), code=6, id="remote")
    server.fault("GET", "/tags/", fs.status(404, b"{}"))
    refused(box, "list-tags", ref(server, "team/app"), code=8, id="repository-not-found")
