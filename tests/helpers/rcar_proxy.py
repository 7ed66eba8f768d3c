"""An HTTP proxy in front of propkbs that keeps what is said, and can take the part of a verifier of hardware
evidence: with translate=True it checks that SNP or TDX evidence is bound to 48 bytes and 16 zeros, and hands
propkbs sample evidence with the same binding, so that everything but the hardware's signature is checked."""
import base64
import http.client
import http.server
import json
import ssl
import threading


class RcarProxy:
    def __init__(self, port, translate=False, tls=None):
        self.port_behind, self.translate = port, translate
        self.requests = []      # (method, path, headers, body as sent, status, answer)
        self.connections = 0
        self.answer_instead = {}  # path's last segment -> (status, body), once
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self):
                super().setup()
                outer.connections += 1

            def log_message(self, *args):
                pass

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, answer = outer.forward(self.command, self.path, dict(self.headers), body)
                outer.requests.append((self.command, self.path, dict(self.headers), body, status, answer))
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                        self.send_header(name, value)
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            do_GET = do_POST = do_DELETE = handle_any

        class Quiet(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass  # a client that does not trust this server

        self.server = Quiet(("127.0.0.1", 0), Handler)
        scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True,
                                                     do_handshake_on_connect=False)
            scheme = "https"
        self.port = self.server.server_address[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def forward(self, method, path, headers, body):
        last = path.rsplit("/", 1)[1]
        if last in self.answer_instead:
            status, answer = self.answer_instead.pop(last)
            return status, [], answer
        if self.translate and last in ("auth", "attest"):
            body = self.as_sample(json.loads(body))
        upstream = http.client.HTTPConnection("127.0.0.1", self.port_behind, timeout=30)
        upstream.request(method, path, body, {k: v for k, v in headers.items()
                                              if k.lower() not in ("content-length", "host", "connection")})
        r = upstream.getresponse()
        answer = r.read()
        upstream.close()
        return r.status, r.getheaders(), answer

    @staticmethod
    def report_data(evidence):
        if "attestation_report" in evidence:
            return bytes(evidence["attestation_report"]["report_data"])
        return base64.b64decode(evidence["quote"])[568:632]

    def as_sample(self, doc):
        if "tee" in doc:
            doc["tee"] = "sample"
        else:
            data = self.report_data(doc["tee-evidence"]["primary_evidence"])
            assert len(data) == 64 and data[48:] == bytes(16), data
            doc["tee-evidence"]["primary_evidence"] = {"svn": "1", "report_data": base64.b64encode(data[:48]).decode()}
        return json.dumps(doc).encode()

    def said(self, last):
        """The requests to one path, by its last segment."""
        return [r for r in self.requests if r[1].rsplit("/", 1)[1] == last]

    def sent(self):
        """The evidence documents that were sent, parsed."""
        return [json.loads(r[3]) for r in self.said("attest")]

    def stop(self):
        self.server.shutdown()
        self.server.server_close()
