"""A registry that misbehaves on demand: OCI distribution in memory, with faults put in front of it.

    with FaultServer() as server:
        server.fault("GET", r"/blobs/", cut(100))            # once
        server.fault("PUT", r"/manifests/", status(500), times=2)
        ... run a tool against server.host ...
        server.requests                                       # all that was asked, with headers

What it does is set on the server: ranges (of downloads), mounts (grants them), single (takes a blob with
its POST). What it demands of uploads, too: chunk_min (announced, and enforced), max_body (413),
want_length (411 for chunked coding), strict_state (404 for a Location that is not the newest).

A fault is a function of the handler that returns True when it answered (or deliberately did not),
and False to go on as usual, after it changed what `usual` means (see replace_body, location).
"""
import hashlib
import json
import re
import socket
import ssl
import struct
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Request:
    def __init__(self, method, path, headers):
        self.method, self.path, self.headers = method, path, headers

    def __repr__(self):
        return f"{self.method} {self.path}"


# --- faults ------------------------------------------------------------------------------------

def status(code, body=b"", headers=None):
    """Answer with this status, after the request's body was read."""
    def act(h):
        h.read_body()
        h.answer(code, body, headers or {})
        return True
    return act


def early(code, body=b""):
    """Answer before the request's body was read, and close."""
    def act(h):
        h.answer(code, body, {"Connection": "close"})
        h.close_connection = True
        return True
    return act


def redirect(url, code=307):
    return status(code, b"", {"Location": url})


def cut(after):
    """Send headers for the whole body, then only `after` bytes of it."""
    def act(h):
        h.cut_after = after
        return False
    return act


def cut_request(after):
    """Reset the connection after `after` bytes of the request's body; nothing of them is kept."""
    def act(h):
        h.read_part(after)
        h.reset()
        return True
    return act


def cut_patch(after):
    """Reset the connection after `after` bytes of a PATCH, which the upload session keeps."""
    def act(h):
        rest = h.path.split("?")[0].rsplit("/", 1)[1]
        if rest in h.server.owner.uploads:
            h.server.owner.uploads[rest] += h.read_part(after)
        h.reset()
        return True
    return act


def early_drained(code, body=b"", headers=None):
    """Answer before the request's body was read, then read it: the answer is not lost to a reset."""
    def act(h):
        h.answer(code, body, headers or {})
        h.wfile.flush()
        h.read_body()
        return True
    return act


def forget(h):
    """The upload session is gone before this request."""
    h.read_body()
    h.server.owner.uploads.clear()
    return False


def drop(h):
    """Close without an answer."""
    h.read_body()
    h.reset()
    return True


def lost_answer(h):
    """Do what was asked, then lose the answer."""
    h.lose_answer = True
    return False


def stall(h):
    """Say nothing until the server is closed."""
    h.server.owner.released.wait(60)
    h.reset()
    return True


def stall_after(count):
    """Begin the answer's body and stop."""
    def act(h):
        h.stall_after = count
        return False
    return act


def replace_body(change):
    """Send another body (change(bytes) -> bytes) under the headers of the right one."""
    def act(h):
        h.change = change
        return False
    return act


def add_headers(**headers):
    """Send these headers too, or instead; a value of None drops one. _ stands for -."""
    def act(h):
        h.extra = {k.replace("_", "-"): v for k, v in headers.items()}
        return False
    return act


def lie_length(delta):
    """State a Content-Length that is wrong by delta, and close after the body."""
    def act(h):
        h.length_delta = delta
        return False
    return act


# --- the registry ------------------------------------------------------------------------------

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def setup(self):
        super().setup()
        self.server.owner.open.add(self.connection)

    def finish(self):
        self.server.owner.open.discard(self.connection)
        try:
            super().finish()
        except OSError:
            pass

    def handle(self):
        try:
            super().handle()
        except (ConnectionError, BrokenPipeError, ssl.SSLError, ValueError, OSError):
            pass

    def log_message(self, *args):
        pass

    def reset(self):
        """RST instead of FIN."""
        self.close_connection = True
        try:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        except OSError:
            pass

    def read_part(self, count):
        """The first `count` bytes of the request's body, decoded; fewer where it is shorter."""
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(min(count, int(self.headers.get("Content-Length") or 0)))
        got = b""
        while len(got) < count:
            size = int(self.rfile.readline().split(b";")[0], 16)
            if size == 0:
                break
            got += self.rfile.read(size)
            self.rfile.readline()
        return got[:count]

    def read_body(self):
        if self.body is not None:
            return self.body
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            parts = []
            while True:
                size = int(self.rfile.readline().split(b";")[0], 16)
                parts.append(self.rfile.read(size))
                self.rfile.readline()
                if size == 0:
                    break
            self.body = b"".join(parts)
        else:
            self.body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return self.body

    def answer(self, code, body=b"", headers=None, head=False):
        if self.lose_answer:
            self.reset()
            return
        headers = dict(headers or {})
        if body and "Content-Type" not in headers:
            headers["Content-Type"] = "application/json"
        length = len(body) + self.length_delta
        headers.setdefault("Content-Length", str(length))
        for name, value in self.extra.items():
            headers = {k: v for k, v in headers.items() if k.lower() != name.lower()}
            if value is not None:
                headers[name] = value
        if self.length_delta:
            self.close_connection = True
        self.send_response(code)
        for name, value in headers.items():
            for one in value if isinstance(value, list) else [value]:
                self.send_header(name, one)
        self.end_headers()
        if head or self.command == "HEAD":
            return
        body = self.change(body) if self.change else body
        if self.stall_after is not None:
            self.wfile.write(body[:self.stall_after])
            self.wfile.flush()
            self.server.owner.released.wait(60)
            self.reset()
            return
        if self.cut_after is not None:
            self.wfile.write(body[:self.cut_after])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.wfile.write(body)

    def error(self, code, name, message=""):
        self.answer(code, json.dumps({"errors": [{"code": name, "message": message}]}).encode())

    def any(self):
        self.body, self.change, self.cut_after, self.stall_after = None, None, None, None
        self.lose_answer, self.extra, self.length_delta = False, {}, 0
        owner = self.server.owner
        self.path = re.sub(r"^http://[^/]+", "", self.path)  # asked as a proxy
        owner.requests.append(Request(self.command, self.path, dict(self.headers.items())))
        for rule in owner.rules:
            method, pattern, act, times = rule
            if times > 0 and method in (self.command, "*") and re.search(pattern, self.path):
                rule[3] -= 1
                if act(self):
                    return
                break
        self.serve()

    do_GET = do_HEAD = do_POST = do_PATCH = do_PUT = do_DELETE = any

    def serve(self):
        owner, path = self.server.owner, self.path.split("?")[0]
        query = self.path[len(path) + 1:]
        self.read_body()
        if path == "/v2/":
            return self.answer(200, b"{}")
        m = re.match(r"/v2/(.+)/(blobs/uploads|blobs|manifests|tags)/(.*)$", path)
        if not m:
            return self.error(404, "NAME_UNKNOWN")
        name, kind, rest = m.groups()
        if kind == "blobs/uploads":
            return self.upload(owner, name, rest, query)
        if kind == "blobs":
            return self.blob(owner, rest)
        if kind == "tags":
            tags = sorted(t for n, t in owner.manifests if n == name and ":" not in t)
            return self.answer(200, json.dumps({"name": name, "tags": tags}).encode())
        return self.manifest(owner, name, rest)

    def upload(self, owner, name, rest, query):
        if self.command == "POST":
            mount = re.search(r"mount=([^&]+)", query)
            if mount and owner.mounts and mount.group(1) in owner.blobs:
                return self.answer(201, b"", {"Location": f"/v2/{name}/blobs/{mount.group(1)}"})
            whole = re.search(r"digest=([^&]+)", query)
            if whole and owner.single and digest_of(self.body) == whole.group(1):
                owner.blobs[whole.group(1)] = self.body
                return self.answer(201, b"", {"Location": f"/v2/{name}/blobs/{whole.group(1)}"})
            owner.uploads[rest := uuid.uuid4().hex] = b""
            owner.short.discard(rest)
            headers = {"Location": f"/v2/{name}/blobs/uploads/{rest}?s=0"}
            if owner.chunk_min:
                headers["OCI-Chunk-Min-Length"] = str(owner.chunk_min)
            return self.answer(202, b"", headers)
        if rest not in owner.uploads:
            return self.error(404, "BLOB_UPLOAD_UNKNOWN")
        if self.command == "DELETE":
            del owner.uploads[rest]
            return self.answer(204)
        if owner.strict_state and query.split("&")[0] != f"s={len(owner.uploads[rest])}":
            return self.error(404, "BLOB_UPLOAD_INVALID")
        if self.command == "GET":
            return self.answer(204, b"", self.progress(name, rest))
        if self.command == "PATCH":
            return self.patch(owner, name, rest)
        want = re.search(r"digest=([^&]+)", query).group(1).replace("%3A", ":")
        data = owner.uploads[rest] + self.body
        if digest_of(data) != want:
            return self.error(400, "DIGEST_INVALID", "provided digest did not match")
        owner.blobs[want] = data
        del owner.uploads[rest]
        return self.answer(201, b"", {"Location": f"/v2/{name}/blobs/{want}",
                                      "Docker-Content-Digest": want})

    def progress(self, name, rest):
        size = len(self.server.owner.uploads[rest])
        return {"Location": f"/v2/{name}/blobs/uploads/{rest}?s={size}", "Range": f"0-{max(size - 1, 0)}"}

    def patch(self, owner, name, rest):
        """The chunk rules of the specification."""
        size, chunk = len(owner.uploads[rest]), self.headers.get("Content-Range")
        if owner.max_body is not None and len(self.body) > owner.max_body:
            return self.error(413, "SIZE_INVALID", "too large")
        if owner.want_length and "Content-Length" not in self.headers:
            return self.error(411, "SIZE_INVALID", "length required")
        if owner.chunk_min and (rest in owner.short or not chunk):
            return self.error(400, "BLOB_UPLOAD_INVALID", "chunk rules broken")
        if chunk and chunk != f"{size}-{size + len(self.body) - 1}":
            return self.answer(416, b"", self.progress(name, rest))
        if len(self.body) < owner.chunk_min:
            owner.short.add(rest)
        owner.uploads[rest] += self.body
        return self.answer(202, b"", self.progress(name, rest))

    def blob(self, owner, digest):
        data = owner.blobs.get(digest)
        if data is None:
            return self.error(404, "BLOB_UNKNOWN", "blob unknown to registry")
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": digest}
        m = re.match(r"bytes=(\d+)-$", self.headers.get("Range", ""))
        if m and owner.ranges:
            first = int(m.group(1))
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            return self.answer(206, data[first:], headers)
        return self.answer(200, data, headers)

    def manifest(self, owner, name, reference):
        if self.command == "PUT":
            digest = digest_of(self.body)
            owner.manifests[name, digest] = self.body, self.headers["Content-Type"]
            owner.manifests[name, reference] = self.body, self.headers["Content-Type"]
            return self.answer(201, b"", {"Docker-Content-Digest": digest})
        found = owner.manifests.get((name, reference))
        if found is None:
            return self.error(404, "MANIFEST_UNKNOWN", "manifest unknown")
        return self.answer(200, found[0], {"Content-Type": found[1],
                                           "Docker-Content-Digest": digest_of(found[0])})


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, address):
        pass


class FaultServer:
    """`host` is "127.0.0.1:PORT"; blobs, manifests, uploads and requests may be looked at."""

    def __init__(self, tls=None, address="127.0.0.1"):
        self.blobs, self.manifests, self.uploads = {}, {}, {}
        self.requests, self.rules, self.open = [], [], set()
        self.ranges, self.mounts, self.single = True, False, False
        self.chunk_min, self.max_body, self.want_length, self.strict_state = 0, None, False, False
        self.short = set()  # uploads that had a chunk below chunk_min: only the last may be one
        self.released = threading.Event()
        self.http = Quiet((address, 0), Handler)
        self.http.owner = self
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.http.socket = context.wrap_socket(self.http.socket, server_side=True)
        self.port = self.http.server_address[1]
        self.host = f"{address}:{self.port}"
        self.url = f"{'https' if tls else 'http'}://{self.host}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def fault(self, method, pattern, act, times=1):
        self.rules.append([method, pattern, act, times])

    def count(self, method, pattern):
        return sum(1 for r in self.requests if r.method == method and re.search(pattern, r.path))

    def put_image(self, name, tag, layer=b"\0asm\1\0\0\0", media_type="application/vnd.wasm.content.layer.v1+wasm"):
        """Put an artifact there without going through HTTP; its manifest's digest."""
        config = b"{}"
        self.blobs[digest_of(config)], self.blobs[digest_of(layer)] = config, layer
        manifest = json.dumps({
            "schemaVersion": 2,
            "config": {"mediaType": "application/vnd.wasm.config.v1+json",
                       "digest": digest_of(config), "size": len(config)},
            "layers": [{"mediaType": media_type, "digest": digest_of(layer), "size": len(layer)}],
        }, separators=(",", ":")).encode()
        entry = manifest, "application/vnd.oci.image.manifest.v1+json"
        self.manifests[name, tag] = self.manifests[name, digest_of(manifest)] = entry
        return digest_of(manifest)

    def wait_for(self, method, pattern, seconds=10):
        """Until such a request was seen."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.count(method, pattern):
                return
            time.sleep(0.005)
        raise AssertionError(f"no {method} {pattern}: {self.requests}")

    def close(self):
        self.released.set()
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(5)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()
