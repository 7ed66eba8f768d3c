"""propcvm serve under a broker: what a manager sends, and what it gets back."""
import base64
import hashlib
import json
import os
import re
import signal
import socket
import time
import uuid

import pytest

from conftest import ROOT, free_port
from helpers.fault_server import FaultServer, status
from helpers.mqtt_manager import KEY, PROPLET, Broker, Manager, Proplet, Tls

MODULES = ROOT / "examples" / "modules"
PATH = "default/key/addition"
ALLOW = ('package policy\nimport rego.v1\ndefault allow := false\n'
         'allow if not data["resource-path"][2] in {"secret"}\n')
RESULT = {"task_id", "proplet_id", "results", "error"}


class Farm:
    """Broker, manager, registry and key broker, with one KEK for everything."""

    def __init__(self, box, kbs, registry, broker, manager):
        self.box, self.kbs, self.registry, self.broker, self.manager = box, kbs, registry, broker, manager
        self.kek = box / "kek"
        self.kek.write_bytes(os.urandom(32))
        self.kek.chmod(0o600)
        (box / "tmp").mkdir()
        box.env["TMPDIR"] = str(box / "tmp")
        self.admin = ("--kbs", kbs.url, "--admin-key", kbs.admin_key)
        box.run("propkey", "set", PATH, self.kek, *self.admin)
        (box / "allow.rego").write_text(ALLOW)
        box.run("propkey", "policy", "set", "allow.rego", "--allow-wider", *self.admin)
        self.proplets = []
        self.images = set()

    def image(self, module, path=PATH, key=None, name=None):
        """Push it encrypted, once; the reference."""
        name = name or module.split("/")[-1].rsplit(".", 1)[0]
        ref = f"{self.registry.host}/team/{name}:encrypted"
        if ref not in self.images:
            source = module if os.sep in str(module) else MODULES / module
            self.box.run("propenc", "encrypt", source, f"docker://{ref}", "-r",
                         f"provider:attestation-agent:keypath={key or self.kek}::keyid=kbs:///{path}::algorithm=A256GCM")
            self.images.add(ref)
        return ref

    def plain(self, module):
        name = module.rsplit(".", 1)[0]
        ref = f"{self.registry.host}/team/{name}:plain"
        if ref not in self.images:
            self.box.run("proppush", "push", MODULES / module, f"docker://{ref}")
            self.images.add(ref)
        return ref

    def serve(self, *args, kbs=True, **kw):
        keys = ("--kbs", self.kbs.url, "--tee", "sample") if kbs else ()
        p = Proplet(self.box, self.broker, *keys, *args, name=f"serve{len(self.proplets)}", **kw)
        self.proplets.append(p)
        if kw.get("wait", True):
            self.manager.alive()
        return p

    def start(self, module="add.wasm", **members):
        """An encrypted task as the manager sends it."""
        doc = {"image_url": self.image(module), "encrypted": True, "kbs_resource_path": PATH}
        if module == "add.wasm":
            doc.update(inputs=["10", "20"], cli_args=["--invoke", "add"])
        doc.update(members)
        return self.manager.start(**doc)

    def run(self, module="add.wasm", **members):
        return self.manager.result(self.start(module, **members))

    def refused(self, *words, **members):
        r = self.run(**members)
        assert set(r) == RESULT and r["results"] == "" and r["proplet_id"] == PROPLET
        for word in words:
            assert word in r["error"], r
        return r["error"]


@pytest.fixture
def broker(tmp_path):
    b = Broker(tmp_path / "broker")
    yield b
    b.stop()


@pytest.fixture
def farm(box, kbs, registry, broker):
    m = Manager(broker)
    f = Farm(box, kbs, registry, broker, m)
    yield f
    m.close()
    for p in f.proplets:
        p.stop()


def file(module):
    return base64.b64encode((MODULES / module).read_bytes()).decode()


# --- what works ---------------------------------------------------------------------------------------

def test_an_encrypted_task(farm):
    p = farm.serve()
    assert farm.run() == {"task_id": farm.manager.seen[-1][1]["task_id"], "proplet_id": PROPLET, "results": "30\n",
                          "error": None}
    # numbers as the older manager sends them, and values of every kind
    assert farm.run(inputs=[1, 2])["results"] == "3\n"
    assert farm.run(cli_args=["--invoke", "mean"], inputs=[1, "2"])["results"] == "1.5\n"
    # the version of the image can be pinned
    index = farm.box.run("proppush", "inspect", "--json", f"docker://{farm.image('add.wasm')}").json()
    pinned = f"{farm.image('add.wasm').rsplit(':', 1)[0]}@{index['digest']}"
    assert farm.run(image_url=pinned)["results"] == "30\n"
    wrong = pinned[:-4] + ("0000" if pinned[-4:] != "0000" else "1111")
    assert "Failed to pull manifest" in farm.run(image_url=wrong)["error"]
    # the layer was pulled once, the module compiled once
    assert p.metric("proplet_layer_pulls_total") == 1
    assert p.metric("proplet_tasks_completed_total") == 4


def test_what_the_manager_hears_first(farm):
    farm.serve("--tags", "tee,test", "--location", "here")
    m = farm.manager
    topic, doc, qos, retain, _ = m.wait(lambda t, p: t == "control/proplet/create")
    assert doc["proplet_id"] == PROPLET and doc["namespace"] == "default" and (qos, retain) == (2, False)
    meta = doc["metadata"]
    assert meta["tags"] == ["tee", "test"] and meta["location"] == "here" and meta["os"] == "linux"
    assert meta["wasm_runtime"] == "wasmtime-internal" and meta["total_memory_bytes"] > 1 << 20
    _, doc, qos, retain, first = m.wait(lambda t, p: t == "control/proplet/alive")
    assert doc == {"proplet_id": PROPLET, "status": "alive", "namespace": "default"} and (qos, retain) == (2, False)
    m.wait(lambda t, p: t == "control/proplet/alive" and len(m.all(t)) >= 3, "third heartbeat")
    beats = [x[4] for x in m.all("control/proplet/alive")]
    assert all(b - a < 10 for a, b in zip(beats, beats[1:])) and [x[0] for x in m.seen][0] == topic


def test_results_are_held_back(farm):
    p = farm.serve("--result-hold", "700ms")
    farm.run()
    sent = time.monotonic()
    task = farm.start()
    assert farm.manager.result(task)
    assert farm.manager.results(task) and time.monotonic() - sent >= 0.7
    # it was ready long before
    assert "proplet_task_ready_seconds_count 2" in p.get("/metrics")


def test_tasks_in_the_clear(farm):
    farm.serve()
    m = farm.manager
    assert m.run(file=file("add.wasm"), inputs=[10, 20])["results"] == "30\n"  # by its name
    assert m.run(name="x", cli_args=["--invoke", "add"], file=file("add.wasm"), inputs=["1", "2"])["results"] == "3\n"
    assert m.run(image_url=farm.plain("add.wasm"), inputs=["1", "2"])["results"] == "3\n"
    # a command, whatever the task is called
    assert m.run(name="count", file=file("wc.wasm"))["results"].split()[:1] == ["0"]
    r = m.run(name="sub", file=file("add.wasm"), inputs=["1", "2"])
    assert "sub" in r["error"] and r["results"] == ""
    assert "registry" in m.run(image_url="http://127.0.0.1:1/x.wasm")["error"]
    (farm.box / "x.wasm").write_bytes((MODULES / "add.wasm").read_bytes())
    for local in (str(farm.box / "x.wasm"), "oci:img:v1", "./x.wasm", "-"):
        assert "Failed to parse image reference" in m.run(image_url=local)["error"]


def test_encrypted_only(farm):
    farm.serve("--encrypted-only")
    r = farm.manager.run(file=file("add.wasm"), inputs=["1", "2"])
    assert r["error"] == "only encrypted workloads are run here" and r["results"] == ""
    assert farm.run()["results"] == "30\n"


def test_without_a_key_broker(farm):
    farm.serve(kbs=False)
    assert "TEE runtime not available" in farm.run()["error"]
    assert farm.manager.run(file=file("add.wasm"), inputs=["1", "2"])["results"] == "3\n"


def test_the_environment_reaches_the_module(farm):
    (farm.box / "env.wat").write_text(ENV_WAT)
    farm.serve()
    task = {"cli_args": None, "inputs": ...,
            "env": {"A": "1", "MODEL_URI": "http://127.0.0.1:1/m", "DATA_STORE_URL": "http://127.0.0.1:1"}}
    wasm = assemble(farm, ENV_WAT)
    r = farm.manager.run(name="_start", file=base64.b64encode(wasm).decode(), **task)
    seen = set(r["results"].rstrip("\0").split("\0"))
    assert seen == {"A=1", "MODEL_URI=http://127.0.0.1:1/m", "DATA_STORE_URL=http://127.0.0.1:1",
                    f"PROPLET_ID={PROPLET}"}


ENV_WAT = """(module
 (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "environ_get" (func $get (param i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 1)
 (func (export "_start")
  (drop (call $sizes (i32.const 0) (i32.const 4)))
  (drop (call $get (i32.const 1024) (i32.const 4096)))
  (i32.store (i32.const 16) (i32.const 4096))
  (i32.store (i32.const 20) (i32.load (i32.const 4)))
  (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 24)))))
"""


def assemble(farm, wat):
    """A module from text, by the engine's own assembler where there is no other."""
    import shutil
    tool = shutil.which("wat2wasm")
    if tool is None:
        pytest.skip("peer not installed: wat2wasm")
    (farm.box / "m.wat").write_text(wat)
    farm.box.run(tool, "m.wat", "-o", "m.wasm")
    return (farm.box / "m.wasm").read_bytes()


# --- what fails, and is told --------------------------------------------------------------------------

def test_refusals_have_the_words_people_know(farm):
    farm.serve()
    m = farm.manager
    image = farm.image("add.wasm")
    for error, members in (
            ("name is required", {"name": ""}),
            ("name is required", {"name": ...}),
            ("image_url is required for encrypted workloads", {"encrypted": True}),
            ("encrypted workloads should only use image_url, not file",
             {"encrypted": True, "image_url": image, "file": "AAAA"}),
            ("either file or image_url must be provided", {}),
            ("Failed to parse image reference", {"encrypted": True, "image_url": "bad ref!"}),
            ("Failed to pull manifest", {"encrypted": True, "image_url": f"{farm.registry.host}/team/none:1"}),
            ("cli_args may not hold", {"image_url": image, "encrypted": True, "cli_args": ["--dir", "/"]}),
            ("cli_args may not hold", {"image_url": image, "encrypted": True, "cli_args": ["-S", "inherit-env"]}),
            ("file", {"file": "not base64"}),
            ("inputs", {"file": "AAAA", "inputs": [None]}),
            ("env", {"file": "AAAA", "env": {"A": 1}}),
            ("encrypted", {"file": "AAAA", "encrypted": "yes"})):
        r = m.run(**members)
        assert set(r) == RESULT and error in r["error"], (members, r)
        assert r["results"] == ""
    assert m.run(name="", file="AAAA")["error"] == "name is required"


def test_keys_and_images_that_do_not_fit(farm):
    p = farm.serve()
    (farm.box / "other").write_bytes(os.urandom(32))
    (farm.box / "other").chmod(0o600)
    farm.refused("Failed to pull and decrypt layers", "key", image_url=farm.image("add.wasm", key=farm.box / "other",
                                                                                     name="wrong"))
    denied = farm.image("add.wasm", path="default/key/secret", name="denied")
    farm.box.run("propkey", "set", "default/key/secret", farm.kek, *farm.admin)
    farm.refused("Failed to pull and decrypt layers", "default/key/secret", image_url=denied,
                 kbs_resource_path="default/key/secret")
    # the task names another key than the image
    farm.refused("default/key/addition", "default/key/other", kbs_resource_path="default/key/other")
    # a plain image is not run as an encrypted one, nor the other way round
    farm.refused("not encrypted", image_url=farm.plain("add.wasm"))
    r = farm.manager.run(image_url=farm.image("add.wasm"), inputs=["1", "2"])
    assert "is encrypted, and the task does not say so" in r["error"]
    # what is no module
    (farm.box / "text.wasm").write_text("no module at all\n")
    farm.refused("No WASM file found", image_url=farm.image(str(farm.box / "text.wasm")), cli_args=[])
    assert farm.run()["results"] == "30\n"
    assert p.metric("proplet_tasks_failed_total") >= 5


def tamper(farm, ref):
    """Flip a byte of the layer in the registry's store, and make all digests fit again."""
    name = ref.split("/", 1)[1].rsplit(":", 1)[0]
    farm.box.run("proppush", "copy", f"docker://{ref}", "oci:tampered:v1")
    folder = farm.box / "tampered"
    index = json.loads((folder / "index.json").read_text())
    manifest = json.loads((folder / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text())
    data = bytearray((folder / "blobs/sha256" / manifest["layers"][0]["digest"][7:]).read_bytes())
    data[60] ^= 1

    def put(content):
        digest = hashlib.sha256(content).hexdigest()
        (folder / "blobs/sha256" / digest).write_bytes(content)
        return f"sha256:{digest}", len(content)
    manifest["layers"][0]["digest"], manifest["layers"][0]["size"] = put(bytes(data))
    digest, size = put(json.dumps(manifest).encode())
    index["manifests"][0].update(digest=digest, size=size)
    (folder / "index.json").write_text(json.dumps(index))
    farm.box.run("proppush", "copy", "oci:tampered:v1", f"docker://{farm.registry.host}/{name}:tampered")
    return f"{farm.registry.host}/{name}:tampered"


def test_a_tampered_layer(farm):
    farm.serve()
    assert farm.run()["results"] == "30\n"
    farm.refused("Failed to pull and decrypt layers", image_url=tamper(farm, farm.image("add.wasm")))


def test_a_key_that_was_taken_back(farm):
    """The program is in memory; the key is asked for all the same."""
    farm.serve()
    assert farm.run()["results"] == "30\n"
    farm.box.run("propkey", "policy", "preset", "deny-all", *farm.admin)
    farm.refused("Failed to pull and decrypt layers")
    farm.box.run("propkey", "policy", "set", "allow.rego", "--allow-wider", *farm.admin)
    assert farm.run()["results"] == "30\n"


def test_modules_that_misbehave(farm):
    farm.serve("--timeout", "2s", "--max-output", "64K")
    m = farm.manager
    farm.refused("ran longer than", module="loop.wasm")
    farm.refused("WASM execution failed", "divide by zero", module="trap.wasm", cli_args=["--invoke", "divide"],
                 inputs=["1", "0"])
    farm.refused("memory", module="grow.wasm", cli_args=["--invoke", "grow", "--max-memory", "1M"], inputs=["4000"])
    spam = assemble(farm, '(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32)'
                          ' (result i32))) (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\00\\40\\00'
                          '\\00") (func (export "_start") (loop (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1)'
                          ' (i32.const 8))) (br 0))))')
    assert "wrote more than" in m.run(name="_start", file=base64.b64encode(spam).decode())["error"]
    three = assemble(farm, '(module (import "wasi_snapshot_preview1" "proc_exit" (func $x (param i32)))'
                           ' (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))'
                           ' (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\06\\00\\00\\00")'
                           ' (data (i32.const 16) "sorry\\n") (func (export "_start") (drop (call $w (i32.const 2)'
                           ' (i32.const 0) (i32.const 1) (i32.const 8))) (call $x (i32.const 3))))')
    r = m.run(name="_start", file=base64.b64encode(three).decode())
    assert r["error"] == "Process exited with status: exit status: 3, stderr: sorry"
    (farm.box / "three.wasm").write_bytes(three)
    assert farm.run(module=str(farm.box / "three.wasm"), cli_args=[])["error"] == \
        "WASM execution failed with exit code: Some(3), stderr: sorry"
    panics = assemble(farm, '(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32)'
                            ' (result i32))) (memory (export "memory") 1)'
                            ' (data (i32.const 0) "\\10\\00\\00\\00\\09\\00\\00\\00") (data (i32.const 16) "panicked\\n")'
                            ' (func (export "_start") (drop (call $w (i32.const 2) (i32.const 0) (i32.const 1)'
                            ' (i32.const 8))) unreachable))')
    error = m.run(name="_start", file=base64.b64encode(panics).decode())["error"]
    assert "unreachable" in error and error.endswith(", stderr: panicked")
    assert "sorry" not in farm.proplets[0].log()
    assert farm.run()["results"] == "30\n"


# --- stop, duplicates ---------------------------------------------------------------------------------

def stopped(task):
    return f"Task {task} was stopped before completion"


def test_stop_of_an_endless_module(farm):
    p = farm.serve()
    task = farm.start("loop.wasm")
    p.wait_metric("proplet_tasks_running", 1)
    farm.manager.stop(task)
    assert farm.manager.result(task) == {"task_id": task, "proplet_id": PROPLET, "results": "", "error": stopped(task)}
    p.wait_metric("proplet_tasks_running", 0)
    # a second stop, one of a stranger, one without an id; the same id again
    farm.manager.stop(task)
    farm.manager.stop("nobody")
    farm.manager.send("control/manager/stop", "{}")
    p.says("Task nobody not found")
    farm.start(id=task, state=4)
    farm.manager.wait(lambda t, x: t == "control/proplet/results" and x.get("results") == "30\n")
    assert [r["error"] for r in farm.manager.results(task)] == [stopped(task), None]


def test_stop_of_what_waits(farm):
    p = farm.serve("--max-tasks", "1")
    first = farm.start("loop.wasm")
    p.wait_metric("proplet_tasks_running", 1)
    second = farm.start()
    p.wait_metric("proplet_tasks_waiting", 1)
    farm.manager.stop(second, proplet_id=...)  # as on a manager's shutdown: nobody is named
    assert farm.manager.result(second)["error"] == stopped(second)
    farm.manager.stop(first)
    assert farm.manager.result(first)["error"] == stopped(first)
    assert farm.run()["results"] == "30\n"
    assert len(farm.manager.results(second)) == 1


def test_stop_while_it_is_pulled(farm):
    """A registry that takes the request and never answers holds no answer up."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        farm.serve("--registry-timeout", "5s")
        task = farm.start(image_url=f"127.0.0.1:{s.getsockname()[1]}/team/slow:1")
        s.accept()[0].recv(1)
        farm.manager.stop(task)
        assert farm.manager.result(task)["error"] == stopped(task)
    assert farm.run()["results"] == "30\n"


def test_a_stop_ends_a_transfer_that_hangs(farm):
    """The one preparer is free again: no patience of the registry's client is waited for."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        p = farm.serve("--pull-limit", "1", "--registry-timeout", "1h")
        silent = f"127.0.0.1:{s.getsockname()[1]}/team/slow:1"
        task = farm.start(image_url=silent)
        one = s.accept()[0]
        one.recv(1)
        waits = farm.start()
        p.wait_metric("proplet_tasks_waiting", 2)
        farm.manager.stop(task)
        assert farm.manager.result(waits)["results"] == "30\n"
        # nor is it on the way out
        task = farm.start(image_url=silent)
        two = s.accept()[0]
        two.recv(1)
        p.proc.send_signal(signal.SIGTERM)
        p.says("Shutting down")
        assert p.stop() == 0
        assert "is shutting down" in farm.manager.result(task)["error"]
        one.close()
        two.close()


def test_tasks_of_one_tag_at_the_same_time(farm):
    """They share what is asked of the registry, and all of them share its failure no longer than it lasts."""
    with FaultServer() as registry:
        registry.put_image("team/add", "1", (MODULES / "add.wasm").read_bytes())
        farm.serve()
        image = f"{registry.host}/team/add:1"
        assert farm.manager.run(image_url=image, inputs=["1", "2"])["results"] == "3\n"
        registry.fault("GET", "/manifests/1", status(500), times=100)
        tasks = [farm.manager.start(image_url=image, inputs=["1", "2"]) for _ in range(8)]
        assert all("Failed to pull manifest" in farm.manager.result(t)["error"] for t in tasks)
        registry.rules.clear()
        tasks = [farm.manager.start(image_url=image, inputs=["1", "2"]) for _ in range(8)]
        assert [farm.manager.result(t)["results"] for t in tasks] == ["3\n"] * 8


def test_with_and_without_fuel(farm):
    """One module in both forms: each is compiled once."""
    p = farm.serve()
    image = farm.plain("add.wasm")
    for _ in range(3):
        for args in ([], ["-W", "fuel=100000"]):
            assert farm.manager.run(image_url=image, inputs=["1", "2"], cli_args=args)["results"] == "3\n"
    assert p.metric("proplet_compilations_total") == 2


def test_a_duplicate_start(farm):
    p = farm.serve()
    task = farm.start("loop.wasm")
    p.wait_metric("proplet_tasks_running", 1)
    farm.start(id=task)
    p.says("is already running, ignoring the start request")
    farm.manager.stop(task)
    assert farm.manager.result(task)["error"] == stopped(task)
    assert farm.run()["results"] == "30\n" and len(farm.manager.results(task)) == 1


def test_two_starts_of_the_older_manager(farm):
    """The second comes without `encrypted` and with the proplet's id; it neither runs nor is answered."""
    p = farm.serve()
    image = farm.image("add.wasm")
    for plain in (image, farm.plain("add.wasm")):
        task = str(uuid.uuid4())
        farm.start(id=task, proplet_id=..., inputs=[10, 20])
        farm.manager.start(id=task, image_url=plain, inputs=[10, 20], cli_args=["--invoke", "add"], encrypted=...)
        assert farm.manager.result(task)["results"] == "30\n"
        # and when it comes late
        farm.manager.start(id=task, image_url=plain, inputs=[10, 20], encrypted=...)
    p.says("was started as an encrypted one and now is not", 2)
    assert farm.run()["results"] == "30\n"
    assert len(farm.manager.all("control/proplet/results")) == 3


def test_other_proplets_and_other_topics(farm):
    p = farm.serve()
    m = farm.manager
    m.start(id="not-ours", proplet_id="somebody-else", file=file("add.wasm"))
    m.send("control/manager/unknown", "{}")
    m.send("registry/server", "{}")
    assert m.run(broadcast=True, proplet_id=..., file=file("add.wasm"), inputs=[1, 2])["results"] == "3\n"
    assert m.results("not-ours") == [] and "not-ours" not in p.log()


# --- daemons, latent tasks, metrics -------------------------------------------------------------------

def test_a_daemon(farm):
    p = farm.serve()
    task = farm.start("loop.wasm", daemon=True)
    assert farm.manager.result(task) == {"task_id": task, "proplet_id": PROPLET, "results": "", "error": None}
    p.wait_metric("proplet_daemons_running", 1)
    assert farm.run()["results"] == "30\n"
    farm.manager.stop(task)
    p.wait_metric("proplet_daemons_running", 0)
    bad = farm.manager.run(daemon=True, image_url=f"{farm.registry.host}/team/none:1")
    assert "Failed to pull manifest" in bad["error"]
    assert len(farm.manager.results(task)) == 1


def test_latent_tasks(farm):
    p = farm.serve()
    m = farm.manager
    task = m.start(latent=True, file=file("add.wasm"))
    p.says(f"Latent task {task} precompiled")
    a = m.invoke(task, ["1", "2"])
    assert a["results"] == "3" and a["error"] is None and a["task_id"] == task
    assert set(a) == {"task_id", "invocation_id", "proplet_id", "results", "error"}
    assert m.invoke(task, ["5", 6])["results"] == "11"
    assert m.invoke(task, ["x"])["error"]
    encrypted = farm.start(latent=True)
    p.says(f"Latent task {encrypted} precompiled")
    assert m.invoke(encrypted, ["7", "8"])["results"] == "15"
    assert "has not been precompiled" in m.invoke("nobody", [])["error"]
    assert m.results(task) == []
    m.stop(task)
    assert m.result(task)["error"] == stopped(task)
    assert "has not been precompiled" in m.invoke(task, ["1", "2"])["error"]
    # the key of an encrypted one is asked for at each invocation
    farm.box.run("propkey", "policy", "preset", "deny-all", *farm.admin)
    assert "Failed to pull and decrypt layers" in m.invoke(encrypted, ["7", "8"])["error"]


def test_metrics_of_tasks_and_of_the_proplet(farm):
    farm.serve("--metrics-interval", "1")
    m = farm.manager
    profile = {"enabled": True, "interval": 1000000000, "collect_cpu": True, "collect_memory": True,
               "collect_disk_io": False, "collect_threads": True, "collect_file_descriptors": True,
               "export_to_mqtt": True, "retain_history": True, "history_size": 10}
    task = farm.start("loop.wasm", monitoring_profile=profile)
    _, doc, _, _, _ = m.wait(lambda t, p: t == "control/proplet/task_metrics" and p["aggregated"]["sample_count"] == 2)
    assert doc["task_id"] == task and doc["proplet_id"] == PROPLET
    assert set(doc["metrics"]) == {"cpu_percent", "memory_bytes", "memory_percent", "disk_read_bytes", "disk_write_bytes",
                                   "uptime_seconds", "thread_count", "file_descriptor_count"}
    assert doc["metrics"]["cpu_percent"] > 0 and 1 << 16 < doc["metrics"]["memory_bytes"] < 1 << 34
    assert set(doc["aggregated"]) == {"avg_cpu_usage", "max_cpu_usage", "avg_memory_usage", "max_memory_usage",
                                      "total_disk_read", "total_disk_write", "sample_count"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", doc["timestamp"])
    _, doc, _, _, _ = m.wait(lambda t, p: t == "control/proplet/metrics")
    assert set(doc) == {"proplet_id", "namespace", "timestamp", "cpu_metrics", "memory_metrics"}
    assert set(doc["cpu_metrics"]) == {"user_seconds", "system_seconds", "percent"}
    assert doc["memory_metrics"]["rss_bytes"] > 1 << 20
    m.stop(task)
    quiet = farm.start("loop.wasm", monitoring_profile={**profile, "export_to_mqtt": False})
    m.wait(lambda t, p: t == "control/proplet/metrics" and len(m.all(t)) >= 4)
    assert m.all("control/proplet/task_metrics", lambda p: p["task_id"] == quiet) == []
    m.stop(quiet)


def test_metrics_and_health_for_this_machine(farm):
    p = farm.serve()
    farm.run()
    text = p.get("/metrics")
    assert "# TYPE proplet_tasks_started_total counter" in text
    assert p.metric("proplet_tasks_started_total") == 1 and p.metric("proplet_broker_connected") == 1
    assert p.metric('proplet_task_ready_seconds_bucket{le="+Inf"}') == 1
    assert json.loads(p.get("/health")) == {"status": "ok", "running_tasks": 0, "broker_connected": True}
    where = p.says(r"Metrics and health on http://(\S+)").group(1).rsplit(":", 1)
    for request, status in ((b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404"), (b"POST /metrics HTTP/1.1\r\n\r\n", b"405"),
                            (b"GET /health?x HTTP/1.0\n\n", b"200"), (b"\0\xff\r\n\r\n", b"405")):
        with socket.create_connection((where[0], int(where[1])), 30) as s:
            s.sendall(request)
            assert s.recv(4096).split()[1] == status
    with socket.create_connection((where[0], int(where[1])), 30) as s:
        try:
            s.sendall(b"A" * 100000)
            assert s.recv(10) == b""
        except OSError:
            pass
    assert p.get("/health")
