"""Publishing seen from outside: a publisher, what the registry says without our client, and servers
that fail on request."""
import http.client
import http.server
import json
import re
import sqlite3
import threading
import time

from conftest import Box, Kbs

ADDITION = bytes.fromhex(
    "0061736d0100000001070160027f7f017f03020100070701036164640000"
    "0a09010700200020016a0b")


class Publisher:
    """One KBS, one destination, and the arguments every publish takes."""

    def __init__(self, box, kbs, module, dst, kbs_url=None):
        self.box, self.kbs, self.module, self.dst = box, kbs, module, dst
        self.url = kbs_url or kbs.url

    def argv(self, *args, src=None, dst=None, admin=None):
        return ["proppush", "publish", src or self.module, dst or self.dst, "--kbs", self.url,
                "--admin-key", admin or self.kbs.admin_key, *args]

    def run(self, *args, ok=True, env=None, stdin=b"", **kw):
        return self.box.run(*self.argv(*args, **kw), ok=ok, env=env, stdin=stdin)

    def json(self, *args, **kw):
        return self.run(*args, "--json", **kw).json()

    def fails(self, code, error_id, *args, **kw):
        r = self.run(*args, "--json", ok=code, **kw)
        assert r.out == "", r.out
        e = r.error()
        assert e["code"] == error_id, e
        assert "\n" not in e["message"]
        return e

    def get(self, kid, url=None):
        """The key as a guest with sample evidence gets it; None when it is refused."""
        r = self.box.run("propkey", "get", kid, "-o", self.box / "got.key", "--force", "--kbs",
                         url or self.kbs.url, "--tee", "sample", "--json", ok=None)
        if r.returncode:
            self.refusal = r.error()["code"]
            return None
        return (self.box / "got.key").read_bytes()

    def decrypts(self, doc, plain=ADDITION, kek=None):
        """The published image opens with its KEK, by digest."""
        out = self.box / "out.wasm"
        out.unlink(missing_ok=True)
        source = doc["pinned"] if not self.dst.startswith(("oci:", "dir:")) else self.dst
        self.box.run("propenc", "decrypt", source, out, "--key", kek or doc["kek_file"])
        return out.read_bytes() == plain


def tag_digest(host, repo="team/addition", tag="encrypted"):
    """What the registry's tag points at, asked without our own client; None when there is none."""
    c = http.client.HTTPConnection(host, timeout=20)
    c.request("HEAD", f"/v2/{repo}/manifests/{tag}", headers={
        "Accept": "application/vnd.oci.image.manifest.v1+json, "
                  "application/vnd.oci.image.index.v1+json"})
    r = c.getresponse()
    r.read()
    c.close()
    assert r.status in (200, 404), r.status
    return r.headers["Docker-Content-Digest"] if r.status == 200 else None


def manifest(host, digest, repo="team/addition"):
    c = http.client.HTTPConnection(host, timeout=20)
    c.request("GET", f"/v2/{repo}/manifests/{digest}", headers={
        "Accept": "application/vnd.oci.image.manifest.v1+json"})
    r = c.getresponse()
    text = r.read()
    c.close()
    assert r.status == 200
    return json.loads(text)


def kept_keks(box):
    folder = box.home / "data/prop/keys"
    return sorted(p.name for p in folder.iterdir()) if folder.exists() else []


def host_of(pub):
    return pub.dst.split("/")[0]


class Proxy:
    """Stands before a server, passes requests on and does to chosen ones what networks and servers do.
    `fault(n, method, path)` gives None, a status, "drop" (close before), "lost" (close after it was
    done) or a callable (called before it is passed on; it may kill the client)."""

    def __init__(self, backend):
        self.host, self.port = backend.split(":")
        self.log, self.fault, self.lock = [], lambda n, method, path: None, threading.Lock()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def body(self):
                if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
                    data = b""
                    while True:
                        size = int(self.rfile.readline().split(b";")[0], 16)
                        data += self.rfile.read(size)
                        self.rfile.readline()
                        if size == 0:
                            return data
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def answer(self, status, headers, data):
                self.send_response(status)
                for k, v in headers:
                    if k.lower() not in ("content-length", "transfer-encoding", "connection", "server",
                                         "date"):
                        self.send_header(k, v)
                if self.command != "HEAD":
                    self.send_header("Content-Length", str(len(data)))
                else:
                    for k, v in headers:
                        if k.lower() == "content-length":
                            self.send_header(k, v)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(data)

            def handle_any(self):
                try:
                    data = self.body()
                    with outer.lock:
                        n = len(outer.log)
                        entry = [self.command, self.path.split("?")[0], None, time.monotonic()]
                        outer.log.append(entry)
                    fault = outer.fault(n, self.command, self.path)
                    if callable(fault):
                        fault = fault()
                    if fault == "drop":
                        self.close_connection = True
                        return
                    if isinstance(fault, int):
                        entry[2] = fault
                        self.answer(fault, [], b"")
                        return
                    c = http.client.HTTPConnection(outer.host, int(outer.port), timeout=30)
                    headers = {k: v for k, v in self.headers.items()
                               if k.lower() not in ("transfer-encoding", "content-length", "expect")}
                    c.request(self.command, self.path, body=data, headers=headers)
                    r = c.getresponse()
                    entry[2] = r.status
                    answer = r.read()
                    c.close()
                    if fault == "lost":
                        self.close_connection = True
                        return
                    self.answer(r.status, r.getheaders(), answer)
                except (OSError, ValueError):
                    self.close_connection = True

            do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def done(self, method, pattern):
        return [e for e in self.log if e[0] == method and re.search(pattern, e[1])
                and e[2] is not None and e[2] < 300]


class World(Publisher):
    """A publisher with a home, a KBS and a repository of its own, and proxies before both servers; the
    tag names an older image already, and the KBS denies everybody everything."""

    def __init__(self, folder, registry, repo, layout=False):
        folder.mkdir(parents=True)
        box = Box(folder)
        kbs = Kbs(box)
        module = box / "addition.wasm"
        module.write_bytes(ADDITION)
        self.kbs_proxy, self.reg_proxy = Proxy(kbs.url.split("://")[1]), Proxy(registry.host)
        self.registry, self.repo, self.name = registry, repo, "team/key/k1"
        self.layout = layout
        dst = f"oci:{box / 'layout'}:encrypted" if layout else (
            f"{self.reg_proxy.address}/{repo}:encrypted")
        super().__init__(box, kbs, module, dst, f"http://{self.kbs_proxy.address}")
        # uploaded to the address that publish uses: so the ledger knows what there is to go back to
        box.run("propkey", "policy", "preset", "deny-all", "--kbs", self.url, "--admin-key",
                kbs.admin_key)
        self.kbs_proxy.log.clear()
        (box / "p.toml").write_text("version = 1\n")
        (box / "old.wasm").write_bytes(ADDITION + b"\x00\x02\x01o")
        box.run("proppush", "push", box / "old.wasm",
                self.dst if layout else f"{registry.host}/{repo}:encrypted")
        self.old = self.tag()

    def tag(self):
        if not self.layout:
            return tag_digest(self.registry.host, self.repo)
        index = json.loads((self.box / "layout/index.json").read_text())
        return next((m["digest"] for m in index["manifests"] if
                     m.get("annotations", {}).get("org.opencontainers.image.ref.name") == "encrypted"),
                    None)

    def holds(self):
        """Everything the KBS keeps: keys and policy."""
        db = sqlite3.connect(f"file:{self.kbs.state / 'kbs.db'}?mode=ro", uri=True)
        try:
            return {(k, n): bytes(v) for k, n, v in db.execute("SELECT kind, key, value FROM item")}
        finally:
            db.close()

    def snapshot(self):
        """What a publish that was taken back must not have changed."""
        return {"tag": self.tag(), "kbs": self.holds(), "document": (self.box / "p.toml").read_text(),
                "keks": kept_keks(self.box)}

    def run_verb(self, *args, ok=True, env=None):
        """--resume, --abort: what is not said is in the journal."""
        return self.box.run("proppush", "publish", *args, "--json", ok=ok, env=env, cwd="/")

    def open_runs(self):
        return self.box.run("proppush", "publish", "--list", "--json").json()["runs"]

    def stop(self):
        self.kbs_proxy.stop()
        self.reg_proxy.stop()
        self.kbs.stop()

    def check(self, failed):
        """Whatever happened: a moved tag has its key in the KBS, no key went there before its rule,
        and the name was not touched before the key stood."""
        now = self.tag()
        if failed:
            assert now == self.old
        if now != self.old:
            assert self.get(self.name) is not None
        rule = self.kbs_proxy.done("POST", "/resource-policy$")
        key = self.kbs_proxy.done("POST", f"/resource/{self.name}$")
        name = [e for e in self.reg_proxy.log if e[0] == "PUT" and e[1].endswith("/manifests/encrypted")]
        if key:
            assert rule and rule[0][3] < key[0][3]
        if name:
            assert key and key[0][3] < name[0][3]
