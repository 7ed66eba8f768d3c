"""A key broker of an older release, or a badly set up one, as far as administrators see it: the token
rules, the calls that exist, the form of answers (protocol notes 1.2 and 8). It checks no signatures.

    with OldKbs("v0.19") as server:
        ... propkey --kbs server.url ...
        server.requests      # [(method, path, claims of the admin token or None)]
        server.resources     # {"r/t/n": bytes}
"""
import base64
import email.utils
import json
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ERRORS = "https://github.com/confidential-containers/kbs/errors/"


def claims_of(header):
    """Claims of an admin token, None when there is none that can be read."""
    try:
        part = header.removeprefix("Bearer ").split(".")[1]
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, AttributeError):
        return None


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def date_time_string(self, timestamp=None):
        return email.utils.formatdate(time.time() + self.server.owner.clock_s, usegmt=True)

    def answer(self, status, body=b"", **headers):
        body = body if isinstance(body, bytes) else body.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def refuse(self, name, detail="x", status=401):
        self.answer(status, json.dumps({"type": ERRORS + name, "detail": detail}))

    def crash(self):
        """Close without a word, as a handler that panics does."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def admin(self, endpoint):
        """Is this the administrator? Refuses otherwise."""
        kbs, claims = self.server.owner, self.claims
        if kbs.open:
            return True
        now = time.time() + kbs.clock_s
        good = claims is not None and isinstance(claims.get("exp"), int) and claims["exp"] > now - 60
        if kbs.at_least(21):
            good = good and (not kbs.audience or claims.get("aud") == kbs.audience)
            why = "Cannot verify token with any of the issuers"
            if good and not isinstance(claims.get("role"), str):
                good, why = False, ('Failed to parse claims from token: AdminAccessDenied { reason: '
                                    '"Missing required `role` claim in JWT" }')
            if not good:
                self.refuse("AdminAuthAccess" if endpoint != "resource" else "AdminAuthInitialization",
                            f"admin access denied for endpoint {endpoint}: Admin access denied: {why}")
            return good
        if kbs.at_least(18):
            good = good and "aud" not in claims
        else:
            good = good and claims.get("iat", 0) <= now + 1
        if not good:
            self.refuse("AdminAuth", "Admin auth error: token rejected")
        return good

    def any(self):
        kbs = self.server.owner
        length = int(self.headers.get("content-length", 0))
        self.body = self.rfile.read(length)
        self.claims = claims_of(self.headers.get("authorization"))
        kbs.requests.append((self.command, self.path, self.claims))
        for method, pattern, when in kbs.crashes:
            if method == self.command and re.search(pattern, self.path) and when == "before":
                return self.crash()
        late = any(m == self.command and re.search(p, self.path) and w == "after" for m, p, w in kbs.crashes)
        if late:
            self.wfile = open("/dev/null", "wb")
        self.route()
        if late:
            self.crash()

    do_GET = do_POST = do_DELETE = do_PUT = any

    def route(self):
        kbs, path = self.server.owner, self.path.split("?")[0]
        if path == "/healthz":
            return self.answer(200 if kbs.at_least(21) else 404)
        if not path.startswith("/kbs/v0/"):
            return self.answer(404)
        if self.command == "DELETE" and not kbs.at_least(20):
            return self.answer(405, allow="GET, POST")
        name, _, rest = path[len("/kbs/v0/"):].partition("/")
        call = getattr(self, f"{self.command.lower()}_{name.replace('-', '_')}", None)
        return call(rest) if call else self.refuse("PluginNotFound", f"Plugin {name} not found", 404)

    def post_resource(self, rest):
        if self.admin("resource"):
            self.server.owner.resources[rest] = self.body
            self.answer(200, content_type="text/xml")

    def delete_resource(self, rest):
        if self.admin("resource"):
            if self.server.owner.resources.pop(rest, None) is None:
                return self.refuse("PluginInternalError", "Plugin internal error")
            self.answer(200, content_type="text/xml")

    def get_resource(self, rest):
        if self.headers.get("authorization") and self.server.owner.forgeable:
            return self.refuse("PolicyDeny", "Access denied by policy")
        self.refuse("TokenVerifierError" if self.headers.get("authorization") else "TokenNotFound")

    def post_resource_policy(self, rest):
        if self.admin("resource-policy"):
            part = json.loads(self.body)["policy"]
            self.server.owner.policy = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
            self.answer(200)

    def get_resource_policy(self, rest):
        if self.admin("resource-policy"):
            if self.server.owner.at_least(19):
                return self.answer(200, '["resource-policy"]', content_type="application/json")
            self.answer(200, base64.urlsafe_b64encode(self.server.owner.policy).rstrip(b"="), content_type="text/xml")

    def post_reference_value(self, rest):
        if self.admin("reference-value"):
            values = json.loads(base64.b64decode(json.loads(self.body)["payload"]))
            keep = self.server.owner.keeps
            self.server.owner.values.update({k: v for k, v in values.items() if keep is None or k in keep})
            if keep is not None:
                return self.refuse("RvpsError", "RVPS configuration failed: Failed to register reference value")
            self.answer(200)

    def get_reference_value(self, rest):
        if not self.admin("reference-value"):
            return
        kbs = self.server.owner
        if not kbs.at_least(16):
            return self.answer(200, json.dumps(kbs.values), content_type="application/json")
        if rest not in kbs.values:
            return self.refuse("RvpsError", "RVPS configuration failed: Failed to get reference_values: "
                               + (f"No reference value found for the given id: {rest}" if rest else "query reference values"))
        self.answer(200, json.dumps(kbs.values[rest]), content_type="application/json")

    def post_auth(self, rest):
        if not self.server.owner.at_least(14):
            return self.refuse("AttestationError", "Attestation error: RCAR handshake Auth failed: KBS Client Protocol Version "
                               "Mismatch: expect =0.2.0 while the request is 0.4.0")
        self.answer(200, '{"nonce":"bm9uY2U=","extra-params":""}', set_cookie="kbs-session-id=" + "a" * 32)

    def post_attest(self, rest):
        self.refuse("AttestationError", "Attestation error: RCAR handshake Attest failed")


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, address):
        pass


class OldKbs:
    """`release` "v0.13" to "v0.21". `open`: admin calls need no token. `forgeable`: any attestation
    token is believed. `crashes`: [(method, path pattern, "before" or "after" it did the work)].
    `keeps`: a POST of reference values stores only these and then fails."""

    def __init__(self, release, audience=None, open=False, forgeable=False, clock_s=0, crashes=(), keeps=None):
        self.release, self.audience, self.open, self.forgeable = release, audience, open, forgeable
        self.clock_s, self.crashes, self.keeps = clock_s, list(crashes), keeps
        self.requests, self.resources, self.values, self.policy = [], {}, {}, b"package policy\n"
        self.http = Quiet(("127.0.0.1", 0), Handler)
        self.http.owner = self
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    def at_least(self, minor):
        return int(self.release.removeprefix("v0.")) >= minor

    def count(self, method, pattern=""):
        return sum(1 for m, p, _ in self.requests if m == method and re.search(pattern, p))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(5)
