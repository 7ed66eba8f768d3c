"""propkbs serve as a process: first start, restart, being killed, TLS, and everything it refuses."""
import email.utils
import http.client
import os
import re
import signal
import sqlite3
import ssl
import stat
import subprocess
import threading
import time

import pytest
from conftest import BIN, Kbs, free_port, need
from propkbs_peer import ALLOW_ALL, PREFIX, Client, claims_of, open_jwe, request


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def refuse(box, *args, code, id_):
    """propkbs serve that does not start: exit status and cause, nothing on stdout."""
    r = box.run(BIN / "propkbs", "serve", "--json", *args, ok=code)
    assert r.out == ""
    err = r.error()
    assert err["code"] == id_, err
    assert err["message"] and "\n" not in err["message"]
    return err


def test_first_start(kbs):
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", kbs.url) and kbs.port > 0
    assert mode(kbs.state) == 0o700
    for name in ("admin.key", "token.key", "kbs.db"):
        assert mode(kbs.state / name) == 0o600, name
    assert (kbs.state / "admin.pub").read_text().startswith("-----BEGIN PUBLIC KEY-----")
    assert not (kbs.state / "ca.pem").exists()
    assert request(kbs, "GET", "/healthz").status == 200


def test_warns_and_ends_cleanly(kbs_factory):
    for sig in (signal.SIGTERM, signal.SIGINT):
        k = kbs_factory()
        k.proc.send_signal(sig)
        assert k.proc.wait(10) == 0
        text = open(k.log.name).read()
        assert "development only" in text and "sample evidence" in text
        assert not list(k.state.glob("kbs.db-*"))


def test_notes_refusals_without_secrets(kbs_factory):
    k = kbs_factory()
    c = Client(k)
    c.set_resource("default/key/k1", b"do-not-log-me-0123456789abcdef!!")
    cookie, token = c.attest()
    assert c.get("default/key/k1", cookie).error == "PolicyDeny"
    k.proc.send_signal(signal.SIGTERM)
    k.proc.wait(10)
    text = open(k.log.name).read()
    assert "GET /kbs/v0/resource/default/key/k1 401 PolicyDeny" in text
    assert "do-not-log-me" not in text and cookie.split("=")[1] not in text and token not in text


def state_of(client, cookie):
    assert client.admin("GET", "/reference-value/a").json() == [1]
    r = client.get("default/key/k1", cookie)
    assert r.status == 200
    assert open_jwe(r.body, client.tee_key) == b"secret"
    r = client.get("default/key/other", cookie)
    assert r.error == "PolicyDeny"


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGKILL])
def test_everything_survives(box, sig):
    """Resources, both policies, reference values, sessions, keys and tokens outlive the process."""
    k = Kbs(box)
    c = Client(k)
    try:
        c.set_policy('package policy\nimport rego.v1\ndefault allow := false\n'
                     'allow if data["resource-path"][2] == "k1"\n')
        assert c.set_attestation_policy('package policy\nimport rego.v1\n'
                                        'trust_claims := {"executables": 3}\n').status == 200
        c.set_resource("default/key/k1", b"secret")
        c.set_values({"a": [1]})
        cookie, token = c.attest()
        pending, nonce = c.auth()
        before = {n: (k.state / n).read_bytes() for n in ("admin.key", "admin.pub", "token.key")}
    finally:
        k.stop(sig)
    k = Kbs(box)
    try:
        assert before == {n: (k.state / n).read_bytes() for n in before}
        again = Client(k)
        again.tee_key, again.jwk = c.tee_key, c.jwk
        state_of(again, cookie)
        assert again.get("default/key/k1", bearer=token).status == 200
        r = again.post_attest(pending, again.message(nonce))
        assert r.status == 200
        assert claims_of(r.json()["token"])["submods"]["cpu0"]["ear.status"] == "affirming"
    finally:
        k.stop()


def test_killed_while_writing(box):
    """kill -9 under load: what was confirmed is there, and the file is whole."""
    k = Kbs(box)
    c = Client(k)
    confirmed = []

    def load():
        i = 0
        try:
            while True:
                c.set_resource(f"load/key/n{i}", b"v" * 2000)
                confirmed.append(i)
                i += 1
        except Exception:
            pass
    t = threading.Thread(target=load)
    t.start()
    while len(confirmed) < 20:
        time.sleep(0.005)
    k.stop(signal.SIGKILL)
    t.join()
    with sqlite3.connect(f"file:{k.state / 'kbs.db'}?mode=rw", uri=True) as db:
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    k = Kbs(box)
    try:
        c = Client(k)
        for i in confirmed:
            assert c.admin("DELETE", f"/resource/load/key/n{i}").status == 200
    finally:
        k.stop()


def test_half_made_folder_is_finished(box):
    """A first start that was killed after any of its files."""
    k = Kbs(box)
    key = (k.state / "admin.key").read_bytes()
    k.stop()
    for missing in ("admin.pub", "token.key", "kbs.db", "lock"):
        (k.state / missing).unlink()
        k = Kbs(box)
        assert (k.state / missing).exists() and (k.state / "admin.key").read_bytes() == key
        assert Client(k).admin("GET", "/resource-policy").status == 200
        k.stop()


def test_one_process_per_folder(box, kbs):
    err = refuse(box, "--listen", "127.0.0.1:0", "--state", kbs.state, code=7, id_="kbs-in-use")
    assert str(kbs.state) in err["message"]
    assert request(kbs, "GET", "/healthz").status == 200


@pytest.mark.parametrize("where", ["0.0.0.0:0", "[::]:0"])
def test_only_loopback(box, where):
    err = refuse(box, "--listen", where, "--state", box / "s", code=2, id_="listen-not-loopback")
    assert "--i-know-this-is-a-test" in err["hint"]


@pytest.mark.parametrize("where", ["", "127.0.0.1", "127.0.0.1:", "127.0.0.1:70000", "127.0.0.1:x", ":8080", "::1:80", "[::1:80"])
def test_malformed_listen(box, where):
    refuse(box, "--listen", where, "--state", box / "s", code=2, id_="listen")


def test_beyond_loopback_when_told(kbs_factory, box):
    k = Kbs.__new__(Kbs)
    log = open(box / "log", "wb+")
    proc = subprocess.Popen([BIN / "propkbs", "serve", "--listen", "0.0.0.0:0", "--state", box / "s",
                             "--i-know-this-is-a-test"], stdout=subprocess.PIPE, stderr=log, env=box.env)
    try:
        line = proc.stdout.readline().decode()
        assert re.fullmatch(r"listening on http://0\.0\.0\.0:\d+\n", line)
        k.port = int(line.rsplit(":", 1)[1])
        assert request(k, "GET", "/healthz").status == 200
    finally:
        proc.terminate()
        assert proc.wait(10) == 0
        proc.stdout.close()
        log.close()


def test_port_in_use(box, kbs):
    err = refuse(box, "--listen", f"127.0.0.1:{kbs.port}", "--state", box / "other", code=6, id_="listen")
    assert "in use" in err["message"]


@pytest.mark.parametrize("acl", ["admin", "=^/kbs/.+$", "admin=/kbs/.+$", "admin=^/kbs/.+", "admin=^/kbs/(.+$"])
def test_malformed_acl(box, acl):
    refuse(box, "--listen", "127.0.0.1:0", "--state", box / "s", "--acl", acl, code=2, id_="acl")
    assert not (box / "s").exists()


def test_damaged_folder(box):
    k = Kbs(box)
    k.stop()
    start = ("--listen", "127.0.0.1:0", "--state", k.state)
    pub = (k.state / "admin.pub").read_bytes()

    os.chmod(k.state / "admin.key", 0o644)
    refuse(box, *start, code=5, id_="key-file-mode")
    os.chmod(k.state / "admin.key", 0o600)

    token = (k.state / "token.key").read_bytes()
    (k.state / "token.key").write_bytes((k.state / "admin.key").read_bytes())
    refuse(box, *start, code=3, id_="key-type")
    (k.state / "token.key").write_bytes(b"nonsense")
    refuse(box, *start, code=3, id_="not-a-private-key")
    (k.state / "token.key").write_bytes(token)

    other = Kbs(box, name="other")
    other.stop()
    (k.state / "admin.pub").write_bytes((other.state / "admin.pub").read_bytes())
    refuse(box, *start, code=3, id_="key-mismatch")
    (k.state / "admin.pub").write_bytes(pub)

    with sqlite3.connect(k.state / "kbs.db") as db:
        db.execute("pragma user_version=99")
    db.close()
    refuse(box, *start, code=3, id_="kbs-db")
    (k.state / "kbs.db").write_bytes(b"not a database, but long enough to be looked at " * 40)
    refuse(box, *start, code=3, id_="kbs-db")


def test_state_folder_cannot_be_made(box):
    (box / "file").write_text("x")
    refuse(box, "--listen", "127.0.0.1:0", "--state", box / "file" / "kbs", code=7, id_="local-io")


def test_token_key_option(box, kbs_factory):
    first = kbs_factory()
    _, token = Client(first).attest()
    second = kbs_factory("--token-key", first.state / "token.key")
    c = Client(second)
    c.set_policy(ALLOW_ALL)
    assert c.get("default/key/x", bearer=token).error == "PluginInternalError"
    assert not (second.state / "token.key").exists()
    third = Client(kbs_factory())
    third.set_policy(ALLOW_ALL)
    assert third.get("default/key/x", bearer=token).error == "TokenVerifierError"
    refuse(box, "--listen", "127.0.0.1:0", "--state", box / "t", "--token-key", box / "nosuch", code=8, id_="not-found")


def test_session_timeout_option(box, kbs_factory):
    refuse(box, "--session-timeout", "90s", "--state", box / "t", code=2, id_="session-timeout")
    refuse(box, "--session-timeout", "0m", "--state", box / "t", code=2, id_="session-timeout")
    k = kbs_factory("--session-timeout", "30m")
    r = request(k, "POST", PREFIX + "/auth", b'{"version":"0.4.0","tee":"sample","extra-params":null}')
    over = email.utils.parsedate_to_datetime(r.headers["set-cookie"].split("Expires=")[1]).timestamp()
    assert 1700 < over - time.time() < 1801


def test_help_names_the_switches(box):
    text = box.run(BIN / "propkbs", "serve", "--help").out
    for flag in ("--listen", "--state", "--tls", "--issuer", "--audience", "--acl", "--deny-all",
                 "--i-know-this-is-a-test"):
        assert flag in text
    assert "propkbs" in box.run(BIN / "propkbs", "--version").out


def test_default_state_folder(box):
    port = free_port()
    proc = subprocess.Popen([BIN / "propkbs", "serve", "--quiet", "--listen", f"127.0.0.1:{port}"],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=box.env)
    try:
        assert proc.stdout.readline() == f"listening on http://127.0.0.1:{port}\n".encode()
        folder = box.home / "data" / "prop" / "kbs"
        assert (folder / "admin.key").exists() and mode(folder) == 0o700
    finally:
        proc.terminate()
        proc.communicate(timeout=10)


# --- TLS ------------------------------------------------------------------------------------------


def test_tls_with_curl(box, kbs_factory):
    curl = need("curl")
    k = kbs_factory("--tls")
    assert k.url == f"https://127.0.0.1:{k.port}"
    assert mode(k.state / "ca.key") == 0o600
    for host in ("127.0.0.1", "localhost"):
        r = box.run(curl, "-sS", "--cacert", k.ca, f"https://{host}:{k.port}/kbs/v0/nosuch", "-w", "%{http_code}")
        assert r.out.endswith("404") and "PluginNotFound" in r.out
    box.run(curl, "-sS", f"https://127.0.0.1:{k.port}/healthz", ok=60)
    box.run(curl, "-sS", "--cacert", k.ca, "--resolve", f"kbs.example:{k.port}:127.0.0.1",
            f"https://kbs.example:{k.port}/healthz", ok=60)
    box.run(curl, "-sS", "--cacert", k.ca, "--tls-max", "1.1", f"https://127.0.0.1:{k.port}/healthz", ok=35)


def test_tls_certificates(box, kbs_factory):
    openssl = need("openssl")
    k = kbs_factory("--tls")
    pem = ssl.get_server_certificate(("127.0.0.1", k.port))
    (box / "leaf.pem").write_text(pem)
    box.run(openssl, "verify", "-x509_strict", "-purpose", "sslserver", "-CAfile", k.ca, box / "leaf.pem")
    text = box.run(openssl, "x509", "-in", box / "leaf.pem", "-noout", "-text").out
    assert "CA:FALSE" in text and "prime256v1" in text and "TLS Web Server Authentication" in text
    for name in ("DNS:localhost", "IP Address:127.0.0.1", "IP Address:0:0:0:0:0:0:0:1"):
        assert name in text
    ca = box.run(openssl, "x509", "-in", k.ca, "-noout", "-text").out
    assert "CA:TRUE" in ca and "Certificate Sign" in ca
    days = {}
    for name, path in (("leaf", box / "leaf.pem"), ("ca", k.ca)):
        end = box.run(openssl, "x509", "-in", path, "-noout", "-enddate").out.split("=", 1)[1]
        days[name] = (ssl.cert_time_to_seconds(end.strip()) - time.time()) / 86400
    assert 360 < days["leaf"] < 367 and 3640 < days["ca"] < 3660


def test_tls_ca_is_kept(box):
    k = Kbs(box, "--tls")
    before = k.ca.read_bytes()
    context = ssl.create_default_context(cafile=str(k.ca))
    k.stop()
    k = Kbs(box, "--tls")
    try:
        assert k.ca.read_bytes() == before
        c = http.client.HTTPSConnection("127.0.0.1", k.port, context=context)
        for _ in range(3):  # one connection
            c.request("GET", "/kbs/v0/resource/a/b/c")
            r = c.getresponse()
            assert r.status == 401 and b"TokenNotFound" in r.read()
        c.close()
    finally:
        k.stop()
    other = Kbs(box, "--tls", name="other")
    other.stop()
    (k.state / "ca.pem").write_bytes(other.ca.read_bytes())
    refuse(box, "--tls", "--listen", "127.0.0.1:0", "--state", k.state, code=3, id_="ca-mismatch")


def test_plain_http_to_tls_port(kbs_factory):
    k = kbs_factory("--tls")
    assert request(k, "GET", "/healthz") is None
    context = ssl.create_default_context(cafile=str(k.ca))
    c = http.client.HTTPSConnection("127.0.0.1", k.port, context=context)
    c.request("GET", "/healthz")
    assert c.getresponse().status == 200
    c.close()


def test_an_address_that_cannot_be_told_ends_the_server(box):
    """Whoever waits for "listening on" would wait for ever."""
    r = box.run("bash", "-c", f"exec propkbs serve --listen 127.0.0.1:0 --state {box / 'kbs'} >/dev/full", ok=7, timeout=30)
    assert "standard output" in r.err
