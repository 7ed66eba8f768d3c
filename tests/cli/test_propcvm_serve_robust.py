"""propcvm serve when things go wrong around it: the broker, floods, damaged messages, the end."""
import base64
import json
import os
import re
import signal
import socket
import threading
import time
import uuid

import pytest

from conftest import ROOT, free_port
from helpers.mqtt_manager import KEY, PREFIX, PROPLET, Broker, Manager, Proplet, Tls
from test_propcvm_serve import MODULES, PATH, RESULT, Farm, broker, farm, file, stopped  # noqa: F401 (fixtures)


def run_file(m, module="add.wasm", **members):
    return m.run(**{"file": file(module), "inputs": ["1", "2"], **members})


@pytest.fixture
def small(box, broker):  # noqa: F811
    """A broker, a manager, and proplets for tasks in the clear: small(*args) starts one."""
    m = Manager(broker)
    started = []

    def start(*args, **kw):
        p = Proplet(box, kw.pop("broker", broker), *args, name=f"serve{len(started)}", **kw)
        started.append(p)
        return p
    start.box, start.broker, start.manager = box, broker, m
    yield start
    m.close()
    for p in started:
        p.stop()


# --- the broker ---------------------------------------------------------------------------------------

def test_a_broker_that_is_restarted(farm):  # noqa: F811
    p = farm.serve()
    m = farm.manager
    assert farm.run()["results"] == "30\n"
    task = farm.start("loop.wasm")
    done = farm.start(cli_args=["--invoke", "add"])
    m.result(done)
    p.wait_metric("proplet_tasks_running", 1)
    farm.broker.stop()
    p.says("No connection to the MQTT broker")
    # what ends meanwhile is told afterwards
    p.wait_metric("proplet_broker_connected", 0)
    m.up.clear()
    farm.broker.start()
    p.says("Subscribed to topic: .*/invoke", 2)
    assert m.up.wait(60)
    p.says("Published discovery message", 2)
    m.stop(task)
    assert m.result(task)["error"] == stopped(task)
    assert farm.run()["results"] == "30\n"


def test_what_the_broker_kept(small):
    """A retained start is somebody's from another time; taken, it would run after each reconnect."""
    m = small.manager
    start = {"id": "kept", "name": "add", "file": file("add.wasm"), "inputs": ["1", "2"]}
    m.client.publish(PREFIX + "control/manager/start", json.dumps(start), qos=2, retain=True).wait_for_publish()
    p = small()
    p.says("Refused an MQTT message: the broker had kept it from earlier")
    assert run_file(m)["results"] == "3\n"
    assert m.results("kept") == []
    m.client.publish(PREFIX + "control/manager/start", b"", qos=2, retain=True).wait_for_publish()


def test_two_of_one_name(small):
    """They throw each other out, more and more rarely, and say what it may be."""
    one = small()
    two = small()
    one.says(f"is another client connected as '{PROPLET}'")
    two.says(f"is another client connected as '{PROPLET}'")
    assert two.stop() == 0
    one.says("Subscribed to topic: .*/invoke", len(re.findall("Subscribed to topic: .*/invoke", one.log())))
    assert run_file(small.manager)["results"] == "3\n"


def test_stop_and_start_of_one_id(small):
    """However they fall: each start is answered, or was a duplicate of one that was; nothing stays."""
    p = small()
    m = small.manager
    m.alive()
    task = str(uuid.uuid4())
    body = {"name": "_start", "file": file("loop.wasm")}
    for _ in range(60):
        m.start(id=task, **body)
        m.stop(task)
    m.stop(task)
    p.wait_metric("proplet_tasks_waiting", 0)
    p.wait_metric("proplet_tasks_running", 0)
    p.wait_metric("proplet_results_held", 0)
    started = p.metric("proplet_tasks_started_total")
    assert started + p.metric("proplet_starts_dropped_total") == 60
    m.wait(lambda *_: len(m.results(task)) == started, "a result for each")
    assert {r["error"] for r in m.results(task)} == {stopped(task)}
    assert run_file(m)["results"] == "3\n"


def test_results_outlive_an_outage(small):
    p = small("--timeout", "3s")
    m = small.manager
    m.alive()
    tasks = [m.start(name="_start", file=file("loop.wasm")) for _ in range(3)]
    p.says("Executing task", 3)
    small.broker.stop()
    p.wait_metric("proplet_results_held", 3)
    small.broker.start()
    for task in tasks:
        assert "ran longer than" in m.result(task)["error"]
    p.wait_metric("proplet_results_held", 0)
    assert all(len(m.results(t)) == 1 for t in tasks)


def test_a_broker_that_comes_late(small):
    small.broker.stop()
    p = small(wait=False)
    p.says("No connection to the MQTT broker: cannot connect: .*; trying again in", 2)
    small.broker.start()
    p.says("Subscribed to topic: .*/invoke")
    assert small.manager.up.wait(60)
    assert run_file(small.manager)["results"] == "3\n"


def test_a_key_the_broker_does_not_know(small):
    p = small(env={"PROPLET_API_KEY": "wrong-key-entirely"}, wait=False)
    p.says("No connection to the MQTT broker: the broker says: ")
    assert p.proc.poll() is None and "wrong-key-entirely" not in p.log()


def test_tls_to_the_broker(box, tmp_path):
    tls = Tls(tmp_path / "tls")
    b = Broker(tmp_path / "tlsbroker", tls=tls)
    m = Manager(b)
    good = Proplet(box, b, env={"PROPLET_MQTT_TLS_CA_CERT": str(tls.ca)}, name="good")
    m.alive()
    good.says(r"MQTT client created \(TLS: true\)")
    assert run_file(m)["results"] == "3\n"
    assert good.stop() == 0
    # nobody knows that CA; a flag for skipping the check changes nothing
    bad = Proplet(box, b, env={"PROPLET_MQTT_TLS_INSECURE_SKIP_VERIFY": "true"}, name="bad", wait=False)
    bad.says("PROPLET_MQTT_TLS_INSECURE_SKIP_VERIFY has no effect")
    bad.says("No connection to the MQTT broker")
    assert "Connected to the MQTT broker" not in bad.log()
    bad.stop()
    m.close()
    b.stop()


def test_one_message_over_the_limit(small):
    """It is refused, with a line that says so; the connection comes back, and memory does not grow with it."""
    p = small("--mqtt-max-packet", "200000")
    m = small.manager
    m.alive()
    before = p.metric("proplet_memory_rss_bytes")
    m.start(file="A" * 190000)
    p.wait_metric("proplet_tasks_failed_total", 1)
    small.manager.send("control/manager/start", b'{"id":"big","name":"x","file":"' + b"A" * 210000 + b'"}')
    p.says("Refused an MQTT message: a message of [0-9]+ bytes is over the limit of 200000")
    small.manager.send("control/manager/start", b'{"id":"huge","name":"x","file":"' + b"A" * 60000000 + b'"}')
    p.says("Refused an MQTT message: a packet of more than 200000 bytes was on its way")
    p.says("Subscribed to topic: .*/invoke", 2)
    assert run_file(m)["results"] == "3\n"
    assert p.metric("proplet_memory_rss_bytes") < before + (64 << 20)
    assert m.results("big") == m.results("huge") == []


def test_a_result_the_broker_does_not_take(box, tmp_path):
    """It closes the connection over it; something shorter goes in its place, and the rest goes on."""
    b = Broker(tmp_path / "strict", extra="message_size_limit 150000\n")
    m = Manager(b)
    p = Proplet(box, b, "--max-output", "1M")
    m.alive()
    p2 = run_file(m)
    assert p2["results"] == "3\n"
    r = run_file(m, "greet.wasm", name="greet", inputs=["x" * 100000])
    if r["error"] is None:
        assert len(r["results"]) >= 100000
    assert run_file(m)["results"] == "3\n"
    p.stop()
    m.close()
    b.stop()


# --- many ---------------------------------------------------------------------------------------------

def test_a_hundred_tasks_at_once(farm):  # noqa: F811
    p = farm.serve()
    image = farm.image("add.wasm")
    tasks = {farm.start(image_url=image, inputs=[i, 1000]): i for i in range(100)}
    for task, i in tasks.items():
        assert farm.manager.result(task) == {"task_id": task, "proplet_id": PROPLET, "results": f"{i + 1000}\n", "error": None}
    assert len(farm.manager.all("control/proplet/results")) == 100
    assert p.metric("proplet_layer_pulls_total") == 1 and p.metric("proplet_compilations_total") == 1
    assert p.metric("proplet_program_cache_hits_total") == 99
    beats = [x[4] for x in farm.manager.all("control/proplet/alive")]
    assert all(b - a < 10 for a, b in zip(beats, beats[1:]))


def test_a_flood_beyond_the_limit(small):
    p = small("--max-tasks", "2", "--max-queue", "5", "--timeout", "60s")
    m = small.manager
    m.alive()
    tasks = [m.start(name="_start", file=file("loop.wasm")) for _ in range(60)]
    p.says("is refused: too many tasks are waiting already", 50)
    p.wait_metric("proplet_tasks_running", 2)
    for task in tasks:
        m.stop(task)
    answers = [m.result(task) for task in tasks]
    refused = [r for r in answers if r["error"] == "too many tasks are waiting already"]
    others = [r for r in answers if r["error"] == stopped(r["task_id"])]
    assert len(refused) + len(others) == 60 and 50 <= len(refused) <= 55
    assert all(len(m.results(t)) == 1 for t in tasks)
    p.wait_metric("proplet_tasks_running", 0)
    assert run_file(m)["results"] == "3\n"


def test_every_byte_of_a_start_flipped(small):
    """Whatever it says then: one answer for an id that can be read, and the next task runs."""
    p = small("--max-queue", "2000", "--timeout", "5s", "--result-hold", "0")
    m = small.manager
    m.alive()
    doc = {"id": "", "name": "add", "state": 0, "file": file("add.wasm"), "inputs": ["10", "20"], "cli_args": [],
           "broadcast": False, "daemon": False, "latent": False, "env": {"A": "1"}, "encrypted": False,
           "proplet_id": PROPLET}
    size = len(json.dumps(doc, separators=(",", ":")))
    expected = []
    for at in range(size + 36):
        doc["id"] = str(uuid.uuid4())
        text = bytearray(json.dumps(doc, separators=(",", ":")).encode())
        text[at] ^= 1 << (at % 7)
        m.send("control/manager/start", bytes(text))
        whole = bytes(text)
        if whole.startswith(b'{"id":"' + doc["id"].encode() + b'"') and b'"proplet_id":"' + PROPLET.encode() + b'"}' in whole:
            expected.append(doc["id"])
    assert len(expected) > 300
    for task in expected:
        assert set(m.result(task)) == RESULT
    assert run_file(m, inputs=["1", "2"])["results"] == "3\n"
    assert p.proc.poll() is None
    counts = {}
    for x in m.all("control/proplet/results"):
        counts[x[1]["task_id"]] = counts.get(x[1]["task_id"], 0) + 1
    assert set(counts.values()) == {1}


def test_messages_that_are_no_starts(small):
    p = small()
    m = small.manager
    m.alive()
    for text in (b"", b"null", b"[]", b"{}", b"\0" * 100, b"\xff\xfe", b'{"id":7}', b'{"id":""}', b"[" * 100000,
                 b'{"id":"' + b"x" * 300 + b'"}', b'{"id":"a","id":"b"}'[:11], b'{"a":' * 5000):
        m.send("control/manager/start", text)
        m.send("control/manager/stop", text)
        m.send("control/manager/invoke", text)
    assert m.run(id="cut", name="x", file="A")["error"]
    m.send("control/manager/start", b'{"id":"half","name":"x","fi')
    assert m.result("half")["error"]
    m.send("control/manager/start", b'{"id":"nobody\'s","name":"x","proplet_id":"other","fi')
    assert run_file(m)["results"] == "3\n"
    assert m.results("nobody's") == [] and p.proc.poll() is None


# --- the end ------------------------------------------------------------------------------------------

def test_a_graceful_end(small):
    p = small("--max-tasks", "1", "--timeout", "3s", "--drain-timeout", "60s")
    m = small.manager
    m.alive()
    running = m.start(name="_start", file=file("loop.wasm"))
    p.wait_metric("proplet_tasks_running", 1)
    latent = m.start(latent=True, file=file("add.wasm"))
    p.says("precompiled and ready")
    p.proc.send_signal(signal.SIGTERM)
    p.says("Shutting down")
    assert json.loads(p.get("/health"))["status"] == "draining"
    late = m.start(file=file("add.wasm"), inputs=["1", "2"])
    assert "shutting down" in m.result(late)["error"] and "shutting down" in m.result(latent)["error"]
    assert "ran longer than" in m.result(running)["error"]  # it had its time
    assert p.proc.wait(60) == 0
    assert "Proplet stopped" in p.log()


def test_an_end_that_does_not_wait(small):
    p = small("--drain-timeout", "1s")
    m = small.manager
    m.alive()
    task = m.start(name="_start", file=file("loop.wasm"))
    p.wait_metric("proplet_tasks_running", 1)
    p.proc.send_signal(signal.SIGTERM)
    assert "shutting down" in m.result(task)["error"]
    assert p.proc.wait(60) == 0


def test_a_second_signal(small):
    p = small("--drain-timeout", "10m")
    m = small.manager
    m.alive()
    task = m.start(name="_start", file=file("loop.wasm"))
    p.wait_metric("proplet_tasks_running", 1)
    p.proc.send_signal(signal.SIGHUP)
    p.proc.send_signal(signal.SIGTERM)
    p.says("Shutting down")
    p.proc.send_signal(signal.SIGTERM)
    assert "shutting down" in m.result(task)["error"]
    assert p.proc.wait(60) == 0


def test_nothing_is_left_when_it_is_killed(small):
    p = small()
    m = small.manager
    m.alive()
    m.start(name="_start", file=file("loop.wasm"))
    p.wait_metric("proplet_tasks_running", 1)
    children = descendants(p.pid)
    assert children
    p.proc.kill()
    p.proc.wait()
    until = time.monotonic() + 60
    while any(os.path.exists(f"/proc/{c}") and "Z" not in state(c) for c in children):
        assert time.monotonic() < until, children
        time.sleep(0.05)


def state(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "Z"


def descendants(pid):
    parents = {}
    for d in os.listdir("/proc"):
        if d.isdigit():
            try:
                parents[int(d)] = int(open(f"/proc/{d}/stat").read().rsplit(")", 1)[1].split()[1])
            except (OSError, IndexError):
                pass
    found, more = set(), {pid}
    while more:
        more = {c for c, p in parents.items() if p in more} - found
        found |= more
    return found


# --- systemd ------------------------------------------------------------------------------------------

def test_systemd_is_told(small, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(path)
        s.settimeout(60)
        p = small(env={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "600000"})
        texts = [s.recv(4096).decode() for _ in range(4)]
        assert any(t.startswith("READY=1\nSTATUS=") for t in texts[:2]) and texts.count("WATCHDOG=1") >= 2
        p.proc.send_signal(signal.SIGTERM)
        while not s.recv(4096).startswith(b"STOPPING=1"):
            pass
        assert p.proc.wait(60) == 0


# --- secrets ------------------------------------------------------------------------------------------

def test_no_secret_anywhere(farm):  # noqa: F811
    """Neither the broker's key, the KEK nor the module is in logs, files, arguments or environments."""
    marker = b"needle-in-the-haystack"
    module = farm.box / "m.wasm"
    custom = b"\x01n" + marker
    module.write_bytes((MODULES / "loop.wasm").read_bytes() + b"\0" + bytes([len(custom)]) + custom)
    image = farm.image(str(module), name="marked")
    module.unlink()
    p = farm.serve("--log-level", "debug", "--log-format", "json")
    assert farm.run()["results"] == "30\n"
    task = farm.start(image_url=image, cli_args=[])
    p.wait_metric("proplet_tasks_running", 1)
    secret = farm.kek.read_bytes()
    forms = [KEY.encode(), secret, secret.hex().encode(), base64.b64encode(secret), marker]
    for pid in {p.pid} | descendants(p.pid):
        for name in ("environ", "cmdline"):
            try:
                text = open(f"/proc/{pid}/{name}", "rb").read()
            except OSError:
                continue
            assert not any(f in text for f in forms), (pid, name)
    farm.manager.stop(task)
    farm.manager.result(task)
    p.stop()
    for form in forms:
        assert form not in p.log_path.read_bytes()
    for line in p.log().splitlines():
        doc = json.loads(line)
        assert set(doc) == {"timestamp", "level", "fields", "target"} and doc["fields"]["message"]
    assert list((farm.box / "tmp").iterdir()) == []
    for path in farm.box.path.rglob("*"):
        if path.is_file() and "registry" not in path.parts and path != farm.kek and "kbs" not in path.parts[-2]:
            assert marker not in path.read_bytes(), path
