"""The same flow under Propeller's own manager, where its binary is on PATH (propeller.md 3)."""
import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from conftest import Server, free_port

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "cli"))
from helpers.mqtt_manager import CHANNEL, MANAGER, MANAGER_KEY, PROPLET, TENANT, Broker, Proplet  # noqa: E402
from test_propcvm_serve import MODULES, PATH, Farm  # noqa: E402

PATIENCE = 90


class RealManager(Server):
    """The manager with memory storage; its HTTP API."""

    def __init__(self, program, broker, folder):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = open(folder / "manager.log", "ab")
        super().__init__([program], cwd=folder, stdout=self.log, stderr=self.log, env={
            "PATH": os.environ["PATH"], "HOME": str(folder),
            "MANAGER_MQTT_ADDRESS": f"tcp://127.0.0.1:{broker.port}", "MANAGER_MQTT_QOS": "2",
            "MANAGER_TENANT_ID": TENANT, "MANAGER_CHANNEL_ID": CHANNEL, "MANAGER_ENTITY_ID": MANAGER,
            "MANAGER_API_KEY": MANAGER_KEY, "MANAGER_HTTP_HOST": "127.0.0.1", "MANAGER_HTTP_PORT": str(self.port),
            "MANAGER_STORAGE_TYPE": "memory"})
        self.until(lambda: self.call("GET", "/health")["status"] == "pass", "the manager")

    def call(self, method, path, body=None):
        request = urllib.request.Request(self.url + path, method=method, headers={"Content-Type": "application/json"},
                                         data=None if body is None else json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as r:
            text = r.read()
        return json.loads(text) if text else None

    def until(self, test, what):
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if test():
                    return
            except (OSError, urllib.error.URLError):
                pass
            assert time.monotonic() < end and self.proc.poll() is None, what
            time.sleep(0.05)

    def is_alive(self):
        return self.call("GET", f"/proplets/{PROPLET}")["alive"]

    def start(self, **task):
        task_id = self.call("POST", "/tasks", task)["id"]
        assert self.call("POST", f"/tasks/{task_id}/start")["started"]
        return task_id

    def task(self, task_id):
        return self.call("GET", f"/tasks/{task_id}")

    def ended(self, task_id):
        self.until(lambda: self.task(task_id)["state"] in (3, 4), f"the end of {task_id}")
        return self.task(task_id)

    def run(self, **task):
        return self.ended(self.start(**task))


class Silent:
    """Where the farm has its scripted manager: nobody."""

    def alive(self):
        pass


@pytest.fixture
def real(box, kbs, registry, tmp_path):
    program = shutil.which("propeller-manager") or shutil.which("manager")
    if program is None:
        pytest.skip("peer not installed: manager (of Propeller)")
    broker = Broker(tmp_path / "broker")
    farm = Farm(box, kbs, registry, broker, Silent())
    folder = tmp_path / "manager"
    folder.mkdir()
    manager = RealManager(program, broker, folder)
    farm.real = manager
    yield farm
    for p in farm.proplets:
        p.stop()
    manager.stop()
    broker.stop()


def seed_task(farm, **members):
    doc = {"name": "add", "image_url": farm.image("add.wasm"), "kbs_resource_path": PATH, "encrypted": True,
           "cli_args": ["--invoke", "add"], "inputs": [10, 20]}
    return {**doc, **members}


def test_the_seed_s_flow(real):
    proplet = real.serve("--tags", "tee")
    m = real.real
    m.until(m.is_alive, "a living proplet")
    view = m.call("GET", f"/proplets/{PROPLET}")
    assert view["metadata"]["wasm_runtime"] == "wasmtime-internal" and view["metadata"]["tags"] == ["tee"]
    t = m.run(**seed_task(real))
    assert t["state"] == 3 and t["results"] == "30\n" and t["proplet_id"] == PROPLET and not t.get("error")
    # refused, denied, failed: never left at state 2
    t = m.run(**seed_task(real, cli_args=["--dir", "/"]))
    assert t["state"] == 4 and "cli_args" in t["error"]
    t = m.run(**seed_task(real, kbs_resource_path="default/key/other"))
    assert t["state"] == 4 and "default/key/other" in t["error"]
    t = m.run(name="x", encrypted=True)
    assert t["state"] == 4 and t["error"] == "image_url is required for encrypted workloads"
    t = m.run(name="add", file=base64.b64encode((MODULES / "add.wasm").read_bytes()).decode(), inputs=[1, 2])
    assert t["state"] == 3 and t["results"] == "3\n"
    # stop, and start again
    endless = m.start(**seed_task(real, image_url=real.image("loop.wasm"), cli_args=[], inputs=[]))
    proplet.wait_metric("proplet_tasks_running", 1)
    assert m.call("POST", f"/tasks/{endless}/stop")["stopped"]
    t = m.ended(endless)
    assert t["state"] == 4 and t["error"] == f"Task {endless} was stopped before completion"
    assert m.call("POST", f"/tasks/{endless}/start")["started"]
    proplet.wait_metric("proplet_tasks_running", 1)
    assert m.call("POST", f"/tasks/{endless}/stop")["stopped"]
    # none of many is lost to the manager's race
    tasks = [m.start(**seed_task(real, inputs=[i, 1])) for i in range(100)]
    for i, task in enumerate(tasks):
        t = m.ended(task)
        assert t["state"] == 3 and t["results"] == f"{i + 1}\n", t
    # latent and invoked
    latent = m.start(name="add", latent=True, file=base64.b64encode((MODULES / "add.wasm").read_bytes()).decode())
    proplet.says("precompiled and ready")
    assert m.call("POST", f"/tasks/{latent}/invoke", {"inputs": ["4", "5"]}) == {"invoked": True, "results": "9"}


def test_a_manager_that_is_restarted(real):
    proplet = real.serve()
    m = real.real
    m.until(m.is_alive, "a living proplet")
    endless = m.start(**seed_task(real, image_url=real.image("loop.wasm"), cli_args=[], inputs=[]))
    proplet.wait_metric("proplet_tasks_running", 1)
    m.stop()  # it stops its tasks as it goes
    proplet.wait_metric("proplet_tasks_running", 0)
    assert f"Task {endless} is stopped" in proplet.log()
    m.__init__(m.proc.args[0], real.broker, pathlib.Path(m.log.name).parent)
    m.until(m.is_alive, "the proplet, known again")
    assert m.run(**seed_task(real))["results"] == "30\n"
