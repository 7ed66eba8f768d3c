"""Made evidence for the tests of measurement: reports, quotes and event logs with registers of our choice
(nobody signed them, which measuring does not look at)."""
import hashlib
import json
import struct

from conftest import VECTORS

MEASURE = VECTORS / "measure"


def fixture(name):
    return MEASURE / name


def cases(name):
    return json.loads(fixture(name).read_text())


def snp_report(measurement, host_data=bytes(32), policy=0x30000, cpu=(0x19, 0x11, 0x1)):
    r = bytearray(1184)
    struct.pack_into("<IIQ", r, 0, 3, 0, policy)
    struct.pack_into("<I", r, 0x34, 1)
    r[0x90:0xc0] = bytes.fromhex(measurement)
    r[0xc0:0xe0] = host_data
    r[0x188:0x18b] = bytes(cpu)
    return bytes(r)


def tdx_quote(mr_td, rtmrs, mr_config_id=bytes(48), attributes=0x10000000):
    head = struct.pack("<HHI", 4, 2, 0x81) + bytes(40)
    body = bytearray(584)
    struct.pack_into("<Q", body, 120, attributes)
    body[136:184] = bytes.fromhex(mr_td)
    body[184:232] = mr_config_id
    for i, r in enumerate(rtmrs):
        body[328 + 48 * i:376 + 48 * i] = r
    return head + bytes(body) + struct.pack("<I", 4) + b"sign"


def sha384(data):
    return hashlib.sha384(data).digest()


def replay(digests):
    r = bytes(48)
    for d in digests:
        r = sha384(r + d)
    return r


def event_log(events):
    """events: (register 0..3, event type, digest, data)"""
    spec = b"Spec ID Event03\0" + struct.pack("<IBBBBI", 0, 0, 2, 0, 2, 1) + struct.pack("<HH", 12, 48) + b"\0"
    log = struct.pack("<II20xI", 1, 3, len(spec)) + spec
    for register, kind, digest, data in events:
        log += struct.pack("<IIIH", register + 1, kind, 1, 12) + digest + struct.pack("<I", len(data)) + data
    return log
