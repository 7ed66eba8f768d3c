"""A token server for docker-registry's token auth, and the key and certificate it needs.

GET with Basic credentials or anonymous, POST with a refresh token (OAuth2); RS256 through openssl.
"""
import base64
import json
import pathlib
import subprocess
import threading
import time
import urllib.parse
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

ISSUER, SERVICE = "issuer.test", "reg.test"


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def make_certificate(folder, name="127.0.0.1"):
    """A self-signed certificate for 127.0.0.1: (certificate, key)."""
    folder = pathlib.Path(folder)
    cert, key = folder / f"{name}.pem", folder / f"{name}.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-days", "2",
                    "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"],
                   check=True, capture_output=True)
    return cert, key


class TokenServer:
    """users: name -> password; identity: refresh token -> name; may: name -> set of actions."""

    def __init__(self, folder, users=None, identity=None, anonymous=()):
        self.users, self.identity, self.anonymous = users or {}, identity or {}, set(anonymous)
        self.cert, self.key = make_certificate(folder, "token")
        der = subprocess.run(["openssl", "x509", "-in", self.cert, "-outform", "DER"], check=True, capture_output=True)
        self.x5c = base64.b64encode(der.stdout).decode()
        self.requests, self.lifetime, self.tokens = [], 300, 0
        self.post_status = 200
        owner = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args):
                pass

            def do_GET(self):
                query = urllib.parse.parse_qs(urllib.parse.urlparse(self.path).query)
                owner.requests.append(("GET", query, self.headers.get("Authorization")))
                name = None
                auth = self.headers.get("Authorization", "")
                if auth.startswith("Basic "):
                    name, _, password = base64.b64decode(auth[6:]).decode().partition(":")
                    if owner.users.get(name) != password:
                        return self.reply(401, {"details": "incorrect username or password"})
                self.reply(200, owner.token(name, query.get("scope", [])))

            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                owner.requests.append(("POST", form, self.headers.get("Authorization")))
                if owner.post_status != 200:
                    return self.reply(owner.post_status, {})
                name = owner.identity.get(form["refresh_token"][0])
                if form["grant_type"] != ["refresh_token"] or name is None:
                    return self.reply(400, {"error": "invalid_grant", "error_description": "no such token"})
                token = owner.token(name, form.get("scope", []))
                token["access_token"] = token.pop("token")
                self.reply(200, token)

            def reply(self, status, doc):
                body = json.dumps(doc).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.realm = f"http://127.0.0.1:{self.http.server_address[1]}/token"
        threading.Thread(target=self.http.serve_forever, args=(0.02,), daemon=True).start()

    def token(self, name, scopes):
        access = []
        for scope in " ".join(scopes).split():
            kind, resource, actions = scope.split(":", 2)
            allowed = set(actions.split(",")) if name else set(actions.split(",")) & self.anonymous
            access.append({"type": kind, "name": resource, "actions": sorted(allowed)})
        now = int(time.time())
        head = b64url(json.dumps({"typ": "JWT", "alg": "RS256", "x5c": [self.x5c]}).encode())
        claims = b64url(json.dumps({"iss": ISSUER, "aud": SERVICE, "sub": name or "", "iat": now, "nbf": now - 10,
                                    "exp": now + self.lifetime, "jti": uuid.uuid4().hex, "access": access}).encode())
        signed = subprocess.run(["openssl", "dgst", "-sha256", "-sign", self.key], input=f"{head}.{claims}".encode(),
                                check=True, capture_output=True).stdout
        self.tokens += 1
        return {"token": f"{head}.{claims}.{b64url(signed)}", "expires_in": self.lifetime}

    def registry_auth(self):
        """The auth section of docker-registry's configuration."""
        return (f"auth: {{token: {{realm: \"{self.realm}\", service: {SERVICE}, issuer: {ISSUER}, "
                f"rootcertbundle: {self.cert}}}}}\n")

    def close(self):
        self.http.shutdown()
        self.http.server_close()
