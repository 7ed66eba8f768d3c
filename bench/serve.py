#!/usr/bin/env python3
"""propcvm serve under mosquitto, docker-registry and propkbs, all on this machine.

usage: bench/serve.py BIN-DIR        prints one JSON document:
  ready_ms_p50, ready_ms_p95   start message -> result ready (before it is held back), warm session, cached image
  round_trip_ms_p50            the same as the manager sees it, with --result-hold 0
  encrypted_add_per_second     300 encrypted `add` tasks sent at once, until the last result
  idle_rss_mib                 of the service with its connections and of its fork server, before the first task
  plain_ms_p50, plain_by       the same module by itself, in the same run: a `wasmtime` on PATH, else `propcvm run`
                               (a process of its own, which starts the engine, compiles and runs)
  ready_to_plain               ready_ms_p50 / plain_ms_p50
"""
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

try:
    import paho.mqtt.client as mqtt
except ImportError:  # the distribution's package belongs to the distribution's Python
    if sys.executable == "/usr/bin/python3":
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

ROOT = pathlib.Path(__file__).resolve().parent.parent
PATH = "default/key/bench"
PREFIX = "m/t/c/c/"
ROUNDS, MANY = 200, 300


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port):
    for _ in range(1000):
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise SystemExit("a server does not come up")


class Bench:
    def __init__(self, bin_dir, box):
        self.bin, self.box, self.procs = pathlib.Path(bin_dir).resolve(), pathlib.Path(box), []
        self.env = {"PATH": f"{self.bin}:{os.environ['PATH']}", "HOME": str(box), "LANG": "C.UTF-8"}

    def spawn(self, *argv, **kw):
        kw = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **kw}
        p = subprocess.Popen([str(a) for a in argv], env={**self.env, **kw.pop("env", {})}, cwd=self.box, **kw)
        self.procs.append(p)
        return p

    def run(self, *argv):
        subprocess.run([str(a) for a in argv], check=True, env=self.env, cwd=self.box, stdout=subprocess.DEVNULL)

    def servers(self):
        self.mqtt_port, self.registry_port = free_port(), free_port()
        (self.box / "m.conf").write_text(f"listener {self.mqtt_port} 127.0.0.1\nallow_anonymous true\nlog_type none\n"
                                         "max_queued_messages 0\nmax_inflight_messages 0\nset_tcp_nodelay true\n")
        self.spawn("mosquitto", "-c", "m.conf")
        (self.box / "r.yml").write_text(
            f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\nstorage: {{filesystem: {{rootdirectory: "
            f"{self.box}/reg}}}}\nhttp: {{addr: \"127.0.0.1:{self.registry_port}\"}}\n")
        self.spawn("docker-registry", "serve", "r.yml")
        kbs = self.spawn("propkbs", "serve", "--listen", "127.0.0.1:0", "--state", "kbs", stdout=subprocess.PIPE)
        self.kbs = kbs.stdout.readline().decode().split()[-1]
        wait_port(self.mqtt_port)
        wait_port(self.registry_port)

    def publish(self):
        (self.box / "kek").write_bytes(os.urandom(32))
        (self.box / "kek").chmod(0o600)
        self.image = f"127.0.0.1:{self.registry_port}/bench/add:encrypted"
        self.run("propenc", "encrypt", ROOT / "examples/modules/add.wasm", f"docker://{self.image}", "-r",
                 f"provider:attestation-agent:keypath=kek::keyid=kbs:///{PATH}::algorithm=A256GCM")
        admin = ("--kbs", self.kbs, "--admin-key", "kbs/admin.key")
        self.run("propkey", "set", PATH, "kek", *admin)
        self.run("propkey", "policy", "preset", "allow-all", *admin)

    def serve(self):
        self.log = self.box / "serve.log"
        self.service = self.spawn(
            "propcvm", "serve", "--kbs", self.kbs, "--tee", "sample", "--result-hold", "0", "--metrics-listen", "127.0.0.1:0",
            "--mqtt-inflight", "100", env={
                "PROPLET_TENANT_ID": "t", "PROPLET_CHANNEL_ID": "c", "PROPLET_ENTITY_ID": "p", "PROPLET_API_KEY": "k",
                "PROPLET_MQTT_ADDRESS": f"tcp://127.0.0.1:{self.mqtt_port}"}, stderr=open(self.log, "wb"))
        while not re.search(r"Subscribed to topic: \S+/invoke", self.log.read_text()):
            if self.service.poll() is not None:
                raise SystemExit(self.log.read_text())
            time.sleep(0.02)
        self.where = re.search(r"Metrics and health on (\S+)", self.log.read_text()).group(1)

    def metrics(self):
        with urllib.request.urlopen(self.where + "/metrics") as r:
            return dict(line.rsplit(" ", 1) for line in r.read().decode().splitlines() if not line.startswith("#"))

    def rss(self):
        """Of the service and of the processes below it, in MiB."""
        pids = [str(self.service.pid)]
        for pid in pids:
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                pids += task.read_text().split()
        sizes = [re.search(r"^VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{p}/status").read_text(), re.M) for p in pids]
        return sum(int(m.group(1)) for m in sizes if m) / 1024

    def plain(self):
        """Milliseconds of one run of the module without any of this, and by what."""
        module, times = ROOT / "examples/modules/add.wasm", []
        by = "wasmtime" if shutil.which("wasmtime") else "propcvm run"
        argv = ["wasmtime", "--invoke", "add", module, "10", "20"] if by == "wasmtime" else \
            ["propcvm", "run", "--allow-plain", module, "--invoke", "add", "--", "10", "20"]
        for _ in range(30):
            begun = time.monotonic()
            out = subprocess.run([str(a) for a in argv], env=self.env, check=True, stdout=subprocess.PIPE,
                                 stderr=subprocess.DEVNULL).stdout
            times.append(time.monotonic() - begun)
            assert out == b"30\n", out
        return statistics.median(times) * 1000, by

    def span(self, before, after, name):
        count = float(after[f"{name}_count"]) - float(before[f"{name}_count"])
        return count, (float(after[f"{name}_sum"]) - float(before[f"{name}_sum"])) / count * 1000

    def percentile(self, before, after, name, part):
        """From the histogram: a line through the bucket that the part falls into."""
        edges = [(float(m.group(1)), float(after[k]) - float(before[k])) for k in after
                 for m in [re.fullmatch(rf'{name}_bucket{{le="([\d.e+-]+)"}}', k)] if m]
        total = float(after[f"{name}_count"]) - float(before[f"{name}_count"])
        low, below = 0.0, 0.0
        for high, upto in sorted(edges):
            if upto >= part * total:
                return (low + (high - low) * (part * total - below) / max(upto - below, 1)) * 1000
            low, below = high, upto
        return low * 1000


class Manager:
    def __init__(self, port):
        self.got, self.cond = {}, threading.Condition()
        args = [mqtt.CallbackAPIVersion.VERSION1] if hasattr(mqtt, "CallbackAPIVersion") else []
        self.c = mqtt.Client(*args, client_id="m", clean_session=True)
        self.c.max_inflight_messages_set(1000)
        self.c.max_queued_messages_set(0)
        up = threading.Event()
        self.c.on_subscribe = lambda *_: up.set()
        self.c.on_connect = lambda c, *_: c.subscribe(PREFIX + "control/proplet/results", qos=2)
        self.c.on_message = self.message
        self.c.connect("127.0.0.1", port)
        self.c.loop_start()
        up.wait(30)

    def message(self, _c, _d, msg):
        doc = json.loads(msg.payload)
        with self.cond:
            self.got[doc["task_id"]] = (time.monotonic(), doc)
            self.cond.notify_all()

    def start(self, image, task):
        self.c.publish(PREFIX + "control/manager/start", json.dumps({
            "id": task, "name": "add", "image_url": image, "encrypted": True, "kbs_resource_path": PATH,
            "cli_args": ["--invoke", "add"], "inputs": ["10", "20"], "proplet_id": "p"}), qos=2)

    def result(self, task):
        with self.cond:
            assert self.cond.wait_for(lambda: task in self.got, 120), task
        when, doc = self.got[task]
        assert doc["results"] == "30\n", doc
        return when


def main():
    bench = Bench(sys.argv[1], tempfile.mkdtemp(prefix="prop-bench-"))
    try:
        bench.servers()
        bench.publish()
        bench.serve()
        manager = Manager(bench.mqtt_port)
        idle = bench.rss()
        for i in range(5):
            manager.start(bench.image, f"warm{i}")
            manager.result(f"warm{i}")
        before, trips = bench.metrics(), []
        for i in range(ROUNDS):
            begun = time.monotonic()
            manager.start(bench.image, f"one{i}")
            trips.append(manager.result(f"one{i}") - begun)
        after = bench.metrics()
        begun = time.monotonic()
        for i in range(MANY):
            manager.start(bench.image, f"many{i}")
        last = max(manager.result(f"many{i}") for i in range(MANY))
        name = "proplet_task_ready_seconds"
        plain, by = bench.plain()
        _, prepare = bench.span(before, after, "proplet_task_prepare_seconds")
        _, run = bench.span(before, after, "proplet_task_run_seconds")
        _, ready = bench.span(before, after, name)
        print(json.dumps({
            "ready_ms_p50": round(bench.percentile(before, after, name, 0.5), 2),
            "ready_ms_p95": round(bench.percentile(before, after, name, 0.95), 2),
            "ready_ms_mean": round(ready, 2), "prepare_ms_mean": round(prepare, 2), "run_ms_mean": round(run, 2),
            "round_trip_ms_p50": round(statistics.median(trips) * 1000, 2),
            "encrypted_add_per_second": round(MANY / (last - begun), 1),
            "idle_rss_mib": round(idle, 1), "plain_ms_p50": round(plain, 2), "plain_by": by,
            "ready_to_plain": round(bench.percentile(before, after, name, 0.5) / plain, 2),
            "load": os.getloadavg()[0], "cpus": os.cpu_count()}))
    finally:
        for p in bench.procs:
            p.terminate()
        for p in bench.procs:
            p.wait()
        shutil.rmtree(bench.box, ignore_errors=True)


if __name__ == "__main__":
    main()
