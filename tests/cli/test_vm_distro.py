"""propcvm vm build --distro-image: the disk, the seed, and what can be wrong with them."""
import base64
import json
import os
import re
import struct

import pytest

from conftest import BIN, ROOT, VECTORS, need
from vm_guests import TCG, host

ED25519 = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + bytes(range(32))).decode() + " me@here"
TEXT = b"booted from the image under the disk\r\n"


def raw_image(path, text=TEXT):
    """A raw disk whose boot sector writes a text to COM1 and powers q35 off."""
    code = bytearray.fromhex("31c0 8ed8 be0000 ac 84c0 7410 50 bafd03 ec a820 74fb 58 baf803 ee ebeb ba0406 b80020 ef f4 ebfd")
    struct.pack_into("<H", code, 5, 0x7c00 + len(code))
    sector = (bytes(code) + text + b"\0").ljust(510, b"\0") + b"\x55\xaa"
    path.write_bytes(sector + bytes(1 << 20))
    return path


def qcow2_head(backing=0, version=3, size=1 << 30, crypt=0, incompatible=0):
    head = struct.pack(">4sIQIIQI", b"QFI\xfb", version, backing, 0, 16, size, crypt)
    return (head.ljust(72, b"\0") + struct.pack(">Q", incompatible)).ljust(65536, b"\0")


def iso_files(data):
    """Root files of an ISO 9660 volume, by their Joliet names; and the volume's id."""
    volume = data[16 * 2048 + 40:16 * 2048 + 72].decode().strip()
    at = next(i for i in range(16, 32) if data[i * 2048:i * 2048 + 6] == b"\x02CD001")
    record = data[at * 2048 + 156:]
    start, size = struct.unpack_from("<I4xI", record, 2)
    folder, files = data[start * 2048:start * 2048 + size], {}
    while folder and folder[0]:
        extent, length = struct.unpack_from("<I4xI", folder, 2)
        name = folder[33:33 + folder[32]]
        if len(name) > 1:
            files[name.decode("utf-16-be").split(";")[0]] = data[extent * 2048:extent * 2048 + length]
        folder = folder[folder[0]:]
    return volume, files


def build(box, *args, ok=True, env=None):
    return box.run(BIN / "propcvm", "vm", "build", "-o", "vm", "--distro-image", "base.img", *args, ok=ok,
                   env={"TMPDIR": str(box.path), **(env or {})})


def seed(box):
    return iso_files((box / "vm/seed.iso").read_bytes())


def user_data(box):
    text = seed(box)[1]["user-data"].decode()
    assert text.startswith("#cloud-config\n")
    return json.loads(text.split("\n", 1)[1])


@pytest.fixture
def image(box):
    (box / "me.pub").write_text(ED25519 + "\n")
    return raw_image(box / "base.img")


def test_seed_and_disk(box, image):
    before = image.read_bytes()
    env = {"PROPLET_TENANT_ID": "a|b&c\"d\\e$f`g'h é", "PROPLET_API_KEY": "the secret|&\\1", "KBS_URL": ""}
    r = build(box, "--ssh-key", "me.pub", "--kbs", "https://kbs.example.com", "--name", "pro", "--json", env=env).json()
    volume, files = seed(box)
    assert volume == "CIDATA" and set(files) == {"user-data", "meta-data", "propcvm.cpio"}
    assert (box / "vm/seed.iso").stat().st_mode & 0o777 == 0o600 and (box / "vm").stat().st_mode & 0o777 == 0o700
    assert json.loads(files["meta-data"]) == {"instance-id": r["instance_id"], "local-hostname": "pro"}
    user = user_data(box)
    written = {f["path"]: f for f in user["write_files"]}
    content = {p: base64.b64decode(f["content"]).decode() for p, f in written.items()}
    assert content["/etc/propcvm/api_key"] == env["PROPLET_API_KEY"]
    assert written["/etc/propcvm/api_key"]["permissions"] == written["/etc/propcvm/serve.env"]["permissions"] == "0600"
    lines = content["/etc/propcvm/serve.env"].splitlines()
    value = next(x for x in lines if x.startswith("PROPLET_TENANT_ID="))
    assert value == 'PROPLET_TENANT_ID="a|b&c\\"d\\\\e\\$f\\`g\'h é"'
    assert 'PROPLET_KBS_URI="https://kbs.example.com"' in lines and 'PROP_TEE="auto"' in lines
    assert not any("API_KEY" in x for x in lines)
    assert "ExecStart=/usr/bin/propcvm serve\n" in content["/etc/systemd/system/propcvm.service"]
    assert env["PROPLET_TENANT_ID"] not in json.dumps(user["runcmd"])
    assert b"070701" == files["propcvm.cpio"][:6] and b"usr/bin/propcvm" in files["propcvm.cpio"]
    assert image.read_bytes() == before and r["disk_bytes"] == 40 << 30


def test_no_password_anywhere_and_ssh_by_key_only(box, image):
    build(box, "--ssh-key", "me.pub")
    user = user_data(box)
    assert user["ssh_pwauth"] is False and user["disable_root"] is True and user["package_update"] is False
    assert [u["name"] for u in user["users"]] == ["propeller"] and user["users"][0]["lock_passwd"] is True
    assert user["users"][0]["ssh_authorized_keys"] == [ED25519]
    assert not re.search(r"passw(or)?d\"? *:", json.dumps(user).replace("lock_passwd", ""))
    build(box, "--force")
    user = user_data(box)
    assert user["users"] == [] and any("mask --now ssh" in c[2] for c in user["runcmd"])


def test_a_rebuild_is_a_new_instance(box, image):
    """The reference's constant id makes cloud-init pass over a rebuilt seed."""
    first = build(box, "--json").json()["instance_id"]
    r = build(box, "--json", ok=7)
    assert r.error()["code"] == "output-exists" and "--force" in r.error()["hint"]
    assert build(box, "--force", "--json").json()["instance_id"] != first


def test_it_boots_from_the_image_under_the_disk(box, image):
    need("qemu-system-x86_64")
    build(box)
    r = box.run(BIN / "propcvm", "vm", "run", "vm", *TCG)
    assert TEXT.decode().strip() in r.err


def test_argument_vector(box, image):
    build(box, env={"DISK_SIZE": "2G"})
    r = box.run(BIN / "propcvm", "vm", "run", "vm", *TCG, "--forward", "2222:22", "--assume-qemu", "7.2", "--dry-run",
                "--json").json()
    got = "\n".join(r["argv"]) + "\n"
    want = VECTORS / "qemu/distro-none-7.2.txt"
    if os.environ.get("PROP_WRITE_VECTORS"):
        want.write_text(got)
    assert got == want.read_text()
    head = (box / "vm/disk.qcow2").read_bytes()[:4096]
    assert struct.unpack_from(">Q", head, 24)[0] == 2 << 30
    assert str((box / "base.img").resolve()).encode() in head


def test_confidential_modes_say_what_is_not_measured(box, image):
    build(box)
    root = host(box, kvm_amd={"sev": "Y", "sev_snp": "Y"})
    for mode, firmware in (("snp", "fw-no-kernel-hashes.bin"), ("tdx", "fw-tdx.bin")):
        r = box.run(BIN / "propcvm", "vm", "run", "vm", "--mode", mode, "--firmware",
                    VECTORS / "measure" / firmware, "--assume-qemu", "10.2", "--host-root", root, "--dry-run", "--json")
        assert "not measured" in r.err and "kernel-hashes=on" not in " ".join(r.json()["argv"])


WRONG = {
    "bad-image": (b"no disk at all".ljust(4096), 3), "bad-image-backing": (qcow2_head(backing=512), 3),
    "bad-image-data-file": (qcow2_head(incompatible=4), 3), "bad-image-crypt": (qcow2_head(crypt=1), 3),
    "bad-image-version": (qcow2_head(version=9), 3), "bad-image-short": (b"QFI\xfb", 3),
}


@pytest.mark.parametrize("case", sorted(WRONG))
def test_images_that_are_refused(box, case):
    """A qcow2 file that names other files would let whoever made it read this host's."""
    data, status = WRONG[case]
    (box / "base.img").write_bytes(data)
    r = build(box, "--json", ok=status)
    assert r.error()["code"] == "bad-image"
    assert sorted(os.listdir(box.path)) == ["base.img", "home"]


@pytest.mark.parametrize("text", ["", "ssh-ed25519 AAAA me", "not a key", "ssh-rsa !!!! x", ED25519 + "\n" + ED25519,
                                  "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n", 'command="x" ' + ED25519])
def test_ssh_keys_that_are_refused(box, image, text):
    (box / "me.pub").write_text(text)
    r = build(box, "--ssh-key", "me.pub", "--json", ok=3)
    assert r.error()["code"] == "bad-ssh-key" and not (box / "vm").exists() and not list(box.path.glob("vm.new*"))


@pytest.mark.parametrize("args, env, status, cause", [
    (("--disk-size", "1M"), {}, 9, "disk-size"), (("--disk-size", "20000G"), {}, 9, "disk-size"),
    (("--name", "A B"), {}, 2, "bad-name"), (("--env", "PROPLET_API_KEY=x"), {}, 2, "guest-secret"),
    (("--env", "PATH=x"), {}, 2, "guest-variable"), ((), {"PROPLET_X": "two\nlines"}, 2, "bad-setting"),
    (("--ssh-key", "none.pub"), {}, 8, "not-found"), (("--ca-cert", "none.pem", "--kbs", "https://k"), {}, 8, "not-found"),
    (("--", "run", "x"), {}, 2, "guest-command")])
def test_refusals(box, image, args, env, status, cause):
    r = build(box, "--json", *args, ok=status, env=env)
    assert r.error()["code"] == cause and not (box / "vm").exists() and not list(box.path.glob("vm.new*"))


def test_what_is_wrong_at_the_start(box, image):
    build(box)
    run = (BIN / "propcvm", "vm", "run", "vm", *TCG, "--assume-qemu", "7.2", "--dry-run", "--json")
    data = bytearray((box / "vm/seed.iso").read_bytes())
    data[-3000] ^= 1
    (box / "vm/seed.iso").write_bytes(data)
    assert box.run(*run, ok=4).error()["code"] == "guest-changed"
    data[-3000] ^= 1
    (box / "vm/seed.iso").write_bytes(data)
    box.run(*run)
    image.rename(box / "elsewhere.img")
    assert box.run(*run, ok=8).error()["code"] == "no-image"
    (box / "vm/distro.json").write_text("{}")
    assert box.run(*run, ok=3).error()["code"] == "bad-guest"


def test_a_built_guest_is_not_replaced_by_a_distribution(box, image):
    (box / "vm").mkdir()
    (box / "vm/mine").write_text("mine")
    r = build(box, "--force", "--json", ok=7)
    assert r.error()["code"] == "output-exists" and (box / "vm/mine").read_text() == "mine"


def test_what_somebody_put_beside_a_guest_is_kept(box, image):
    build(box)
    (box / "vm/mine").write_text("mine")
    disk = (box / "vm/disk.qcow2").stat().st_ino
    r = build(box, "--force", "--json", ok=7)
    assert r.error()["code"] == "output-exists" and (box / "vm/mine").read_text() == "mine"
    assert (box / "vm/disk.qcow2").stat().st_ino == disk
    (box / "vm/mine").unlink()
    build(box, "--force")
    assert (box / "vm/disk.qcow2").stat().st_ino != disk
    assert [p.name for p in box.path.iterdir() if p.name.startswith("vm")] == ["vm"]


def test_the_key_brokers_address_as_hal_users_export_it(box, image):
    build(box, env={"KBS_URL": "https://hal.example.com"})
    text = next(f["content"] for f in user_data(box)["write_files"] if f["path"].endswith("serve.env"))
    assert b'PROPLET_KBS_URI="https://hal.example.com"' in base64.b64decode(text)
    build(box, "--force", "--kbs", "https://flag.example.com", env={"KBS_URL": "https://hal.example.com"})
    text = next(f["content"] for f in user_data(box)["write_files"] if f["path"].endswith("serve.env"))
    assert b'PROPLET_KBS_URI="https://flag.example.com"' in base64.b64decode(text)
