"""login, logout and which credentials go where, against a registry of ours."""
import base64
import json
import os
import pathlib
import pty
import select
import subprocess
import sys
import time

import pytest

from conftest import BIN, VECTORS  # noqa: F401

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "helpers"))
import fault_server as fs  # noqa: E402

ADDITION = VECTORS / "ocicrypt/wasm/addition.wasm"
PASSWORD = "s3cr3t-Kp9w"


def basic(user, password):
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def demand(user="alice", password=PASSWORD, header='Basic realm="test"'):
    """A fault that lets only these credentials through."""
    def act(h):
        if h.headers.get("Authorization") == basic(user, password):
            return False
        h.read_body()
        h.answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
                 {"WWW-Authenticate": header})
        return True
    return act


@pytest.fixture
def server():
    with fs.FaultServer() as s:
        s.fault("*", ".", demand(), times=10**6)
        yield s


def auth_file(box):
    return box.home / "run/containers/auth.json"


def login(box, host, password=PASSWORD, *more, user="alice", ok=True):
    return box.run("proppush", "login", "--username", user, "--password-stdin", host, *more, stdin=password + "\n", ok=ok)


def test_login_and_logout(box, server):
    r = login(box, server.host)
    assert r.out == "Login Succeeded!\n" and "auth.json" in r.err and PASSWORD not in r.err
    f = auth_file(box)
    assert f.stat().st_mode & 0o777 == 0o600
    want = basic("alice", PASSWORD).split()[1]
    assert f.read_text() == '{\n\t"auths": {\n\t\t"%s": {\n\t\t\t"auth": "%s"\n\t\t}\n\t}\n}' % (server.host, want)
    box.run("proppush", "push", ADDITION, f"docker://{server.host}/team/app:v1")
    assert ("team/app", "v1") in server.manifests
    # one question without credentials, then always with them
    pushes = [r for r in server.requests if "/team/" in r.path]
    assert ["Authorization" in r.headers for r in pushes] == [False] + [True] * (len(pushes) - 1)
    r = box.run("proppush", "logout", server.host)
    assert r.out == f"Removed login credentials for {server.host}\n"
    assert f.read_text() == '{\n\t"auths": {}\n}'
    r = box.run("proppush", "logout", server.host, "--json", ok=8)
    assert r.error()["code"] == "not-logged-in"
    r = box.run("proppush", "push", ADDITION, f"docker://{server.host}/team/app:v2", "--json", ok=5)
    assert r.error()["code"] == "unauthorized" and r.error()["hint"] == f"proppush login {server.host}"


def test_wrong_password_keeps_nothing(box, server):
    r = login(box, server.host, "wrong-" + PASSWORD, "--json", ok=5)
    assert r.error()["code"] == "unauthorized" and "invalid username or password" in r.error()["message"]
    assert "wrong-" not in r.err + r.out
    assert not auth_file(box).exists()
    login(box, server.host)
    before = auth_file(box).read_bytes()
    login(box, server.host, "wrong", ok=5)
    assert auth_file(box).read_bytes() == before


def test_password_is_one_line(box, server):
    for text in (PASSWORD, PASSWORD + "\n", PASSWORD + "\r\n"):
        box.run("proppush", "login", "-u", "alice", "--password-stdin", server.host, stdin=text)
    for text, code in (("", "bad-password"), ("\n", "bad-password"), ("a\nb\n", "bad-password"),
                       ("a\x07b", "bad-credentials")):
        r = box.run("proppush", "login", "-u", "alice", "--password-stdin", server.host, "--json", stdin=text, ok=None)
        assert r.returncode in (2, 3) and r.error()["code"] == code, r.err
    r = login(box, server.host, user="a:b", ok=3)
    r = box.run("proppush", "login", "--password-stdin", server.host, stdin="x", ok=2)
    assert "--username" in r.err


def test_bad_hosts(box):
    for host in ("https://h.x", "h.x/path", "h", "", "h.x:99999", "-h.x"):
        r = box.run("proppush", "login", "-u", "a", "--password-stdin", "--json", "--", host, stdin="x", ok=2)
        assert r.error()["code"] == "bad-host", r.err


def test_not_a_registry(box):
    with fs.FaultServer() as s:
        for code, exit, id in ((404, 8, "not-a-registry"), (500, 6, "registry-error"), (403, 5, "denied")):
            s.fault("GET", "/v2/$", fs.status(code), times=4 if code == 500 else 1)
            r = login(box, s.host, PASSWORD, "--json", ok=exit)
            assert r.error()["code"] == id
        assert not auth_file(box).exists()
        # one that asks for nothing is fine
        login(box, s.host)


def test_prompt(box, server):
    """On the controlling terminal, without echo; nothing of it on stdout."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execve(BIN / "proppush", ["proppush", "login", server.host], box.env)
    seen = b""

    def until(text):
        nonlocal seen
        end = time.monotonic() + 20
        while text not in seen:
            assert time.monotonic() < end, seen
            if select.select([fd], [], [], 0.2)[0]:
                seen += os.read(fd, 1000)
    until(b"Username: ")
    os.write(fd, b"alice\n")
    until(b"Password: ")
    time.sleep(0.05)
    os.write(fd, PASSWORD.encode() + b"\n")
    until(b"Login Succeeded!")
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    assert os.waitstatus_to_exitcode(status) == 0
    assert PASSWORD.encode() not in seen
    assert auth_file(box).exists()


def test_no_terminal(box, server):
    p = subprocess.run([BIN / "proppush", "login", server.host, "--json"], env=box.env, capture_output=True,
                       stdin=subprocess.DEVNULL, start_new_session=True)
    assert p.returncode == 2 and json.loads(p.stderr)["error"]["code"] == "no-terminal"


def test_helper(box, server):
    bindir = box / "helpers"
    bindir.mkdir()
    helper = bindir / "docker-credential-box"
    helper.write_text('#!/bin/sh\nf="$0.kept"\nread -r in\ncase $1 in\nget) [ -f "$f" ] && cat "$f" || '
                      '{ echo "credentials not found in native keychain"; exit 1; };;\n'
                      'store) printf "%s" "$in" > "$f";;\nerase) rm "$f";;\nesac\n')
    helper.chmod(0o755)
    env = {"PATH": f"{bindir}:{box.env['PATH']}"}
    f = auth_file(box)
    f.parent.mkdir(parents=True)
    f.write_text(json.dumps({"credHelpers": {server.host: "box"}}))
    r = box.run("proppush", "login", "-u", "alice", "--password-stdin", server.host, stdin=PASSWORD, env=env)
    assert "docker-credential-box" in r.err
    assert json.loads((bindir / "docker-credential-box.kept").read_text()) == {
        "ServerURL": server.host, "Username": "alice", "Secret": PASSWORD}
    assert PASSWORD not in f.read_text() and "auths" not in json.loads(f.read_text())
    box.run("proppush", "push", ADDITION, f"docker://{server.host}/team/app:v1", env=env)
    box.run("proppush", "logout", server.host, env=env)
    assert not (bindir / "docker-credential-box.kept").exists()


def test_credentials_stay_with_their_registry(box, server):
    """Those of one registry are never tried at another."""
    login(box, server.host)
    with fs.FaultServer() as other:
        other.fault("*", ".", demand(), times=10**6)
        r = box.run("proppush", "push", ADDITION, f"docker://{other.host}/team/app:v1", "--json", ok=5)
        assert r.error()["code"] == "unauthorized"
        assert not any("Authorization" in q.headers for q in other.requests)
        # copying between both: each its own
        server.put_image("team/app", "v1")
        box.run("proppush", "copy", f"docker://{server.host}/team/app:v1", f"docker://{other.host}/team/app:v1", ok=5)
        assert not any("Authorization" in q.headers for q in other.requests)


@pytest.mark.parametrize("realm", ["http://10.0.0.1/token", "http://169.254.169.254/latest", "ftp://127.0.0.1/token",
                                   "http://registry.example/token", "http://u:p@127.0.0.1/token", "", "http://[::ffff:10.0.0.1]/t"])
def test_realm_traps(box, realm):
    with fs.FaultServer() as s:
        (box / "a.json").write_text(json.dumps({"auths": {s.host: {"auth": basic("alice", PASSWORD).split()[1]}}}))
        s.fault("*", ".", fs.status(401, b"", {"WWW-Authenticate": f'Bearer realm="{realm}",service="x"'}), times=99)
        r = box.run("proppush", "list-tags", f"docker://{s.host}/a/b", "--authfile", "a.json", "--json", ok=None)
        assert r.returncode == 6 and r.error()["code"] == "bad-realm", r.err
        assert PASSWORD not in r.err
        assert len(s.requests) == 1


def test_bad_challenges(box, server):
    login(box, server.host)
    for header, id in (('Basic realm="x', "bad-challenge"), ('Digest realm="x"', "unauthorized"),
                       ("Bearer service=x", "bad-challenge")):
        server.rules.clear()
        server.fault("*", ".", fs.status(401, b"", {"WWW-Authenticate": header}), times=99)
        r = box.run("proppush", "list-tags", f"docker://{server.host}/a/b", "--json", ok=None)
        assert r.error()["code"] == id, r.err


def test_token_answers(box):
    with fs.FaultServer() as s:
        challenge = fs.status(401, b"", {"WWW-Authenticate": f'Bearer realm="{s.url}/token?x=1",service="a b&c"'})
        (box / "a.json").write_text(json.dumps({"auths": {s.host: {"auth": basic("alice", PASSWORD).split()[1]}}}))

        def tags(ok, answer):
            s.rules.clear()
            s.requests.clear()
            s.fault("GET", "^/token", answer, times=9)
            s.fault("GET", "/tags/", challenge)
            return box.run("proppush", "list-tags", f"docker://{s.host}/a/b", "--authfile", "a.json", "--json", ok=ok)
        for doc in ({"token": "T1"}, {"access_token": "T1"}, {"token": "T1", "access_token": "T2", "expires_in": 1}):
            tags(0, fs.status(200, json.dumps(doc).encode()))
            assert s.requests[-1].headers["Authorization"] == "Bearer T1"
            token = s.requests[1]
            assert token.path == "/token?x=1&service=a%20b%26c&scope=repository%3Aa%2Fb%3Apull&account=alice"
            assert token.headers["Authorization"] == basic("alice", PASSWORD)
        for body in (b"", b"{}", b"[]", b'{"token":1}', b'{"token":""}', b"x" * 2000):
            assert tags(6, fs.status(200, body)).error()["code"] == "bad-token-answer"
        assert tags(3, fs.status(200, b'{"token":"a\\r\\nX: y"}')).error()["code"] == "bad-credentials"
        assert tags(9, fs.status(200, b"y" * ((1 << 20) + 1))).error()["code"] == "body-too-large"
        for code, exit, id in ((401, 5, "unauthorized"), (403, 5, "denied"), (404, 8, "token-server"), (400, 5, "unauthorized")):
            assert tags(exit, fs.status(code)).error()["code"] == id
        # a token that does not help: asked for once, then given up
        s.rules.clear()
        s.requests.clear()
        s.fault("GET", "^/token", fs.status(200, b'{"token":"T"}'), times=99)
        s.fault("GET", "/tags/", challenge, times=99)
        r = box.run("proppush", "list-tags", f"docker://{s.host}/a/b", "--authfile", "a.json", "--json", ok=5)
        assert r.error()["code"] == "unauthorized"
        assert s.count("GET", "^/token") == 1 and s.count("GET", "/tags/") == 2


def test_get_login(box, server):
    e = box.run("proppush", "login", "--get-login", server.host, "--json", ok=8).error()
    assert e["code"] == "not-logged-in" and e["hint"] == f"proppush login {server.host}"
    login(box, server.host)
    asked = len(server.requests)
    r = box.run("proppush", "login", "--get-login", server.host)
    assert r.out == "alice\n" and PASSWORD not in r.err and len(server.requests) == asked
    assert box.run("proppush", "login", "--get-login", server.host, "--json").json() == {
        "version": 1, "registry": server.host, "username": "alice"}
    # an identity token does not say whose it is
    (box / "id.json").write_text(json.dumps({"auths": {server.host: {"identitytoken": "refresh-1"}}}))
    r = box.run("proppush", "login", "--get-login", "--authfile", box / "id.json", server.host)
    assert r.out == "<token>\n" and "refresh-1" not in r.err
    for more in (["-u", "alice"], ["--password-stdin"]):
        assert box.run("proppush", "login", "--get-login", server.host, *more, "--json", ok=2).error()["code"] == "usage"
    box.run("proppush", "logout", server.host)
    box.run("proppush", "login", "--get-login", server.host, ok=8)
