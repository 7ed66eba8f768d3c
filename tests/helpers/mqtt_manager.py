"""A real broker on a free port, and what a Propeller manager does on it: starts, stops, invocations, and
listening to everything the proplet says."""
import json
import pathlib
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
import uuid

import pytest

from conftest import BIN, Server, free_port, need

TENANT = "9f0c1d52-1111-4aaa-8bbb-000000000001"
CHANNEL = "9f0c1d52-2222-4aaa-8bbb-000000000002"
PROPLET = "5f0d8a3e-0d6e-4b8f-9a39-0f2a8d8e7c01"
KEY = "proplet-secret-Zq8#kk"
MANAGER, MANAGER_KEY = "mgr-entity", "mgr-secret"
PREFIX = f"m/{TENANT}/c/{CHANNEL}/"
PATIENCE = 90  # seconds; a test waits for what happens, never for a time


def paho():
    return pytest.importorskip("paho.mqtt.client", reason="peer not installed: python3-paho-mqtt")


class Broker:
    """mosquitto with two users; may be stopped and started again on its port."""

    def __init__(self, folder, tls=None, extra=""):
        self.program = need("mosquitto")
        self.folder = pathlib.Path(folder)
        self.folder.mkdir()
        self.port = free_port()
        passwords = self.folder / "passwd"
        passwords.write_text("")
        for user, key in ((PROPLET, KEY), (MANAGER, MANAGER_KEY)):
            subprocess.run([need("mosquitto_passwd"), "-b", passwords, user, key], check=True,
                           capture_output=True)
        text = f"listener {self.port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\n"
        text += f"user root\nlog_type none\nmax_queued_messages 0\npersistence true\npersistence_location {self.folder}/\n"
        text += extra
        if tls:
            text += f"cafile {tls.ca}\ncertfile {tls.cert}\nkeyfile {tls.key}\n"
        self.conf = self.folder / "mosquitto.conf"
        self.conf.write_text(text)
        self.tls = tls
        self.server = None
        self.start()

    def start(self):
        self.server = Server([self.program, "-c", self.conf], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.server.proc.poll() is None, "mosquitto ended at once"
            time.sleep(0.02)
        raise AssertionError("mosquitto does not answer")

    def stop(self):
        self.server.stop(signal.SIGTERM)

    @property
    def address(self):
        return f"{'tls' if self.tls else 'tcp'}://localhost:{self.port}"


class Manager:
    """Speaks as the manager does, and keeps every message of the channel in the order of arrival."""

    def __init__(self, broker):
        mqtt = paho()
        self.seen = []          # (topic without prefix, payload, qos, retain, monotonic time)
        self.changed = threading.Condition()
        self.up = threading.Event()
        args = [mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []
        # A session that outlives the broker: what comes while this reconnects is not lost to the tests.
        self.client = mqtt.Client(*args, client_id=MANAGER, clean_session=False)
        self.client.username_pw_set(MANAGER, MANAGER_KEY)
        self.client.max_inflight_messages_set(1000)
        self.client.max_queued_messages_set(0)
        if broker.tls:
            self.client.tls_set(ca_certs=str(broker.tls.ca))
        self.client.on_connect = lambda c, *_: c.subscribe(PREFIX + "#", qos=2)
        self.client.on_subscribe = lambda *_: self.up.set()
        self.client.on_disconnect = lambda *_: self.up.clear()
        self.client.on_message = self._message
        self.client.reconnect_delay_set(1, 2)
        self.client.connect("localhost", broker.port)
        self.client.loop_start()
        assert self.up.wait(PATIENCE)

    def _message(self, _client, _data, msg):
        try:
            payload = json.loads(msg.payload)
        except (ValueError, RecursionError):
            payload = msg.payload
        with self.changed:
            self.seen.append((msg.topic[len(PREFIX):], payload, msg.qos, msg.retain, time.monotonic()))
            self.changed.notify_all()

    def close(self):
        self.client.loop_stop()
        self.client.disconnect()

    def send(self, topic, payload):
        data = payload if isinstance(payload, (bytes, str)) else json.dumps(payload, separators=(",", ":"))
        assert self.up.wait(PATIENCE)
        info = self.client.publish(PREFIX + topic, data, qos=2)
        try:
            info.wait_for_publish()
        except RuntimeError:  # the connection went just now: it is kept, and sent on the next one
            assert info.rc == paho().MQTT_ERR_NO_CONN

    def wait(self, test, what="a message", patience=PATIENCE):
        """The first message for which test(topic, payload) holds."""
        until = time.monotonic() + patience
        with self.changed:
            while True:
                for m in self.seen:
                    if test(m[0], m[1]):
                        return m
                left = until - time.monotonic()
                assert left > 0, f"no {what} came; the last messages: {[m[:2] for m in self.seen[-5:]]}"
                self.changed.wait(left)

    def all(self, topic, test=lambda p: True):
        with self.changed:
            return [m for m in self.seen if m[0] == topic and test(m[1])]

    def results(self, task_id):
        return [m[1] for m in self.all("control/proplet/results", lambda p: p.get("task_id") == task_id)]

    def result(self, task_id):
        return self.wait(lambda t, p: t == "control/proplet/results" and p.get("task_id") == task_id,
                         f"result of {task_id}")[1]

    def start(self, **members):
        """As HEAD's manager writes it; returns the id. A member that is ... is left out."""
        doc = {"id": str(uuid.uuid4()), "name": "add", "state": 0, "cli_args": None, "broadcast": False, "daemon": False,
               "latent": False, "encrypted": False, "proplet_id": PROPLET}
        doc.update(members)
        doc = {k: v for k, v in doc.items() if v is not ...}
        self.send("control/manager/start", doc)
        return doc.get("id")

    def run(self, **members):
        return self.result(self.start(**members))

    def stop(self, task_id, **members):
        doc = {"id": task_id, "broadcast": False, "proplet_id": PROPLET, **members}
        self.send("control/manager/stop", {k: v for k, v in doc.items() if v is not ...})

    def invoke(self, task_id, inputs=(), **members):
        invocation = str(uuid.uuid4())
        self.send("control/manager/invoke", {"broadcast": False, "id": task_id, "inputs": list(inputs),
                                             "invocation_id": invocation, "proplet_id": PROPLET, **members})
        return self.wait(lambda t, p: t == "control/proplet/invoke_results" and p["invocation_id"] == invocation,
                         "answer to an invocation")[1]

    def alive(self):
        """Wait until the proplet is heard, and could be given tasks."""
        self.wait(lambda t, p: t == "control/proplet/alive" and p["proplet_id"] == PROPLET, "heartbeat")


class Proplet(Server):
    """propcvm serve under that broker; its log is read line by line."""

    def __init__(self, box, broker, *args, env=None, name="serve", identity=True, wait=True):
        self.log_path = box / f"{name}.log"
        self.log_file = open(self.log_path, "wb")
        variables = {"PROPLET_TENANT_ID": TENANT, "PROPLET_CHANNEL_ID": CHANNEL, "PROPLET_ENTITY_ID": PROPLET,
                     "PROPLET_API_KEY": KEY, "PROPLET_MQTT_ADDRESS": broker.address} if identity else {}
        super().__init__([BIN / "propcvm", "serve", "--metrics-listen", "127.0.0.1:0", *args],
                         env={**box.env, **variables, **(env or {})}, cwd=box.path, stdin=subprocess.DEVNULL,
                         stdout=subprocess.DEVNULL, stderr=self.log_file)
        self.checked = False
        if wait:
            self.says("Subscribed to topic: .*/control/manager/invoke")

    @property
    def pid(self):
        return self.proc.pid

    def log(self):
        return self.log_path.read_text("utf-8", "replace")

    def says(self, pattern, count=1, patience=PATIENCE):
        """Wait until that many lines match; returns the last match."""
        until = time.monotonic() + patience
        while True:
            found = list(re.finditer(pattern, self.log()))
            if len(found) >= count:
                return found[count - 1]
            assert time.monotonic() < until and self.proc.poll() is None, \
                f"'{pattern}' is not in the log (exit {self.proc.poll()}):\n{self.log()[-4000:]}"
            time.sleep(0.02)

    def get(self, path):
        where = self.says(r"Metrics and health on (http://[\w.:\[\]]+)").group(1)
        with urllib.request.urlopen(where + path, timeout=30) as r:
            return r.read().decode()

    def metric(self, name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics"), re.M)
        assert found, name
        return float(found.group(1))

    def wait_metric(self, name, value, patience=PATIENCE):
        until = time.monotonic() + patience
        while self.metric(name) != value:
            assert time.monotonic() < until, f"{name} is {self.metric(name)}, not {value}"
            time.sleep(0.05)

    def stop(self, sig=signal.SIGTERM, patience=60):
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
            try:
                self.proc.wait(patience)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
                raise AssertionError(f"the service does not end:\n{self.log()[-4000:]}")
        if not self.checked:
            self.checked = True
            self.log_file.close()
            text = self.log()
            assert "Sanitizer" not in text and "runtime error:" not in text, text[-6000:]
        return self.proc.returncode


class Tls:
    """A CA and a certificate for this host, made here."""

    def __init__(self, folder, names="DNS:localhost,IP:127.0.0.1"):
        openssl = need("openssl")
        f = pathlib.Path(folder)
        f.mkdir()
        self.ca, self.cert, self.key = f / "ca.pem", f / "cert.pem", f / "key.pem"

        def run(*args):
            subprocess.run([openssl, *map(str, args)], check=True, capture_output=True)
        new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        run("req", "-x509", *new, "-keyout", f / "ca.key", "-out", self.ca, "-days", 2, "-subj", "/CN=test CA")
        run("req", *new, "-keyout", self.key, "-out", f / "req.pem", "-subj", "/CN=localhost")
        (f / "ext").write_text(f"subjectAltName={names}\n")
        run("x509", "-req", "-in", f / "req.pem", "-CA", self.ca, "-CAkey", f / "ca.key", "-CAcreateserial", "-days", 2,
            "-out", self.cert, "-extfile", f / "ext")
