"""propcvm vm run and vm all: argument vectors against files of ours, every refusal, and VMs that boot."""
import base64
import fcntl
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time

import pytest

import vm_guests
from conftest import BIN, ROOT, VECTORS, need
from vm_guests import TCG, host
from vm_images import unpacked

FIRMWARE = VECTORS / "measure"


@pytest.fixture
def guest(box):
    return vm_guests.folder(box / "guest")


@pytest.fixture
def tools(box):
    """The files that the vectors name, in the working folder; hosts are made by host()."""
    shutil.copy(FIRMWARE / "fw-kernel-hashes.bin", box / "OVMF.amdsev.fd")
    shutil.copy(FIRMWARE / "fw-tdx.bin", box / "OVMF.fd")
    (box / "id.block").write_bytes(bytes(88) + (0x20000).to_bytes(8, "little"))
    (box / "id.auth").write_bytes(base64.b64encode(b"\1\0\0\0" * 2 + bytes(4088)) + b"\n")
    (box / "api").write_text("key")
    return box


def running(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def wait_for(what, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = what()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"did not happen: {what}")


def child_of(pid):
    """The QEMU that a propcvm started, once it is one (PDEATHSIG is set before that)."""
    def look():
        for p in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                stat = (p / "stat").read_text().rsplit(")", 1)[1].split()
                if int(stat[1]) == pid and b"-nodefaults" in (p / "cmdline").read_bytes():
                    return int(p.name)
            except (OSError, IndexError):
                continue
        return None
    return wait_for(look)


# ---- argument vectors -----------------------------------------------------------------------------

VECTOR_CASES = {
    "none-7.2": ("7.2.22", *TCG),
    "none-10.2": ("10.2.0", *TCG),
    "none-everything-7.2": ("7.2.22", *TCG, "--name", "second", "--memory", "2G", "--cpus", "4", "--cpu",
                            "EPYC-v4", "--forward", "2222:22", "--forward", "127.0.0.1:8080:80",
                            "--dns", "9.9.9.9", "--vsock-cid", "198", "--firmware", "OVMF.fd",
                            "--hand-over", "api-key=api", "--qemu-arg", "-d", "--qemu-arg", "guest_errors"),
    "sev-7.2": ("7.2.22", "--mode", "sev", "--firmware", "OVMF.amdsev.fd"),
    "sev-es-9.1": ("9.1", "--mode", "sev-es", "--firmware", "OVMF.amdsev.fd"),
    "sev-unmeasured-7.2": ("7.2.22", "--mode", "sev", "--firmware", "OVMF.fd", "--allow-unmeasured-kernel"),
    "snp-9.1": ("9.1", "--mode", "snp", "--firmware", "OVMF.amdsev.fd"),
    "snp-10.2": ("10.2", "--mode", "snp", "--firmware", "OVMF.amdsev.fd", "--memory", "2G", "--cpus", "2"),
    "snp-id-block-10.1": ("10.1", "--mode", "snp", "--firmware", "OVMF.amdsev.fd", "--id-block", "id.block",
                          "--id-auth", "id.auth"),
    "tdx-10.1": ("10.1", "--mode", "tdx", "--firmware", "OVMF.fd"),
    "tdx-10.2": ("10.2", "--mode", "tdx", "--firmware", "OVMF.fd", "--no-quotes", "--memory", "2G"),
}


def dry(box, *args, ok=True, **kw):
    return box.run(BIN / "propcvm", "vm", "run", *args, "--dry-run", ok=ok, **kw)


@pytest.mark.parametrize("case", sorted(VECTOR_CASES))
def test_argument_vector_is_ours(tools, case):
    """One file per mode and release; docs/vm-arguments.md gives the reasons."""
    vm_guests.folder(tools / "guest", secrets_from_host=["api-key"])
    version, *args = VECTOR_CASES[case]
    r = dry(tools, "guest", "--assume-qemu", version, "--host-root", host(tools), "--json", *args)
    got = "\n".join(r.json()["argv"]) + "\n"
    want = VECTORS / "qemu" / f"{case}.txt"
    if os.environ.get("PROP_WRITE_VECTORS"):
        want.parent.mkdir(exist_ok=True)
        want.write_text(got)
    assert got == want.read_text()


def test_every_vector_file_has_its_case():
    assert {f.stem for f in (VECTORS / "qemu").glob("*.txt")} == {*VECTOR_CASES, "distro-none-7.2"}


def test_dry_run_line_is_for_a_shell(tools, guest):
    r = dry(tools, guest, *TCG, "--assume-qemu", "7.2", "--qemu-arg", "it's; $(x)")
    j = dry(tools, guest, *TCG, "--assume-qemu", "7.2", "--qemu-arg", "it's; $(x)", "--json").json()
    assert shlex.split(r.out) == j["argv"]
    assert j["argv"][-1] == "it's; $(x)" and j["mode"] == "none" and j["accel"] == "tcg"


def objects(argv):
    return [argv[i + 1] for i, a in enumerate(argv) if a == "-object"]


def test_init_data_is_bound_to_the_launch(tools, guest):
    """By the document's own algorithm: cut to 32 bytes for SNP, 48 for TDX."""
    digest = hashlib.sha384(vm_guests.INIT_DATA).digest()
    common = ("--assume-qemu", "10.2", "--host-root", host(tools), "--json")
    snp = dry(tools, guest, "--mode", "snp", "--firmware", "OVMF.amdsev.fd", *common).json()["argv"]
    text = next(o for o in objects(snp) if o.startswith("sev-snp-guest"))
    assert base64.b64decode(text.split("host-data=")[1].split(",")[0]) == digest[:32]
    tdx = dry(tools, guest, "--mode", "tdx", "--firmware", "OVMF.fd", *common).json()["argv"]
    text = next(o for o in objects(tdx) if o.startswith("{"))
    assert base64.b64decode(json.loads(text)["mrconfigid"]) == digest


def test_id_block_gives_its_own_policy(tools, guest):
    argv = dry(tools, guest, "--assume-qemu", "10.2", "--host-root", host(tools), "--mode", "snp", "--firmware",
               "OVMF.amdsev.fd", "--id-block", "id.block", "--id-auth", "id.auth", "--json").json()["argv"]
    text = next(a for a in argv if a.startswith("sev-snp-guest"))
    assert ",policy=0x20000," in text and "author-key-enabled" not in text
    auth = bytearray(4096)
    auth[0x680 + 512] = 1
    (tools / "id.auth").write_bytes(bytes(auth))
    argv = dry(tools, guest, "--assume-qemu", "10.2", "--host-root", host(tools, "h2"), "--mode", "snp", "--firmware",
               "OVMF.amdsev.fd", "--id-block", "id.block", "--id-auth", "id.auth", "--json").json()["argv"]
    assert any("author-key-enabled=on" in a for a in argv)


# ---- which mode -----------------------------------------------------------------------------------

def test_auto_takes_what_the_host_offers(tools, guest):
    hosts = {"tdx": dict(kvm_intel={"tdx": "Y"}), "snp": dict(kvm_amd={"sev": "Y", "sev_es": "Y", "sev_snp": "Y"}),
             "sev": dict(kvm_amd={"sev": "Y", "sev_es": "Y", "sev_snp": "N"}), "none": dict(kvm_amd={"sev": "N"})}
    for mode, parameters in hosts.items():
        fw = "OVMF.fd" if mode in ("tdx", "none") else "OVMF.amdsev.fd"
        r = dry(tools, guest, "--assume-qemu", "10.2", "--firmware", fw, "--host-root", host(tools, mode, **parameters),
                "--json")
        assert r.json()["mode"] == mode
        assert f"mode {mode}" in r.err
        assert ("no key broker will release a key" in r.err) == (mode == "sev")


@pytest.mark.parametrize("mode", ["tdx", "snp", "sev"])
def test_a_detected_mode_that_cannot_be_had_is_no_ordinary_vm(tools, guest, mode):
    """The host offers it, KVM is not there: an error, and nothing is started."""
    parameters = {"tdx": dict(kvm_intel={"tdx": "Y"}), "snp": dict(kvm_amd={"sev": "Y", "sev_snp": "Y"}),
                  "sev": dict(kvm_amd={"sev": "1"})}[mode]
    r = tools.run(BIN / "propcvm", "vm", "run", guest, "--host-root", host(tools, **parameters), "--json", ok=9)
    assert r.error()["code"] == "no-kvm" and "--mode none" not in r.out
    assert "mode " + mode in r.err


def test_dry_run_tells_what_would_not_start(tools, guest):
    r = dry(tools, guest, "--mode", "snp", "--assume-qemu", "9.1", "--firmware", "OVMF.amdsev.fd", "--host-root",
            host(tools), "--json")
    assert any("sev_snp is not Y" in p for p in r.json()["problems"])
    assert "would not start here" in r.err


REFUSALS = {
    "qemu-too-old": (9, "--mode", "snp", "--assume-qemu", "7.2", "--firmware", "OVMF.amdsev.fd"),
    "no-firmware": (8, "--mode", "tdx", "--assume-qemu", "10.1"),
    "firmware-no-tdx": (9, "--mode", "tdx", "--assume-qemu", "10.1", "--firmware", "nothing.fd"),
    "firmware-no-sev": (9, "--mode", "snp", "--assume-qemu", "10.1", "--firmware", "OVMF.fd"),
    "firmware-cannot-measure": (9, "--mode", "snp", "--assume-qemu", "10.1", "--firmware", "generic.fd"),
    "firmware-size": (3, "--mode", "snp", "--assume-qemu", "10.1", "--firmware", "api"),
    "bad-mode": (2, "--mode", "sgx"),
    "bad-accel": (2, "--mode", "none", "--accel", "hvf"),
    "accel-not-confidential": (2, "--mode", "snp", "--accel", "tcg", "--assume-qemu", "10.1"),
    "bad-memory": (2, *TCG, "--memory", "64M"),
    "bad-cpus": (2, *TCG, "--cpus", "70000"),
    "bad-name": (2, *TCG, "--name", "a b"),
    "bad-dns": (2, *TCG, "--dns", "9.9.9.9,hostfwd=tcp::22-:22"),
    "bad-forward": (2, *TCG, "--forward", "22"),
    "forward-not-loopback": (2, *TCG, "--forward", "0.0.0.0:2222:22"),
    "bad-vsock-cid": (2, *TCG, "--vsock-cid", "2"),
    "bad-version": (2, *TCG, "--assume-qemu", "ten"),
    "bad-hand-over": (2, *TCG, "--hand-over", "api-key"),
    "secret-not-wanted": (2, *TCG, "--hand-over", "mqtt=api"),
    "bad-qemu-arg": (2, *TCG, "--qemu-arg", "-daemonize"),
    "qemu-args-confidential": (2, "--mode", "snp", "--assume-qemu", "10.1", "--firmware", "OVMF.amdsev.fd",
                               "--qemu-arg", "-S"),
    "bad-id-block": (3, "--mode", "snp", "--assume-qemu", "10.1", "--firmware", "OVMF.amdsev.fd", "--id-block",
                     "api", "--id-auth", "id.auth"),
    "unmeasured": (2, "--mode", "tdx", "--assume-qemu", "10.1", "--firmware", "OVMF.fd",
                   "--allow-unmeasured-kernel"),
    "unknown-cpu": (2, *TCG, "--cpu", "Z80"),
    "no-qemu": (8, *TCG, "--qemu", "no-such-qemu"),
    "not-qemu": (9, *TCG, "--qemu", "/bin/false"),
    "no-guest": (8, *TCG),
}


@pytest.mark.parametrize("cause", sorted(REFUSALS))
def test_refusals_have_their_own_cause(tools, cause):
    if cause == "unknown-cpu":
        need("qemu-system-x86_64")
    status, *args = REFUSALS[cause]
    shutil.copy(FIRMWARE / "fw-no-kernel-hashes.bin", tools / "generic.fd")
    (tools / "nothing.fd").write_bytes(bytes(65536))
    if cause != "no-guest":
        vm_guests.folder(tools / "guest")
    if not any(a in ("--assume-qemu", "--qemu") for a in args) and cause != "unknown-cpu":
        args += ["--assume-qemu", "9.1"]
    r = dry(tools, "guest", "--host-root", host(tools), "--json", *args, ok=status)
    e = r.error()
    assert e["code"] == cause and "\n" not in e["message"]
    assert not r.out


@pytest.mark.parametrize("mode, parameters, cause", [
    ("tdx", {}, "host-no-tdx"), ("snp", dict(kvm_amd={"sev": "Y", "sev_snp": "N"}), "host-no-snp"),
    ("sev", dict(kvm_amd={"sev": "N"}), "host-no-sev"), ("sev-es", dict(kvm_amd={"sev": "Y"}), "host-no-sev-es")])
def test_a_host_without_the_capability(tools, guest, mode, parameters, cause):
    r = tools.run(BIN / "propcvm", "vm", "run", guest, "--mode", mode, "--host-root", host(tools, **parameters),
                  "--json", ok=9)
    assert r.error()["code"] == cause and "/sys/module/kvm_" in r.error()["message"]


def test_kernel_without_the_driver(tools):
    for mode, driver in (("snp", "sev_guest"), ("tdx", "tdx_guest")):
        drivers = {"virtio_net": True, "vsock": True, "virtio_serial": True, "fw_cfg": True, "sev_guest": True,
                   "tdx_guest": True, driver: False}
        vm_guests.folder(tools / mode, drivers=drivers)
        r = dry(tools, mode, "--mode", mode, "--assume-qemu", "10.2", "--host-root", host(tools, "h" + mode), "--json",
                ok=9)
        assert r.error()["code"] == "kernel-no-driver" and "--kernel" in r.error()["hint"]


@pytest.mark.parametrize("what", ["vmlinuz", "initrd.img", "initdata.toml"])
def test_another_file_than_was_built(box, guest, what):
    data = bytearray((guest / what).read_bytes())
    data[len(data) // 2] ^= 1
    (guest / what).write_bytes(data)
    r = box.run(BIN / "propcvm", "vm", "run", guest, *TCG, "--json", ok=4)
    assert r.error()["code"] == "guest-changed"


def test_variables_of_the_hal_script_count(tools, guest):
    env = {"ENABLE_CVM": "none", "RAM": "16384M", "CPU": "4"}
    argv = dry(tools, guest, "--accel", "tcg", "--assume-qemu", "7.2", "--json", env=env).json()["argv"]
    assert argv[argv.index("-m") + 1] == "16384M" and argv[argv.index("-smp") + 1] == "4"
    r = dry(tools, guest, "--accel", "tcg", "--assume-qemu", "7.2", "--memory", "512M", "--json", env=env).json()
    assert r["argv"][r["argv"].index("-m") + 1] == "512M" and r["mode"] == "none"
    r = dry(tools, guest, "--assume-qemu", "9.1", "--firmware", "OVMF.amdsev.fd", "--host-root", host(tools), "--json",
            env={**env, "ENABLE_CVM": "snp"}).json()
    assert r["mode"] == "snp"
    r = dry(tools, guest, "--json", env={"CPU": "x86_64"}, ok=3)
    assert "CPU" in r.error()["message"]


def test_sev_is_called_what_it_is(tools, guest):
    r = dry(tools, guest, "--mode", "sev", "--assume-qemu", "9.1", "--firmware", "OVMF.amdsev.fd", "--host-root",
            host(tools))
    assert "no key broker will release a key" in r.err


def fake_qemu(box, version="10.1.0", objects="tdx-guest sev-snp-guest sev-guest memory-backend-memfd", then="exit 0",
              accels="tcg kvm"):
    """A program that answers what a QEMU is asked, and does `then` when it is started for real."""
    path = box / "fake-qemu"
    listed = "\\n  ".join(objects.split())
    path.write_text(f"""#!/bin/sh
case "$1 $2" in
"--version ") echo "QEMU emulator version {version} (Debian 1:{version})" ;;
"-object help") printf 'List of user creatable objects:\\n  {listed}\\n' ;;
"-accel help") printf 'Accelerators supported in QEMU binary:\\n{accels.replace(" ", chr(92) + "n")}\\n' ;;
"-machine help") printf 'Supported machines are:\\nq35   Standard PC (Q35 + ICH9, 2009) (alias of pc-q35-10.1)\\n' ;;
"-cpu help") printf 'Available CPUs:\\n  EPYC-v4  AMD EPYC\\n  host  all\\n  max  more\\n\\nRecognized CPUID flags:\\n  3dnow\\n' ;;
"--help ") printf 'usage: qemu [options]\\n' ;;
*) {then} ;;
esac
""")
    path.chmod(0o755)
    return path


def test_qemu_is_asked_what_it_knows(tools, guest):
    """Not only its version: a build without an object is found out, and one without seccomp filters."""
    h = host(tools)
    fw = ("--firmware", "OVMF.fd", "--host-root", h, "--json")
    r = dry(tools, guest, "--mode", "tdx", "--qemu", fake_qemu(tools), *fw).json()
    assert r["qemu"] == "10.1.0" and "-sandbox" not in r["argv"] and r["argv"][0].endswith("fake-qemu")
    r = dry(tools, guest, "--mode", "tdx", "--qemu", fake_qemu(tools, objects="sev-guest"), *fw, ok=9)
    assert r.error()["code"] == "qemu-lacks" and "tdx-guest" in r.error()["message"]
    r = dry(tools, guest, "--mode", "tdx", "--qemu", fake_qemu(tools, version="9.2.3"), *fw, ok=9)
    assert r.error()["code"] == "qemu-too-old" and "10.1" in r.error()["message"]
    r = dry(tools, guest, *TCG, "--qemu", fake_qemu(tools, accels="kvm"), *fw, ok=9)
    assert r.error()["code"] == "qemu-lacks"


@pytest.mark.parametrize("then, cause, status", [
    ("echo 'qemu: cannot set up guest memory '\"'pc.ram'\"': Cannot allocate memory' >&2; exit 1", "vm-memory", 7),
    ("echo \"qemu: -netdev user: Could not set up host forwarding rule 'tcp:1'\" >&2; exit 1", "port-in-use", 7),
    ("echo 'qemu: -cpu host: cbitpos check failed' >&2; exit 1", "qemu-failed", 7),
    ("kill -9 $$", "vm-killed", 7), ("exit 0", "guest-lost", 6),
    ("echo '[ 1.0] Kernel panic - not syncing: no init'; exit 0", "guest-lost", 6)])
def test_what_becomes_of_a_qemu_that_fails(tools, guest, then, cause, status):
    r = tools.run(BIN / "propcvm", "vm", "run", guest, *TCG, "--qemu", fake_qemu(tools, then=then), "--json", ok=status)
    e = r.error()
    assert e["code"] == cause
    if "panic" in then:
        assert "Kernel panic - not syncing" in e["message"]
    assert not list((tools.home / "run").rglob("*.toml")) and not (tools.home / "run/propcvm/tiny").exists()


@pytest.mark.parametrize("said, status, code", [
    ('{"end":{"status":5,"error":{"code":"x","message":"y"},"uptime_ms":3}}', 5, "x"),
    ('{"end":{"status":5}} and more', 3, None), ('{"end":{"status":5},"results":"5"}', 77, "")])
def test_the_channel_of_results_counts_before_the_console(tools, guest, said, status, code):
    """Whatever stands on the console. What is no end there is a result, and has to be one."""
    then = (f"""echo '{vm_guests.END.strip() % (77, "null")}'; echo '{said}' >&4; """
            f"""echo '{vm_guests.END.strip() % (77, "null")}'; exit 0""")
    r = tools.run(BIN / "propcvm", "vm", "run", guest, *TCG, "--qemu", fake_qemu(tools, then=then), "--json", ok=status)
    if code is not None:
        end = r.json()["end"]
        assert end["status"] == status and end["code"] == code


def test_result_log_and_console_come_out_where_they_belong(tools, guest):
    """Descriptors 4 and 5 are the result and the log."""
    doc = json.dumps({"results": "30\n", "exit_status": 0})
    end = vm_guests.end_line(0).strip()
    then = f"printf '%s\\n' '{doc}' >&4; printf 'a log line\\033[31m\\n' >&5; echo '{end}'"
    r = tools.run(BIN / "propcvm", "vm", "run", guest, *TCG, "--qemu", fake_qemu(tools, then=then))
    assert r.stdout == b"30\n"
    assert "guest: a log line\\x1b[31m" in r.err and "console: propcvm-init: end" in r.err
    j = tools.run(BIN / "propcvm", "vm", "run", guest, *TCG, "--json", "--quiet", "--console", "console.log", "--qemu",
                  fake_qemu(tools, then=then))
    assert j.json()["results"] == [json.loads(doc)] and j.json()["end"]["status"] == 0
    assert (tools / "console.log").read_text() == end + "\n" and (tools / "console.log").stat().st_mode & 0o777 == 0o600
    assert "log line" not in j.err
    bad = tools.run(BIN / "propcvm", "vm", "run", guest, *TCG, "--json", "--qemu",
                    fake_qemu(tools, then="echo '{no json' >&4"), ok=3)
    assert "the guest's result" in bad.error()["message"]


# ---- VMs that boot --------------------------------------------------------------------------------

@pytest.fixture
def qemu():
    return need("qemu-system-x86_64")


def test_a_vm_boots_and_its_last_word_is_the_status(box, qemu):
    guest = vm_guests.folder(box / "guest", "hello from the guest\n" + vm_guests.end_line(7, {
        "code": "kbs-denied", "message": "the key was denied"}))
    r = box.run(BIN / "propcvm", "vm", "run", guest, *TCG, ok=7)
    assert "console: hello from the guest" in r.err and "kbs-denied" in r.err and not r.out
    r = box.run(BIN / "propcvm", "vm", "run", guest, *TCG, "--json", ok=7).json()
    assert r["end"]["code"] == "kbs-denied" and r["end"]["uptime_ms"] == 123 and r["wall_ms"] > 0
    assert not list((box.home / "run/propcvm").iterdir())


def test_a_guest_that_resets_is_lost_and_not_started_again(box, qemu):
    guest = vm_guests.folder(box / "guest", "Kernel panic - not syncing: test\n", after="reset")
    r = box.run(BIN / "propcvm", "vm", "run", guest, *TCG, "--json", ok=6)
    assert r.error()["code"] == "guest-lost" and "Kernel panic" in r.error()["message"]


def test_deadline(box, qemu):
    guest = vm_guests.folder(box / "guest", "waiting\n", after="hang")
    r = box.run(BIN / "propcvm", "vm", "run", guest, *TCG, "--timeout", "3s", "--json", ok=9)
    assert r.error()["code"] == "vm-timeout"
    assert not list((box.home / "run/propcvm").iterdir())


class Vm:
    """A VM that runs until it is stopped; its console in a file."""

    def __init__(self, box, guest, *args):
        self.console = box / f"console-{len(list(box.path.glob('console-*')))}"
        self.err = open(f"{self.console}.err", "wb+")
        self.proc = subprocess.Popen([str(a) for a in (BIN / "propcvm", "vm", "run", guest, *TCG, "--console",
                                                       self.console, *args)],
                                     env=box.env, cwd=box.path, stdout=subprocess.DEVNULL, stderr=self.err,
                                     start_new_session=True)

    def said(self, text):
        wait_for(lambda: self.proc.poll() is not None or
                 self.console.exists() and text in self.console.read_bytes())
        assert self.proc.poll() is None, self.talk()
        return self

    def talk(self):
        self.err.seek(0)
        return self.err.read().decode()

    def end(self, sig):
        self.proc.send_signal(sig)
        return self.proc.wait(60)


@pytest.fixture
def hanging(box):
    return vm_guests.folder(box / "guest", "up and waiting\n", after="hang")


@pytest.mark.parametrize("sig, status", [(signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_a_signal_ends_the_vm(box, qemu, hanging, sig, status):
    vm = Vm(box, hanging).said(b"up and waiting")
    child = child_of(vm.proc.pid)
    assert vm.end(sig) == status
    wait_for(lambda: not running(child))
    assert not list((box.home / "run/propcvm").iterdir())


def test_killed_hard_leaves_no_vm(box, qemu, hanging):
    """kill -9 of propcvm: the kernel ends QEMU, and the name can be used again."""
    vm = Vm(box, hanging).said(b"up and waiting")
    child = child_of(vm.proc.pid)
    vm.end(signal.SIGKILL)
    wait_for(lambda: not running(child))
    again = Vm(box, hanging).said(b"up and waiting")
    assert again.end(signal.SIGTERM) == 130


def test_vm_killed_from_outside(box, qemu, hanging):
    vm = Vm(box, hanging, "--json").said(b"up and waiting")
    os.kill(child_of(vm.proc.pid), signal.SIGKILL)
    assert vm.proc.wait(60) == 7
    assert '"vm-killed"' in vm.talk()


def test_two_side_by_side(box, qemu, hanging):
    """Own names, own ports, same guest; one name runs once."""
    one = Vm(box, hanging, "--name", "one", "--forward", "0:22").said(b"up and waiting")
    two = Vm(box, hanging, "--name", "two", "--forward", "0:22").said(b"up and waiting")
    ports = [vm.talk().split("127.0.0.1:")[1].split()[0] for vm in (one, two)]
    assert ports[0] != ports[1]
    for port in ports:
        with socket.create_connection(("127.0.0.1", int(port)), 10):
            pass
    listening = pathlib.Path(f"/proc/{child_of(one.proc.pid)}/net/tcp").read_text()
    assert f"00000000:{int(ports[0]):04X}" not in listening
    r = box.run(BIN / "propcvm", "vm", "run", hanging, *TCG, "--name", "one", "--json", ok=7)
    assert r.error()["code"] == "vm-running" and "--name" in r.error()["hint"]
    r = box.run(BIN / "propcvm", "vm", "run", hanging, *TCG, "--name", "three", "--forward", f"{ports[0]}:22", "--json",
                ok=7)
    assert r.error()["code"] == "port-in-use"
    assert one.end(signal.SIGTERM) == 130 and two.end(signal.SIGTERM) == 130


def test_console_flood_does_not_fill_memory_or_stop_us(box, qemu):
    guest = vm_guests.folder(box / "guest", "x" * 300, after="flood")
    vm = Vm(box, guest)
    wait_for(lambda: vm.console.exists() and vm.console.stat().st_size > 200_000)
    status = pathlib.Path(f"/proc/{vm.proc.pid}/status").read_text()
    rss = int(status.split("VmRSS:")[1].split()[0])
    assert rss < 64 * 1024 or "asan" in str(BIN)
    assert vm.end(signal.SIGTERM) == 130


def test_disk_full_is_an_error_and_ends_the_vm(box, qemu, hanging):
    r = box.run(BIN / "propcvm", "vm", "run", hanging, *TCG, "--console", "/dev/full", "--json", ok=7)
    assert r.error()["code"] == "console-write" and "No space left" in r.error()["message"]
    assert not list((box.home / "run/propcvm").iterdir())


def test_nothing_of_ours_is_open_in_qemu(box, qemu, hanging):
    """Its descriptors 3 to 5 are sockets; the lock of the name is not among the others."""
    vm = Vm(box, hanging).said(b"up and waiting")
    child = child_of(vm.proc.pid)
    links = {int(f.name): os.readlink(f) for f in pathlib.Path(f"/proc/{child}/fd").iterdir()}
    assert links[0] == "/dev/null" and all(links[i].startswith("socket:") for i in (3, 4, 5))
    assert not any("propcvm/tiny" in target for target in links.values())
    with open(box.home / "run/propcvm/tiny/lock") as f:
        with pytest.raises(BlockingIOError):
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
    assert vm.end(signal.SIGTERM) == 130


def test_vm_all_says_when_the_build_fails(box):
    r = box.run(BIN / "propcvm", "vm", "all", "-o", "g", "--", "--kernel", "no-such-kernel", ok=8)
    assert "no-such-kernel" in r.err and not (box / "g").exists()


# ---- examples/cube --------------------------------------------------------------------------------

@pytest.mark.parametrize("command, mode, memory, cpus", [("start", "none", "10240M", "4"), ("start_cvm", "snp", "10240M", "4"),
                                                         ("start_sev", "snp", "10240M", "4"), ("start_tdx", "tdx", "20480M", "16")])
def test_cubes_commands(tools, guest, command, mode, memory, cpus):
    env = {"CUBE_DIR": str(guest), "CUBE_ASSUME_QEMU": "10.2", "CUBE_VSOCK": "1",
           "CUBE_FIRMWARE": {"snp": "OVMF.amdsev.fd"}.get(mode, "OVMF.fd")}
    argv = shlex.split(tools.run(ROOT / "examples/cube/cube.sh", "--dry-run", command, env=env).out)
    assert argv[argv.index("-m") + 1] == memory and argv[argv.index("-smp") + 1] == cpus
    net = argv[argv.index("-netdev") + 1]
    assert "hostfwd=tcp:127.0.0.1:6190-:22,hostfwd=tcp:127.0.0.1:6193-:7001" in net and "dns=8.8.8.8" in net
    text = " ".join(argv)
    assert ("sev-snp-guest" in text) == (mode == "snp") and ("tdx-guest" in text) == (mode == "tdx")
    assert f"guest-cid={6 if mode == 'tdx' else 198}" in text and "cube-ai-vm" in text
    tools.run(ROOT / "examples/cube/cube.sh", "check", env=env)
    (guest / "vmlinuz").write_bytes(b"another")
    tools.run(ROOT / "examples/cube/cube.sh", "check", env=env, ok=4)
    tools.run(ROOT / "examples/cube/cube.sh", "start_all", env=env, ok=2)


def test_cubes_guest_is_built_and_measured(box):
    """As an operator does it; the firmware that measures kernels is the made one of the test vectors."""
    given = dict(zip(*[iter(unpacked())] * 2))
    (box / "agent.env").write_text("AGENT_LOG_LEVEL=info\n")
    env = {"CUBE_DIR": str(box / "cube"), "CUBE_KERNEL": str(given["--kernel"]), "CUBE_TEE": "sample",
           "CUBE_MODULES": str(given.get("--modules", "")), "CUBE_AGENT_ENV": str(box / "agent.env"),
           "CUBE_FIRMWARE": str(VECTORS / "measure/fw-kernel-hashes.bin")}
    cube = ROOT / "examples/cube/cube.sh"
    box.run(cube, "build", env=env)
    vm = json.loads((box / "cube/vm.json").read_text())
    assert vm["name"] == "cube-ai-vm" and vm["serves"] is True
    assert b"AGENT_LOG_LEVEL=info" in (box / "cube/initrd.img").read_bytes()
    box.run(cube, "check", env=env)
    one = box.run(cube, "measure", env=env).json()
    assert one == box.run(cube, "measure", env=env).json()
    ours = box.run(BIN / "propcvm", "vm", "measure", box / "cube", "--mode", "snp", "--vcpus", "4", "--vcpu-type",
                   "EPYC-v4", "--firmware", env["CUBE_FIRMWARE"], "--format", "reference-values").out
    assert re.findall("[0-9a-f]{96}", ours)[0] in json.dumps(one)
    (box / "agent.env").write_text("AGENT_LOG_LEVEL=none\n")
    env["CUBE_DIR"] = str(box / "other")
    box.run(cube, "build", env=env)
    other = box.run(cube, "measure", env=env).json()
    assert re.findall("[0-9a-f]{96}", ours)[0] not in json.dumps(other)
