"""Guest folders whose "kernel" is a few bytes of 16-bit code that QEMU boots as it boots Linux: it writes
to the serial port and powers off, within a second and without a kernel package. For what the host side
does with a VM; the guest's own side is tested with a real kernel."""
import hashlib
import json
import pathlib
import struct

TCG = ("--mode", "none", "--accel", "tcg")
INIT_DATA = b'version = "0.1.0"\nalgorithm = "sha384"\n\n[data]\n"propcvm.json" = "{}"\n'
END = 'propcvm-init: end: {"status":%d,"error":%s,"uptime_ms":123}\n'


def end_line(status=0, error=None):
    return END % (status, json.dumps(error))


def code(text, after):
    """Write text to COM1, then: "off" (ACPI S5 of q35), "reset", "hang", "flood" (the text for ever)."""
    data = text.encode() + b"\0"
    put = bytes.fromhex("8cc8 8ed8")              # mov ax,cs; mov ds,ax
    start = len(put)
    # again: mov si,text
    loop = bytes.fromhex("be0000"                 # mov si,TEXT      (patched)
                         "ac"                     # next: lodsb
                         "84c0"                   # test al,al
                         "7410"                   # jz done
                         "50"                     # push ax
                         "bafd03"                 # mov dx,0x3fd
                         "ec"                     # ready: in al,dx
                         "a820"                   # test al,0x20
                         "74fb"                   # jz ready
                         "58"                     # pop ax
                         "baf803"                 # mov dx,0x3f8
                         "ee"                     # out dx,al
                         "ebeb")                  # jmp next
    done = {
        "off": bytes.fromhex("ba0406 b80020 ef"),  # mov dx,0x604; mov ax,0x2000; out dx,ax
        "reset": bytes.fromhex("b0fe e664"),       # mov al,0xfe; out 0x64,al
        "hang": b"",
        "flood": None,
    }[after]
    if done is None:
        back = start - (start + len(loop) + 2)
        done = b"\xeb" + struct.pack("b", back)    # jmp again
    tail = done + bytes.fromhex("f4 ebfd")         # hlt; jmp to it
    at = len(put) + len(loop) + len(tail)
    loop = loop[:1] + struct.pack("<H", 0x80 + at) + loop[3:]
    return put + loop + tail + data


def kernel(text, after="off"):
    """A bzImage of boot protocol 2.06, loaded high: setup sectors only, and one page of nothing."""
    body = code(text, after)
    sects = (0x80 + len(body) + 511) // 512 + 1
    head = bytearray(512 * (1 + sects))
    head[0x1f1] = sects
    struct.pack_into("<I", head, 0x1f4, 4096 // 16)
    struct.pack_into("<H", head, 0x1fe, 0xaa55)
    head[0x200:0x202] = b"\xeb\x7e"                # jmp 0x280
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", head, 0x206, 0x206)
    head[0x211] = 1                                # loaded high
    struct.pack_into("<I", head, 0x214, 0x100000)
    struct.pack_into("<I", head, 0x22c, 0x37ffffff)
    head[0x280:0x280 + len(body)] = body
    return bytes(head) + bytes(4096)


def folder(path, text=None, after="off", **members):
    """A guest folder as `vm build` leaves it."""
    path = pathlib.Path(path)
    path.mkdir(parents=True)
    files = {"kernel": ("vmlinuz", kernel(end_line() if text is None else text, after)),
             "initrd": ("initrd.img", b"nothing is read from here\n"),
             "init_data": ("initdata.toml", INIT_DATA)}
    doc = {"version": 1, "name": "tiny", "append": "console=ttyS0 quiet", "kernel_release": "0.0-test",
           "tee": "sample", "secrets_from_host": [], "result": ["serial"],
           "drivers": {"virtio_net": True, "vsock": True, "virtio_serial": True, "fw_cfg": True,
                       "sev_guest": True, "tdx_guest": True},
           "digests": {}}
    for what, (name, data) in files.items():
        (path / name).write_bytes(data)
        doc[what] = name
        doc["digests"][what] = "sha256:" + hashlib.sha256(data).hexdigest()
    doc["digests"]["init_data"] = {"sha256": hashlib.sha256(INIT_DATA).hexdigest(),
                                   "sha384": hashlib.sha384(INIT_DATA).hexdigest()}
    doc.update(members)
    (path / "vm.json").write_text(json.dumps(doc))
    return path


def host(box, name="host", **parameters):
    """A folder that looks like a host's /dev and /sys: host(box, kvm_amd={"sev_snp": "Y"})."""
    root = box / name
    (root / "dev").mkdir(parents=True)
    for module, values in parameters.items():
        folder = root / "sys/module" / module / "parameters"
        folder.mkdir(parents=True)
        for key, value in values.items():
            (folder / key).write_text(value + "\n")
    if "kvm_amd" in parameters:
        (root / "dev/sev").write_text("")
    return root
