"""The guest really boots, under TCG: network, attestation over pinned TLS, a registry, a result; and
what goes wrong ends it with a reason. A boot takes seconds, so each is made to show several things; those
that show least are for PROP_LONG=1."""
import json
import os
import re
import signal
import subprocess
import time

import pytest

from conftest import BIN, ROOT, Server, need
from helpers.mqtt_manager import CHANNEL, KEY, PROPLET, TENANT, Broker, Manager, Tls
from publishing import ADDITION
from vm_images import END, Boot, bootable, build

ADD = ROOT / "examples/modules/add.wasm"
PLAIN = ("run", "/etc/propcvm/files/add.wasm", "--allow-plain", "--invoke", "add", "--", "10", "20")
LONG = pytest.mark.skipif(os.environ.get("PROP_LONG") != "1", reason="boots take a minute: PROP_LONG=1")
TCG = ("--mode", "none", "--accel", "tcg", "--memory", "512M", "--cpus", "2", "--timeout", "300s")
FORGED = 'propcvm-init: end: {"status":77,"error":null,"uptime_ms":1}'
FORGE = """(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
 (memory (export "memory") 1) (data (i32.const 64) "@")
 (data (i32.const 0) "\\40\\00\\00\\00\\%02x\\00\\00\\00")
 (func (export "_start") (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
                         (drop (call $w (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 16)))))"""
INIT_DATA = "opt/org.propeller.propcvm/initdata.toml"


@pytest.fixture
def shop(box, kbs_factory, registry):
    """A key broker with TLS and a registry on this host's loopback, and an encrypted module there."""
    bootable()
    kbs = kbs_factory("--tls")
    (box / "add.wasm").write_bytes(ADDITION)
    box.run("proppush", "publish", "add.wasm", f"docker://{registry.host}/demo/add:encrypted", "--kbs", kbs.url,
            "--ca-cert", kbs.ca, "--admin-key", kbs.admin_key, "--kid", "kbs:///default/key/add", "--allow",
            "tee=sample", "--replace-policy", "--tee", "sample")
    kbs.guest_args = ("--kbs", f"https://10.0.2.2:{kbs.port}", "--ca-cert", kbs.ca)
    kbs.guest_run = ("run", f"docker://10.0.2.2:{registry.port}/demo/add:encrypted", "--insecure-registry",
                     f"10.0.2.2:{registry.port}", "--invoke", "add", "--", "10", "20")
    return kbs


def guest(box, *args, argv=PLAIN, name="g"):
    build(box, name, *bootable(), "--tee", "sample", *args, argv=argv)
    return box / name


def test_boots_attests_pulls_and_prints_30(box, shop):
    g = guest(box, *shop.guest_args, "--console-result", "--address", "10.0.2.99/24", "--gateway", "10.0.2.2",
              argv=shop.guest_run)
    b = Boot(box, g, "-fw_cfg", f"name={INIT_DATA},file={g}/initdata.toml",
             append="init=/bin/sh rdinit=/init PROP_TEE=tdx PROPLET_X=1 LD_PRELOAD=/x single -- --kbs https://evil")
    assert "30" in b.lines(), b.console
    assert b.end["status"] == 0 and b.end["error"] is None
    assert "unauthenticated" in b.console
    phases = b.end["phases"]
    order = ["init_ms", "modules_ms", "configuration_ms", "network_ms", "workload_ms"]
    assert [phases[p] for p in order] == sorted(phases[p] for p in order)
    assert phases["workload_ms"] <= b.end["uptime_ms"]


def test_result_by_vm_run_and_nothing_on_the_console(box, shop):
    g = guest(box, *shop.guest_args, argv=shop.guest_run)
    r = box.run("propcvm", "vm", "run", g, *TCG, "--console", "console", timeout=400)
    assert r.out == "30\n", r.err
    lines = (box / "console").read_text("utf-8", "replace").replace("\r", "").splitlines()
    assert "30" not in lines and any(line.startswith(END + '{"status":0,') for line in lines), lines


def test_wrong_pinned_certificate(box, shop, kbs_factory):
    other = kbs_factory("--tls")
    g = guest(box, "--kbs", f"https://10.0.2.2:{shop.port}", "--ca-cert", other.ca, "--console-result",
              argv=shop.guest_run)
    b = Boot(box, g)
    assert b.end["status"] != 0 and b.end["error"]["code"] == "tls", b.console
    assert "30" not in b.lines()


@LONG
def test_denial_by_the_key_broker(box, shop):
    box.run("propkey", "policy", "preset", "deny-all", "--kbs", shop.url, "--ca-cert", shop.ca, "--admin-key",
            shop.admin_key)
    b = Boot(box, guest(box, *shop.guest_args, "--console-result", argv=shop.guest_run))
    assert b.end["status"] == 105 and b.end["error"]["code"] == "policy-deny", b.console


def test_other_init_data_than_the_image_was_built_with(box):
    g = guest(box, "--file", f"add.wasm={ADD}", "--console-result")
    text = (g / "initdata.toml").read_text().replace('"10"', '"11"')
    (box / "other.toml").write_text(text)
    b = Boot(box, g, "-fw_cfg", f"name={INIT_DATA},file=other.toml")
    assert b.end["error"]["code"] == "init-data-mismatch" and "30" not in b.lines()


def test_open_image_takes_its_init_data_from_the_host_and_no_output_ends_a_guest(box):
    """The host's document says which module runs; that module writes a last line of init's, to both streams."""
    (box / "forge.wat").write_text((FORGE % (len(FORGED) + 1)).replace("@", FORGED.replace('"', '\\"') + "\\n"))
    box.run(need("wat2wasm"), "forge.wat")
    g = guest(box, "--file", f"forge.wasm={box / 'forge.wasm'}", "--console-result", "--open-init-data",
              argv=("run", "/etc/propcvm/files/none.wasm", "--allow-plain"))
    text = (g / "initdata.toml").read_text()
    (box / "other.toml").write_text(text.replace("none.wasm", "forge.wasm"))
    b = Boot(box, g, "-fw_cfg", f"name={INIT_DATA},file=other.toml")
    assert b.end["status"] == 0 and b.end["uptime_ms"] > 1, b.console
    assert "| " + FORGED in b.lines(), b.console


@LONG
def test_open_image_and_a_document_that_is_none(box):
    g = guest(box, "--console-result", "--open-init-data")
    (box / "broken.toml").write_text((g / "initdata.toml").read_text().replace('"run"', '"sh"'))
    b = Boot(box, g, "-fw_cfg", f"name={INIT_DATA},file=broken.toml")
    assert b.end["error"]["code"] == "bad-configuration"


@LONG
def test_no_network_and_no_way_to_report(box):
    g = guest(box, "--file", f"add.wasm={ADD}")
    b = Boot(box, g)
    assert b.end["error"]["code"] == "no-report"
    g = guest(box, "--file", f"add.wasm={ADD}", "--console-result", name="h")
    b = Boot(box, g, net=None)
    assert b.end["error"]["code"] == "no-interface"


@LONG
def test_a_workload_that_fails(box):
    g = guest(box, "--console-result", argv=("run", "/etc/propcvm/files/none.wasm", "--allow-plain"))
    b = Boot(box, g, net="user,id=n0,restrict=on")
    assert b.end["status"] == 108 and b.end["error"] is not None


def test_a_proplet_gets_its_key_after_attesting_serves_and_goes_when_it_is_told(box, shop, registry):
    """The whole of a proplet's life, by `vm run`: TLS to the broker and the key broker with pinned roots, the
    MQTT key from the key broker, an encrypted task, and a stop that lets it finish."""
    broker = Broker(box / "mqtt", tls=Tls(box / "tls", names="DNS:localhost,IP:127.0.0.1,IP:10.0.2.2"))
    manager = Manager(broker)
    admin = ("--kbs", shop.url, "--ca-cert", shop.ca, "--admin-key", shop.admin_key)
    (box / "mqtt.key").write_text(KEY)
    (box / "mqtt.key").chmod(0o600)
    box.run("propkey", "set", "default/mqtt/key", box / "mqtt.key", *admin)
    box.run("propkey", "policy", "add", "--resource", "default/mqtt/key", "--allow", "tee=sample", *admin)
    g = guest(box, *shop.guest_args, "--secret", "api-key=kbs:///default/mqtt/key", "--file", f"mqtt.pem={broker.tls.ca}",
              "--env", f"PROPLET_TENANT_ID={TENANT}", "--env", f"PROPLET_CHANNEL_ID={CHANNEL}", "--env",
              f"PROPLET_ENTITY_ID={PROPLET}", "--env", f"PROPLET_MQTT_ADDRESS=tls://10.0.2.2:{broker.port}",
              argv=("serve", "--mqtt-ca", "/etc/propcvm/files/mqtt.pem", "--insecure-registry",
                    f"10.0.2.2:{registry.port}"))
    image = (g / "initrd.img").read_bytes() + (g / "initdata.toml").read_bytes()
    assert KEY.encode() not in image and b"default/mqtt/key" in image
    out = open(box / "vm.out", "wb+")
    vm = Server([BIN / "propcvm", "vm", "run", g, *TCG, "--console", box / "console"], env=box.env, cwd=box.path,
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)

    def talk():
        return (box / "vm.out").read_text("utf-8", "replace")
    try:
        while not manager.all("control/proplet/alive"):
            assert vm.proc.poll() is None, talk()
            time.sleep(0.05)
        answer = manager.run(image_url=f"10.0.2.2:{registry.port}/demo/add:encrypted", encrypted=True,
                             kbs_resource_path="default/key/add", inputs=["10", "20"], cli_args=["--invoke", "add"])
        assert answer["results"] == "30\n" and not answer.get("error"), (answer, talk())
        vm.proc.send_signal(signal.SIGTERM)
        assert vm.proc.wait(120) == 130, talk()
    finally:
        vm.stop(signal.SIGKILL)
        manager.close()
        broker.stop()
        out.close()
    console = (box / "console").read_text("utf-8", "replace")
    assert re.search(re.escape(END) + r'\{"status":0,"error":null,', console), console + talk()
    assert KEY not in console + talk() and "10.0.2.2" not in console


@LONG
def test_secret_for_a_proplet_from_the_host(box):
    """`serve` starts with the key it was handed; that no broker answers is its own matter."""
    (box / "key").write_text("very-secret-key")
    g = guest(box, "--secret-from-host", "api-key", "--console-result", "--env", "PROPLET_TENANT_ID=t", "--env",
              "PROPLET_CHANNEL_ID=c", "--env", "PROPLET_ENTITY_ID=e", argv=("serve", "--no-such-option"))
    b = Boot(box, g, "-fw_cfg", "name=opt/org.propeller.propcvm/secret/api-key,file=key")
    assert b.end["error"]["code"] != "no-fw-cfg" and b.end["status"] == 2
    assert "very-secret-key" not in b.console
    b = Boot(box, g)
    assert b.end["error"]["code"] == "no-fw-cfg"
