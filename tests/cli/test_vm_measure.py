"""propcvm vm measure: the digests of the vectors by the command, every form of its output taken by the
tools it is for, what it refuses, and what it says of evidence."""
import base64
import hashlib
import json
import pathlib
import subprocess

import pytest

from conftest import BIN, need, shared
from measuring import cases, event_log, fixture, replay, sha384, snp_report, tdx_quote

SNP, TDX = cases("snp.json"), cases("tdx.json")
KERNEL = ["--kernel", fixture("kernel.bin"), "--initrd", fixture("initrd.bin")]
DEBIAN = pathlib.Path("/usr/share/ovmf/OVMF.fd")
INIT_DATA = 'version = "0.1.0"\nalgorithm = "%s"\n\n[data]\n"aa.toml" = \'\'\'\nx = 1\n\'\'\'\n'
PROFILES = {(False, 1, "prefix"): "edk2-202508", (False, 1, "suffix"): "edk2-202502",
            (False, 0, "suffix"): "edk2-202408", (True, 1, "prefix"): "edk2-202508+qemu-9.2",
            (True, 1, "suffix"): "edk2-202411+qemu-10.1", (True, 0, "suffix"): "edk2-202305+qemu-10.1"}


@pytest.fixture
def measure(box):
    def run(*args, **kw):
        return box.run("propcvm", "vm", "measure", *args, **kw)
    return run


def snp_args(box, case):
    args = ["--mode", case.get("mode", "snp"), "--firmware", fixture(case["firmware"]), "--vcpus", case["vcpus"]]
    for name in ("kernel", "initrd"):
        if case[name] == "(empty)":
            (box / name).write_bytes(b"")
            args += [f"--{name}", box / name]
        elif case[name]:
            args += [f"--{name}", fixture(case[name])]
    if case["cmdline"] is not None:
        args += ["--append", case["cmdline"]]
    if case.get("vmm"):
        args += ["--vmm", case["vmm"], "--guest-features", case["guest_features"]]
    return args + ["--vcpu-type", case.get("vcpu_type", case["vcpu_sig"])]


@pytest.mark.parametrize("case", SNP["snp"] + SNP["sev"], ids=lambda c: c["name"].replace(" ", "-"))
def test_sev_vectors(box, measure, case):
    doc = measure(*snp_args(box, case), "--json").json()
    assert doc["launch_digest"] == case["launch_digest"]
    assert doc["version"] == 1 and doc["mode"] == case["mode"] and doc["unmeasured"]


@pytest.mark.parametrize("case", TDX["direct_boot"], ids=lambda c: c["name"].replace(" ", "-"))
def test_tdx_vectors(measure, case):
    p = case["profile"]
    profile = PROFILES[p["qemu_patches_kernel_header"], p["ready_to_boot_separator_register"],
                       p["initrd_word"].split()[0]]
    acpi = ["--acpi-table-loader", fixture("acpi-table-loader.bin"), "--acpi-rsdp", fixture("acpi-rsdp.bin"),
            "--acpi-tables", fixture("acpi-tables.bin")]
    doc = measure("--mode", "tdx", "--firmware", fixture(case["firmware"]), "--kernel", fixture(case["kernel"]),
                  "--initrd", fixture(case["initrd"]), "--append", case["cmdline"], "--memory",
                  case["memory_bytes"], "--profile", profile, *acpi, "--json").json()
    mrtd = next(m for m in TDX["mrtd"] if m["firmware"] == case["firmware"])
    assert doc["mr_td"] == mrtd["mrtd"]
    assert doc["rtmr_1"] == [{"profile": profile, "value": case["rtmr1"]}]
    assert doc["rtmr_2"] == [{"profile": profile, "value": case["rtmr2"]}]
    assert doc["tdvfkernel"] == case["kernel_authenticode_sha384"]
    assert doc["tdvfkernelparams"] == case["load_options_sha384"]
    if profile.startswith("edk2-202508"):  # that firmware measures more than files tell
        assert "rtmr_0" not in doc and any("rtmr_0: not computed" in u for u in doc["unmeasured"])
    else:
        assert doc["rtmr_0"] == [{"profile": profile, "value": case["rtmr0"]}]


def test_tdx_orders_and_all_profiles(measure):
    args = ["--mode", "tdx", "--firmware", fixture("fw-tdx.bin"), *KERNEL, "--append", "console=ttyS0 ro"]
    doc = measure(*args, "--profile", "all", "--memory", "2G", "--mrtd-order", "both", "--json").json()
    want = TDX["mrtd"][0]
    assert [v["value"] for v in doc["mr_td"]] == [want["mrtd"], want["mrtd_two_pass"]]
    assert len(doc["rtmr_1"]) == len(doc["rtmr_2"]) == len(doc["profiles"]) == 6
    assert "tdvfkernel" not in doc  # two kinds of kernel: no single value
    for case in TDX["direct_boot"]:
        if case["memory_bytes"] == 2 << 30 and case["cmdline"] == "console=ttyS0 ro":
            assert case["rtmr1"] in [v["value"] for v in doc["rtmr_1"]]
            assert case["rtmr2"] in [v["value"] for v in doc["rtmr_2"]]
    r = measure(*args, "--profile", "edk2-202411+qemu-10.1", "--json", ok=2)
    assert r.error()["code"] == "memory-needed"
    r = measure(*args, "--profile", "edk2-202211", "--json", ok=2)
    assert r.error()["code"] == "bad-profile"


def test_sweep_names_each_value(measure):
    doc = measure("--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), *KERNEL, "--append",
                  "console=ttyS0 loglevel=7", "--vcpus", "1-2,4", "--vcpus", "2", "--vcpu-type", "EPYC-v4",
                  "--vcpu-type", "EPYC-Milan", "--guest-features", "0x1,0x21", "--json").json()
    values = doc["launch_digest"]
    assert len(values) == 3 * 2 * 2 and len({v["name"] for v in values}) == 12
    found = {(v["vcpus"], v["vcpu_type"], v["guest_features"]): v["value"] for v in values}
    for case in SNP["snp"]:
        key = (case["vcpus"], case.get("vcpu_type"), case["guest_features"])
        if case["cmdline"] == "console=ttyS0 loglevel=7" and case["vmm"] == "qemu":
            assert found[key] == case["launch_digest"]


def test_table_says_what_is_not_measured(measure):
    r = measure("--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), *KERNEL)
    assert "not measured\n" in r.out and "host_data is not pinned" in r.out
    digest = SNP["snp"][4]["launch_digest"]
    assert digest in r.out and "EPYC-v4" in r.out
    assert measure("--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), *KERNEL).out == r.out


def test_pipes_and_folders(box, measure):
    args = ["--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), "--initrd", fixture("initrd.bin"),
            "--append", "console=ttyS0 loglevel=7", "--json"]
    doc = measure(*args, "--kernel", "-", stdin=fixture("kernel.bin").read_bytes()).json()
    assert doc["launch_digest"] == SNP["snp"][0]["launch_digest"]
    assert measure(*args, "--kernel", box.path, ok=7).error()["code"] == "not-a-file"
    assert measure(*args, "--kernel", box / "absent", ok=8).error()["code"] == "not-found"


# --- refusals ------------------------------------------------------------------------------------

def damaged(box, entry):
    data = bytearray(fixture(entry.get("firmware", "fw-tdx.bin")).read_bytes())
    for p in entry.get("patch", []):
        data[p["offset"]:p["offset"] + len(p["hex"]) // 2] = bytes.fromhex(p["hex"])
    path = box / "damaged.fd"
    path.write_bytes(data[entry.get("truncate_front", 0):])
    return path


@pytest.mark.parametrize("mode,entry", [("snp", e) for e in SNP["must_refuse"]] + [("tdx", e) for e in TDX["must_refuse"]],
                         ids=lambda x: x if isinstance(x, str) else x["name"].replace(" ", "-"))
def test_must_refuse(box, measure, mode, entry):
    kernel = ["--kernel", fixture(entry["kernel"])] if entry.get("kernel") else []
    before = sorted(box.path.rglob("*"))
    fw = damaged(box, entry)
    for fmt in ([], ["--json"], ["--format", "reference-values"], ["--format", "rule"]):
        r = measure("--mode", mode, "--firmware", fw, *kernel, *fmt, ok=None)
        assert r.returncode in (3, 9) and r.out == "" and r.err.strip()
        assert sorted(box.path.rglob("*")) == sorted(before + [fw])


def test_kernel_with_firmware_that_cannot_measure_it(box, measure):
    for mode in ("snp", "sev", "sev-es"):
        r = measure("--mode", mode, "--firmware", fixture("fw-no-kernel-hashes.bin"), *KERNEL, "--json", ok=9)
        e = r.error()
        assert e["code"] == "firmware-cannot-measure" and "AmdSev" in e["hint"] and "202402" in e["hint"]
        assert r.out == ""


def debian_firmware():
    want = SNP["snp_distribution_firmware"]["sha256"]
    if not DEBIAN.exists() or hashlib.sha256(DEBIAN.read_bytes()).hexdigest() != want:
        pytest.skip(f"no {DEBIAN} of Debian's ovmf 2022.11-6+deb12u2")
    return DEBIAN


@pytest.mark.parametrize("mode", ["snp", "sev", "sev-es", "tdx"])
def test_debian_12_firmware_measures_no_kernel(measure, mode):
    fw = debian_firmware()
    r = measure("--mode", mode, "--firmware", fw, *KERNEL, "--append", "quiet", "--json", ok=9)
    e = r.error()
    assert e["code"] == "firmware-cannot-measure" and "edk2-stable" in e["hint"] and r.out == ""


def test_debian_12_firmware_alone(measure):
    fw = debian_firmware()
    for case in SNP["snp_distribution_firmware"]["cases"]:
        r = measure("--mode", "snp", "--firmware", fw, "--vcpus", case["vcpus"], "--vcpu-type", case["vcpu_type"],
                    "--guest-features", case["guest_features"], "--json")
        assert r.json()["launch_digest"] == case["launch_digest"]
        assert "only the firmware is measured" in r.err
    doc = measure("--mode", "tdx", "--firmware", fw, "--mrtd-order", "both", "--json").json()
    d = TDX["distribution_firmware"]
    assert [v["value"] for v in doc["mr_td"]] == [d["mrtd"], d["mrtd_two_pass"]]
    assert any(u.startswith("rtmr_1") for u in doc["unmeasured"]) and "rtmr_1" not in doc


@pytest.mark.parametrize("args,code", [
    ([], "missing-option"),
    (["--mode", "snp"], "missing-option"),
    (["--mode", "sgx", "--firmware", "x"], "bad-mode"),
    (["--mode", "snp", "--firmware", "FW", "--initrd", "x"], "missing-option"),
    (["--mode", "snp", "--firmware", "FW", "--append", "x"], "missing-option"),
    (["--mode", "snp", "--firmware", "FW", "--vcpus", "0"], "bad-vcpus"),
    (["--mode", "snp", "--firmware", "FW", "--vcpus", "4-2"], "bad-vcpus"),
    (["--mode", "snp", "--firmware", "FW", "--vcpus", "1,,2"], "bad-option-value"),
    (["--mode", "snp", "--firmware", "FW", "--vcpus", "99999"], "bad-vcpus"),
    (["--mode", "snp", "--firmware", "FW", "--vcpus", "1-4096", "--guest-features", "0x1,0x21"], "over-limit"),
    (["--mode", "snp", "--firmware", "FW", "--vcpu-type", "host"], "bad-vcpu-type"),
    (["--mode", "snp", "--firmware", "FW", "--guest-features", "0x20"], "bad-guest-features"),
    (["--mode", "snp", "--firmware", "FW", "--guest-features", "yes"], "bad-guest-features"),
    (["--mode", "snp", "--firmware", "FW", "--vmm", "xen"], "bad-vmm"),
    (["--mode", "snp", "--firmware", "FW", "--profile", "newest"], "option-not-for-mode"),
    (["--mode", "tdx", "--firmware", "FW", "--vmm", "ec2"], "option-not-for-mode"),
    (["--mode", "tdx", "--firmware", "FW", "--mrtd-order", "x"], "bad-mrtd-order"),
    (["--mode", "tdx", "--firmware", "FW", "--acpi-rsdp", "FW"], "missing-option"),
    (["--mode", "snp", "--firmware", "FW", "--format", "xml"], "bad-format"),
    (["--mode", "snp", "--firmware", "FW", "--ccel", "x"], "missing-option"),
    (["--mode", "snp", "--firmware", "FW", "--id-block", "x"], "missing-option"),
    (["--mode", "sev", "--firmware", "FW", "--init-data", "x"], "option-not-for-mode"),
    (["--mode", "snp", "--firmware", "FW", "--id-block", "x", "--id-auth", "x", "--id-key", "k"], "conflicting-options"),
    (["--mode", "snp", "--firmware", "-", "--kernel", "-"], "conflicting-options"),
    (["--mode", "snp", "--firmware", "FW", "folder", "--kernel", "x"], "conflicting-options"),
], ids=lambda a: "-".join(a[1:])[:60].replace("/", "_") if isinstance(a, list) else a)
def test_usage(measure, args, code):
    args = [fixture("fw-kernel-hashes.bin") if a == "FW" else a for a in args]
    r = measure(*args, "--json", ok=None)
    assert r.error()["code"] == code and r.returncode in (2, 9) and r.out == ""


def test_host_model_says_why(measure):
    r = measure("--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), "--vcpu-type", "host", ok=2)
    assert "depends on the machine" in r.err


def test_command_line_that_is_not_ascii(measure):
    r = measure("--mode", "tdx", "--firmware", fixture("fw-tdx.bin"), *KERNEL, "--append", "name=café", "--json")
    assert "not ASCII" in r.err and any("not ASCII" in w for w in r.json()["warnings"])
    assert r.json()["rtmr_2"][0]["value"] == TDX["direct_boot"][5]["rtmr2"]


def kernel_of(box, release, guid=b""):
    kernel = bytearray(fixture("kernel.bin").read_bytes())
    at = len(kernel) - 64
    kernel[at:at + len(release) + 5] = release.encode() + b" (x)\0"
    kernel[at + 40:at + 40 + len(guid)] = guid
    kernel[0x20e:0x210] = (at - 0x200).to_bytes(2, "little")
    path = box / "kernel"
    path.write_bytes(kernel)
    return path


def test_kernel_that_measures_no_command_line(box, measure):
    guid = bytes.fromhex("3d1a7596f472a641a794ed5d0e67ae6b")
    args = ["--mode", "tdx", "--firmware", fixture("fw-tdx.bin"), "--initrd", fixture("initrd.bin"), "--append",
            "quiet", "--json", "--kernel"]
    r = measure(*args, kernel_of(box, "6.1.0-37-amd64"), ok=9)
    assert r.error()["code"] == "kernel-cannot-measure" and "6.1.0-37-amd64" in r.error()["message"] and r.out == ""
    for release, stub in (("6.9.1", b""), ("6.12.0-x", b""), ("5.14.0-503.el9", guid)):  # carried back by a vendor
        assert measure(*args, kernel_of(box, release, stub)).json()["rtmr_2"][0]["value"] != "0" * 96
    # A guest that runs already can be looked at; SNP measures the same files in another way.
    path = evidence(box, tdx_quote(TDX["mrtd"][0]["mrtd"], [bytes(48)] * 4))
    doc = measure(*args, kernel_of(box, "6.1.0-37-amd64"), "--check", path, ok=1).json()
    assert [d["what"] for d in doc["differences"]] == ["rtmr_1"]
    args[1:4] = ["snp", "--firmware", fixture("fw-kernel-hashes.bin")]
    assert measure(*args, kernel_of(box, "6.1.0-37-amd64")).json()["launch_digest"]


@pytest.mark.parametrize("mode", ["snp", "tdx"])
def test_a_changed_bit_changes_the_result(box, measure, mode):
    fw = "fw-kernel-hashes.bin" if mode == "snp" else "fw-tdx.bin"
    names = {"--firmware": fw, "--kernel": "kernel.bin", "--initrd": "initrd.bin"}

    def digests(append="quiet", changed=None):
        args = ["--mode", mode]
        for option, name in names.items():
            data = bytearray(fixture(name).read_bytes())
            if option == changed:
                data[len(data) // 2] ^= 1
            (box / name).write_bytes(data)
            args += [option, box / name]
        doc = measure(*args, "--append", append, "--json").json()
        return {k: doc[k] for k in ("launch_digest", "mr_td", "rtmr_1", "rtmr_2") if k in doc}

    first = digests()
    seen = [first] + [digests(changed=option) for option in names] + [digests(append="quiet ")]
    assert len({json.dumps(s) for s in seen}) == 5
    assert digests() == first


# --- init-data and the guest folder ----------------------------------------------------------------

def test_init_data_is_pinned(box, measure):
    for alg, host in (("sha256", 32), ("sha384", 32), ("sha512", 32)):
        text = (INIT_DATA % alg).encode()
        (box / "init.toml").write_bytes(text)
        digest = hashlib.new(alg, text).digest()
        args = ["--firmware", fixture("fw-kernel-hashes.bin"), "--init-data", box / "init.toml", "--json"]
        doc = measure("--mode", "snp", *args).json()
        assert doc["host_data"] == digest[:host].hex()
        doc = measure("--mode", "tdx", *args).json()
        assert doc["mr_config_id"] == digest.ljust(48, b"\0")[:48].hex()
        assert not any("init-data" in u for u in doc["unmeasured"])
        assert doc["init_data"] == f"{'sha256' if alg == 'sha256' else 'sha384'}:{digest[:48].hex()}"
    (box / "init.toml").write_text(INIT_DATA % "sha-384")
    assert measure("--mode", "snp", *args, ok=9).error()["code"] == "init-data-algorithm"


def guest(box, **drivers):
    folder = box / "guest"
    folder.mkdir()
    init = (INIT_DATA % "sha384").encode()
    files = {"vmlinuz": fixture("kernel.bin").read_bytes(), "initrd.img": fixture("initrd.bin").read_bytes(),
             "initdata.toml": init}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    sha = {n: "sha256:" + hashlib.sha256(d).hexdigest() for n, d in files.items()}
    (folder / "vm.json").write_text(json.dumps({
        "version": 1, "name": "demo", "kernel": "vmlinuz", "initrd": "initrd.img",
        "append": "console=ttyS0 loglevel=7", "init_data": "initdata.toml", "kernel_release": "6.12.0", "tee": "auto",
        "drivers": {"virtio_net": True, "fw_cfg": True, "sev_guest": True, "tdx_guest": True, **drivers},
        "digests": {"kernel": sha["vmlinuz"], "initrd": sha["initrd.img"],
                    "init_data": {"sha256": hashlib.sha256(init).hexdigest(), "sha384": hashlib.sha384(init).hexdigest()}}}))
    return folder, init


def test_guest_folder(box, measure):
    folder, init = guest(box, tdx_guest=False)
    args = ["--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), folder, "--json"]
    doc = measure(*args).json()
    assert doc["launch_digest"] == SNP["snp"][0]["launch_digest"]
    assert doc["name"] == "demo" and doc["init_data"] == "sha384:" + hashlib.sha384(init).hexdigest()
    r = measure("--mode", "tdx", "--firmware", fixture("fw-tdx.bin"), folder)
    assert "no driver" in r.err
    (folder / "initrd.img").write_bytes(b"another")
    assert measure(*args, ok=4).error()["code"] == "guest-changed"
    assert measure("--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), box / "none", "--json",
                   ok=8).error()["code"] == "no-guest"


# --- what the other tools make of it ---------------------------------------------------------------

def test_chain_to_key_broker_and_policy(box, measure, kbs):
    folder, init = guest(box)
    admin = ["--kbs", kbs.url, "--admin-key", kbs.admin_key]
    snp = ["--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), "--vcpus", "1,2", folder]
    tdx = ["--mode", "tdx", "--firmware", fixture("fw-tdx.bin"), folder]
    (box / "m.json").write_text(measure(*snp, "--json").out)
    (box / "t.json").write_text(measure(*tdx, "--format", "json").out)
    (box / "r.json").write_text(measure(*tdx, "--format", "reference-values").out)
    box.run("propkey", "reference-value", "import", box / "m.json", *admin)
    box.run("propkey", "reference-value", "import", box / "t.json", *admin)
    got = box.run("propkey", "reference-value", "get", "--all-known", "--json", *admin).json()["values"]
    digests = [v["value"] for v in json.loads((box / "m.json").read_text())["launch_digest"]]
    t = json.loads((box / "t.json").read_text())
    assert got["snp_launch_measurement"] == digests
    assert got["mr_td"] == [t["mr_td"]] and got["rtmr_1"] == [t["rtmr_1"][0]["value"]]
    assert got["tdvfkernel"] == t["tdvfkernel"] and "mode" not in got
    reference = json.loads((box / "r.json").read_text())
    assert reference == {k: got[k] for k in ("mr_td", "rtmr_1", "rtmr_2", "tdvfkernel", "tdvfkernelparams")}
    box.run("propkey", "reference-value", "import", box / "r.json", *admin)
    # A rule that says "as measured".
    (box / "policy.json").write_text(json.dumps({"version": 1, "rule": [
        {"resource": "default/key/app", "tee": tee, "measured": "demo"} for tee in ("snp", "tdx")]}))
    rego = box.run("propkey", "policy", "build", box / "policy.json", "--measured", box / "m.json", "--measured",
                   box / "t.json").out
    for pin in digests + [t["mr_td"], t["rtmr_1"][0]["value"], t["rtmr_2"][0]["value"],
                          hashlib.sha384(init).hexdigest()]:
        assert pin[:64] in rego
    # A rule on the command line.
    rules = [measure(*a, "--format", "rule").out.strip() for a in (snp, tdx)]
    assert rules[0].startswith("tee=snp,measurement=sha384:" + digests[0]) and ",init_data=sha384:" in rules[0]
    box.run("propkey", "policy", "add", "--resource", "default/key/app", "--allow", rules[0], "--allow", rules[1],
            "--policy-doc", box / "doc.toml", "--replace-policy", *admin)
    doc = (box / "doc.toml").read_text()
    for pin in digests + [t["mr_td"], t["rtmr_1"][0]["value"], t["rtmr_2"][0]["value"]]:
        assert pin in doc
    assert doc.count(hashlib.sha384(init).hexdigest()) == 2


def test_policy_admits_what_was_measured(box, measure):
    """A made SNP token of that launch is let in; one of an image that differs in a byte is not."""
    folder, init = guest(box)
    args = ["--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), "--json"]
    doc = measure(*args, folder).json()
    (box / "m.json").write_text(json.dumps(doc))
    initrd = bytearray(fixture("initrd.bin").read_bytes())
    initrd[7] ^= 1
    (box / "initrd").write_bytes(initrd)
    other = measure(*args, "--kernel", fixture("kernel.bin"), "--initrd", box / "initrd", "--append",
                    "console=ttyS0 loglevel=7").json()["launch_digest"]
    (box / "policy.json").write_text(json.dumps({"version": 1, "rule": [
        {"resource": "default/key/app", "tee": "snp", "measured": True}]}))
    box.run("propkey", "policy", "build", box / "policy.json", "--measured", box / "m.json", "-o", box / "policy.rego")
    claims = {"policy_debug_allowed": False, "policy_migrate_ma": False}

    def made(measurement, init_data):
        return {"status": "affirming", "evidence": {"init_data": init_data, "snp": {"measurement": measurement, **claims}}}

    good = doc["host_data"]
    cases = [("launch", doc["launch_digest"], good, "allow"), ("image", other, good, "deny"),
             ("init-data", doc["launch_digest"], "00" * 32, "deny")]
    (box / "cases.json").write_text(json.dumps({
        "version": 1, "default": {"resource": "default/key/app"},
        "guest": {name: made(m, i) for name, m, i, _ in cases},
        "case": [{"name": name, "guest": name, "expect": want} for name, _, _, want in cases]}))
    box.run("propkey", "policy", "test", box / "policy.rego", box / "cases.json")


def test_no_rule_for_plain_sev(measure):
    args = ["--mode", "sev-es", "--firmware", fixture("fw-kernel-hashes.bin"), "--json"]
    for fmt in ("rule", "reference-values"):
        assert measure(*args, "--format", fmt, ok=9).error()["code"] == "measurement-tee"
    assert "no key broker" in measure(*args).err


def test_id_block(box, measure):
    openssl = need("openssl")
    for name in ("id", "author"):
        box.run(openssl, "ecparam", "-name", "secp384r1", "-genkey", "-noout", "-out", box / f"{name}.pem")
        (box / f"{name}.pem").chmod(0o600)
    out = ["--id-block", box / "block", "--id-auth", box / "auth", "--id-key", box / "id.pem"]
    args = ["--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), *KERNEL, "--append",
            "console=ttyS0 loglevel=7", "--json"]
    assert measure(*args, *out, "--vcpus", "1,2", ok=2).error()["code"] == "several-digests"
    assert measure(*args, *out, "--policy", "0x10000", ok=2).error()["code"] == "bad-policy"
    assert measure(*args, *out, "--family-id", "00", ok=2).error()["code"] == "bad-option-value"
    assert not (box / "block").exists() and not (box / "auth").exists()
    doc = measure(*args, *out, "--author-key", box / "author.pem", "--guest-svn", "7", "--image-id", "ab" * 16).json()
    block = base64.b64decode((box / "block").read_text())
    auth = base64.b64decode((box / "auth").read_text())
    assert len(block) == 96 and len(auth) == 4096
    assert block[:48].hex() == doc["launch_digest"] == SNP["snp"][0]["launch_digest"]
    assert block[64:80] == b"\xab" * 16 and block[80:] == (1).to_bytes(4, "little") + (7).to_bytes(4, "little") + (
        0x30000).to_bytes(8, "little")
    assert doc["id_key_digest"] == hashlib.sha384(auth[576:1604]).hexdigest()
    assert doc["author_key_digest"] == hashlib.sha384(auth[2176:3204]).hexdigest()
    for key, data, sig in (("id", block, auth[64:576]), ("author", auth[576:1604], auth[1664:2176])):
        numbers = [int.from_bytes(sig[i:i + 72], "little") for i in (0, 72)]
        der = b"".join(b"\x02" + bytes([n.bit_length() // 8 + 1]) + n.to_bytes(n.bit_length() // 8 + 1, "big")
                       for n in numbers)
        (box / "sig").write_bytes(b"\x30" + bytes([len(der)]) + der)
        (box / "data").write_bytes(data)
        box.run(openssl, "dgst", "-sha384", "-prverify", box / f"{key}.pem", "-signature", box / "sig", box / "data")
    assert measure(*args, *out, ok=7).error()["code"] == "file-exists"
    box.run(openssl, "genpkey", "-algorithm", "ed25519", "-out", box / "ed.pem")
    (box / "ed.pem").chmod(0o600)
    out[-1] = box / "ed.pem"
    assert measure(*args, *out, "--force", ok=3).error()["code"] == "id-key"
    assert base64.b64decode((box / "auth").read_text()) == auth


# --- evidence ------------------------------------------------------------------------------------

SNP_ARGS = ["--mode", "snp", "--firmware", fixture("fw-kernel-hashes.bin"), *KERNEL, "--append",
            "console=ttyS0 loglevel=7"]


def check_snp(box, measure, digest, *args, status=0, **report):
    (box / "report").write_bytes(snp_report(digest, **report))
    return measure(*SNP_ARGS, *args, "--check", box / "report", "--json", ok=status).json()


def test_check_snp_matches(box, measure):
    one, two = (SNP["snp"][i]["launch_digest"] for i in (0, 1))
    doc = check_snp(box, measure, one)
    assert doc["match"] is True and doc["compared"] == ["launch_digest"] and not doc["differences"]
    doc = check_snp(box, measure, two, "--vcpus", "1,2", "--vcpu-type", "EPYC-v4,EPYC-Milan")
    assert doc["match"] is True and doc["values"] == {"launch_digest": "2 x EPYC-Milan"}
    doc = check_snp(box, measure, one, policy=0x30000 | 1 << 19)
    assert any("debugged" in n for n in doc["notes"])


@pytest.mark.parametrize("launch,says", [
    (["--vcpus", "3"], "--vcpus 3"),
    (["--vcpu-type", "EPYC-Milan"], "--vcpu-type EPYC-Milan"),
    (["--vcpus", "16", "--vcpu-type", "EPYC-Genoa"], "--vcpus 16 --vcpu-type EPYC-Genoa"),
    (["--guest-features", "0x21"], "--guest-features 0x21"),
    (["--vmm", "gce", "--vcpus", "2"], "--vmm gce --vcpus 2"),
    (["--vcpu-type", "25.33.2"], "--vcpu-type 25.33.2"),
], ids=lambda x: x if isinstance(x, str) else "")
def test_check_snp_names_the_neighbour(box, measure, launch, says):
    digest = measure(*SNP_ARGS, *launch, "--json").json()["launch_digest"]
    doc = check_snp(box, measure, digest, status=1, cpu=(25, 33, 2))
    assert doc["match"] is False and doc["this_is"] == says
    assert doc["differences"][0]["what"] == "launch_digest" and doc["differences"][0]["got"] == digest
    r = measure(*SNP_ARGS, "--check", box / "report", ok=1)
    assert f"this is {says}\n" in r.out


def test_check_snp_inputs_left_out(box, measure):
    for left_out, says in ((SNP_ARGS[:-2], "without --append"), (SNP_ARGS[:4], "without --kernel")):
        digest = measure(*left_out, "--json").json()["launch_digest"]
        assert check_snp(box, measure, digest, status=1)["this_is"].startswith(says)
    doc = check_snp(box, measure, "ab" * 48, status=1)
    assert "this_is" not in doc and doc["match"] is False


def test_check_init_data(box, measure):
    text = (INIT_DATA % "sha384").encode()
    (box / "init.toml").write_bytes(text)
    one, bound = SNP["snp"][0]["launch_digest"], hashlib.sha384(text).digest()[:32]
    doc = check_snp(box, measure, one, "--init-data", box / "init.toml", host_data=bound)
    assert doc["match"] and doc["compared"] == ["launch_digest", "host_data"]
    doc = check_snp(box, measure, one, "--init-data", box / "init.toml", status=1)
    assert [d["what"] for d in doc["differences"]] == ["host_data"]
    assert any("init-data" in n for n in check_snp(box, measure, one, host_data=bound)["notes"])


def tdx_launch(case, config=bytes(48)):
    """Quote and log of a direct boot as the vectors have it."""
    events = [(reg, 0x80000003, bytes.fromhex(d), f"event {i} of {reg}".encode())
              for reg in (0, 1, 2) for i, d in enumerate(case[f"rtmr{reg}_events"])]
    mrtd = next(m["mrtd"] for m in TDX["mrtd"] if m["firmware"] == case["firmware"])
    registers = [replay([e[2] for e in events if e[0] == r]) for r in range(4)]
    return mrtd, registers, events


def tdx_args(case):
    return ["--mode", "tdx", "--firmware", fixture(case["firmware"]), "--kernel", fixture(case["kernel"]), "--initrd",
            fixture(case["initrd"]), "--append", case["cmdline"]]


def evidence(box, quote, log=None):
    path = box / "evidence.json"
    path.write_text(json.dumps({"quote": base64.b64encode(quote).decode(),
                                "cc_eventlog": base64.b64encode(log).decode() if log else None}))
    return path


def test_check_tdx_matches(box, measure):
    case = TDX["direct_boot"][3]
    mrtd, registers, events = tdx_launch(case)
    path = evidence(box, tdx_quote(mrtd, registers), event_log(events))
    doc = measure(*tdx_args(case), "--check", path, "--json").json()
    assert doc["match"] is True and doc["compared"] == ["mr_td", "rtmr_1", "rtmr_2"]
    assert doc["values"]["rtmr_1"] == "edk2-202508"
    raw = box / "quote"
    raw.write_bytes(tdx_quote(mrtd, registers))
    assert measure(*tdx_args(case), "--check", raw, "--json").json()["match"] is True
    r = measure(*SNP_ARGS, "--check", raw, "--json", ok=2)
    assert r.error()["code"] == "wrong-evidence"


@pytest.mark.parametrize("i,says", [(0, "--profile edk2-202508+qemu-9.2 --memory 2G"), (1, "--memory 512M"),
                                    (4, "--profile edk2-202305+qemu-10.1 --memory 2G")])
def test_check_tdx_names_the_profile(box, measure, i, says):
    case = TDX["direct_boot"][i]
    mrtd, registers, events = tdx_launch(case)
    path = evidence(box, tdx_quote(mrtd, registers), event_log(events))
    doc = measure(*tdx_args(case), "--check", path, "--json", ok=1).json()
    assert doc["match"] is False and doc["first_event"]["register"] == "rtmr_1"
    if i == 0:  # the word behind the command line, not before it: the newest such profile
        says = "--profile edk2-202411+qemu-10.1 --memory 2G"
    assert says in doc["this_is"]
    # Without a log the sizes of memory are tried.
    doc = measure(*tdx_args(case), "--check", evidence(box, tdx_quote(mrtd, registers)), "--json", ok=1).json()
    assert says in doc["this_is"] and "first_event" not in doc and doc["event_log"] == "none"


def test_check_tdx_names_the_first_event(box, measure):
    case = TDX["direct_boot"][3]
    mrtd, registers, events = tdx_launch(case)
    for register, n, what in ((1, 0, "kernel"), (1, 2, "separator"), (2, 0, "command line"), (2, 1, "initrd")):
        changed, seen = list(events), -1
        for k, e in enumerate(events):
            seen += e[0] == register
            if e[0] == register and seen == n:
                changed[k] = (e[0], e[1], sha384(b"another"), b"another thing")
        values = [replay([e[2] for e in changed if e[0] == r]) for r in range(4)]
        path = evidence(box, tdx_quote(mrtd, values), event_log(changed))
        doc = measure(*tdx_args(case), "--check", path, "--json", ok=1).json()
        first = doc["first_event"]
        assert (first["register"], first["event"], first["what"]) == (f"rtmr_{register}", n + 1, what)
        assert first["got"] == sha384(b"another").hex() and first["text"] == "another thing"
        r = measure(*tdx_args(case), "--check", path, ok=1)
        assert f"first event that differs: number {n + 1} of rtmr_{register} ({what})" in r.out
    extra = events + [(2, 0x6, sha384(b"more"), b"more than that")]
    values = [replay([e[2] for e in extra if e[0] == r]) for r in range(4)]
    path = evidence(box, tdx_quote(mrtd, values), event_log(extra))
    first = measure(*tdx_args(case), "--check", path, "--json", ok=1).json()["first_event"]
    assert first["event"] == 3 and first["expected"] is None and first["text"] == "more than that"


def test_check_tdx_log_apart_and_log_that_lies(box, measure):
    case = TDX["direct_boot"][3]
    mrtd, registers, events = tdx_launch(case)
    (box / "ccel").write_bytes(event_log(events) + b"\xff" * 64)
    path = evidence(box, tdx_quote(mrtd, registers))
    doc = measure(*tdx_args(case), "--check", path, "--ccel", box / "ccel", "--json").json()
    assert doc["match"] is True and doc["event_log"] == "replays"
    (box / "ccel").write_bytes(event_log(events[:-1]))
    doc = measure(*tdx_args(case), "--check", path, "--ccel", box / "ccel", "--json").json()
    assert doc["match"] is True and doc["event_log"] == "does not replay to rtmr_2" and doc["notes"]
    (box / "ccel").write_bytes(b"no log at all")
    assert measure(*tdx_args(case), "--check", path, "--ccel", box / "ccel", "--json", ok=3).error()["code"] == "event-log"


def test_check_tdx_old_order_of_pages(box, measure):
    case = TDX["direct_boot"][3]
    _, registers, _ = tdx_launch(case)
    path = evidence(box, tdx_quote(TDX["mrtd"][0]["mrtd_two_pass"], registers))
    doc = measure(*tdx_args(case), "--check", path, "--json", ok=1).json()
    assert doc["this_is"] == "--mrtd-order two-pass"
    assert measure(*tdx_args(case), "--mrtd-order", "both", "--check", path, "--json").json()["match"] is True


def test_check_refuses_what_is_no_evidence(box, measure):
    for data in (b"", b"{}", b"x" * 1184, b'{"svn":"1","report_data":"AA=="}'):
        (box / "e").write_bytes(data)
        r = measure(*SNP_ARGS, "--check", box / "e", "--json", ok=None)
        assert r.returncode in (3, 9) and r.error()["code"] and r.out == ""


def test_recorded_snp_report(box, measure):
    """A real machine's report is read, and is not ours."""
    report = json.loads(shared("fixtures", "measure", "snp-report-v3-genoa.json").read_text())
    body = next(v for v in report.values() if isinstance(v, dict) and "attestation_report" in v)
    (box / "e.json").write_text(json.dumps(body))
    doc = measure(*SNP_ARGS, "--check", box / "e.json", "--json", ok=1).json()
    assert doc["match"] is False


def test_needs_no_privileges(box):
    """The same digest for nobody, with no network."""
    unshare = need("unshare")
    argv = [unshare, "--user", "--net", BIN / "propcvm", "vm", "measure", *SNP_ARGS, "--json"]
    p = subprocess.run([str(a) for a in argv], capture_output=True, env=box.env, cwd=box.path)
    if b"unshare" in p.stderr and p.returncode:
        pytest.skip("no user namespaces here")
    assert json.loads(p.stdout)["launch_digest"] == SNP["snp"][0]["launch_digest"]
