"""The gRPC KeyProviderService, asked by python3-grpcio."""
import base64
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import time

import pytest

from conftest import BIN
from keyproviding import (KID, UNWRAP, WRAP, ask, grpc, kek, packet_of, serve, site, stub, unwrap_request,  # noqa: F401
                          wrap_request)


def test_grpc_both_methods(serve, stub, kek):
    s = stub(serve("--kek", kek).address)
    privopts = b'{"symkey":"AAAA"}'
    reply = json.loads(s.call(WRAP, wrap_request([f"keypath={kek}::keyid={KID}"], privopts)))
    packet = bytes(reply["keywrapresults"]["annotation"])
    assert json.loads(packet)["kid"] == KID
    reply = json.loads(s.call(UNWRAP, unwrap_request(packet)))
    assert bytes(reply["keyunwrapresults"]["optsdata"]) == privopts
    for case in ("30-coco-a256gcm", "36-wasm-coco-packet-v2"):
        packet, key = packet_of(case)
        reply = json.loads(s.call(UNWRAP, unwrap_request(packet)))
        assert base64.b64decode(json.loads(bytes(reply["keyunwrapresults"]["optsdata"]))["symkey"]) == key


def test_grpc_failures_are_statuses(grpc, serve, stub, kek):
    service = serve("--kek", kek)
    s = stub(service.address)
    code = grpc.StatusCode
    other = {"kid": KID, "wrapped_data": base64.b64encode(b"w" * 40).decode(), "iv": "AAAAAAAAAAAAAAAA", "wrap_type": "A256GCM"}
    for method, request, want, word in (
            ("Nope", {}, code.UNIMPLEMENTED, "no such method"),
            (UNWRAP, b"{}", code.INVALID_ARGUMENT, "annotation is missing"),
            (UNWRAP, b"\xff\x00", code.INVALID_ARGUMENT, "request"),
            (WRAP, unwrap_request(b"{}"), code.INVALID_ARGUMENT, "'op'"),
            (WRAP, wrap_request(["sample=true"]), code.PERMISSION_DENIED, "sample"),
            (WRAP, wrap_request([f"keyid={KID}"]), code.NOT_FOUND, "default/key/wasm-addition"),
            (WRAP, wrap_request(["keypath=/no\u00e9where::keyid=" + KID]), code.NOT_FOUND, "/no\u00e9where"),
            (UNWRAP, unwrap_request(json.dumps(other).encode()), code.FAILED_PRECONDITION, "does not open"),
            (UNWRAP, b'{"x":"' + b"x" * (5 << 20) + b'"}', code.RESOURCE_EXHAUSTED, "too long")):
        with pytest.raises(grpc.RpcError) as e:
            s.call(method, request)
        assert e.value.code() == want and word in e.value.details(), (method, e.value)
    # and the connection lives on
    packet, _ = packet_of("30-coco-a256gcm")
    assert b"keyunwrapresults" in s.call(UNWRAP, unwrap_request(packet))
    assert "PERMISSION_DENIED" in service.said() and "symkey" not in service.said()


def test_grpc_many_calls_at_once(serve, stub, kek):
    address = serve("--kek", kek).address
    packet, _ = packet_of("30-coco-a256gcm")
    want = stub(address).call(UNWRAP, unwrap_request(packet))
    futures = [s.future(UNWRAP, unwrap_request(packet)) for s in [stub(address) for _ in range(4)] for _ in range(100)]
    assert [f.result() for f in futures] == [want] * 400


def test_grpc_unix_socket_is_private(box, serve, stub, kek):
    service = serve("--kek", kek, listen=("--listen", f"unix:{box / 'kp.sock'}"))
    assert service.address == f"unix:{box / 'kp.sock'}"
    st = (box / "kp.sock").stat()
    assert stat.S_ISSOCK(st.st_mode) and stat.S_IMODE(st.st_mode) == 0o600
    packet, _ = packet_of("30-coco-a256gcm")
    assert b"keyunwrapresults" in stub(service.address).call(UNWRAP, unwrap_request(packet))
    # a second one does not take the address of the first
    r = box.run("propenc", "keyprovider", "--listen", service.address, "--json", ok=6)
    assert r.error()["code"] == "listen"
    assert b"keyunwrapresults" in stub(service.address).call(UNWRAP, unwrap_request(packet))
    service.stop()
    assert not (box / "kp.sock").exists()


def test_a_stopped_service_leaves_the_socket_of_another(box, serve, stub, kek):
    path = box / "kp.sock"
    first = serve("--kek", kek, listen=("--listen", f"unix:{path}"))
    path.unlink()
    second = serve("--kek", kek, listen=("--listen", f"unix:{path}"))
    first.stop()
    packet, _ = packet_of("30-coco-a256gcm")
    assert b"keyunwrapresults" in stub(second.address).call(UNWRAP, unwrap_request(packet))
    second.stop()
    assert not path.exists()


def test_grpc_unwraps_through_attestation(box, site, serve, stub, kek):
    ask(box, wrap_request([f"keypath={kek}::keyid={KID}"]), *site.admin)
    box.env["XDG_DATA_HOME"], box.env["XDG_STATE_HOME"] = str(box.home / "d2"), str(box.home / "s2")
    packet, key = packet_of("40-wasm-coco-a256gcm")
    assert json.loads(packet)["kid"] == KID
    s = stub(serve("--kbs", site.kbs.url, "--tee", "sample").address)
    for _ in range(3):  # one session serves them all
        reply = json.loads(s.call(UNWRAP, unwrap_request(packet)))
        assert base64.b64decode(json.loads(bytes(reply["keyunwrapresults"]["optsdata"]))["symkey"]) == key


def test_a_silent_broker_holds_up_no_connection(grpc, box, serve, stub):
    """The call ends at its deadline, others are answered meanwhile, and so is SIGTERM."""
    box.run("propkey", "admin-keygen", "-o", "stranger.key")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        service = serve("--kbs", f"http://127.0.0.1:{silent.getsockname()[1]}", "--admin-key", box / "stranger.key")
        s = stub(service.address)
        waiting = [s.future(WRAP, wrap_request([f"keyid={KID}"]), timeout=1) for _ in range(3)]
        with silent.accept()[0]:  # the broker has been asked
            with pytest.raises(grpc.RpcError) as e:
                s.call("Nope", {})
            assert e.value.code() == grpc.StatusCode.UNIMPLEMENTED and not waiting[0].done()
            assert [f.code() for f in waiting] == [grpc.StatusCode.DEADLINE_EXCEEDED] * 3
            service.stop()


@pytest.mark.parametrize("form", ["long", "short", "link", "equals"])
def test_coco_keyprovider_command_line(box, site, serve, stub, form):
    """coco_keyprovider --socket IP:PORT --kbs URL --auth-private-key KEY, as it stands in scripts."""
    url, key = site.kbs.url, site.kbs.admin_key
    if form == "link":
        (box / "coco_keyprovider").symlink_to(BIN / "propenc")
    service = {
        "long": lambda: serve("--kbs", url, "--auth-private-key", key, listen=("--socket", "127.0.0.1:0")),
        "equals": lambda: serve(f"--kbs={url}", f"--auth-private-key={key}", listen=("--socket=127.0.0.1:0",)),
        "short": lambda: serve("--kbs", url, "-a", key, listen=("-s", "127.0.0.1:0")),
        "link": lambda: serve("--kbs", url, "-a", key, listen=("-s", "127.0.0.1:0"), program=box / "coco_keyprovider", verb=()),
    }[form]()
    reply = json.loads(stub(service.address).call(WRAP, wrap_request([f"keyid=kbs:///default/key/{form}"])))
    assert json.loads(bytes(reply["keywrapresults"]["annotation"]))["kid"] == f"kbs:///default/key/{form}"
    assert len(site.get(f"default/key/{form}")) == 32


def test_daemon(box, stub, kek):
    r = box.run("propenc", "keyprovider", "--daemon", "--socket", "127.0.0.1:0", "--kek", kek)
    state = box.home / "state/prop"
    pid = int((state / "keyprovider.pid").read_text())
    try:
        address = r.out.split()[-1]
        packet, _ = packet_of("30-coco-a256gcm")
        assert b"keyunwrapresults" in stub(address).call(UNWRAP, unwrap_request(packet))
        assert os.getsid(pid) == pid
    finally:
        os.kill(pid, signal.SIGTERM)
    for _ in range(1000):
        if not pathlib.Path(f"/proc/{pid}").exists() or "\nState:\tZ" in pathlib.Path(f"/proc/{pid}/status").read_text():
            break
        time.sleep(0.01)
    else:
        raise AssertionError("it does not end")
    assert "UnWrapKey: OK" in (state / "keyprovider.log").read_text()
    # what cannot serve says so before it goes away
    r = box.run("propenc", "keyprovider", "--daemon", "--socket", "0.0.0.0:0", "--json", ok=2)
    assert r.error()["code"] == "listen-not-loopback"


def test_nothing_of_a_request_stays_in_memory(box, serve, stub, kek):
    """After the answers, neither private options nor other schemes' keys nor a used KEK are anywhere in it."""
    named = box / "named.bin"
    named.write_bytes(b"\x91\x82\x73\x64" * 8)
    service = serve("--kek", kek)
    s = stub(service.address)
    privopts, other = b'{"symkey":"UNIQUEsecretKEYmaterial0123456789="}', b"UNIQUEprivateKEYofAnotherScheme"
    for _ in range(3):
        s.call(WRAP, wrap_request([f"keypath={named}::keyid={KID}"], privopts, privkeys=[base64.b64encode(other).decode()]))
    s.channel.close()
    needles = (b"UNIQUEsecretKEY", base64.b64encode(privopts)[16:40], b"85,78,73,81,85,69", other[:12], base64.b64encode(other)[:20],
               b"\x91\x82\x73\x64" * 3)
    found, control = [], 0
    try:
        memory = open(f"/proc/{service.proc.pid}/mem", "rb", 0)
    except PermissionError:
        pytest.skip("not root: a hardened process shows its memory to nobody else")
    with memory:
        for line in pathlib.Path(f"/proc/{service.proc.pid}/maps").read_text().splitlines():
            low, high, mode = re.match(r"(\w+)-(\w+) (....)", line).groups()
            size = int(high, 16) - int(low, 16)
            if mode[:2] != "rw" or size > 256 << 20:
                continue
            try:
                memory.seek(int(low, 16))
                data = memory.read(size)
            except OSError:
                continue
            control += data.count(kek.read_bytes())  # this one it keeps
            found += [(needle, line) for needle in needles if needle in data]
    assert control == 1 and not found, (control, found)


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:50000", "[::]:0"])
def test_listens_on_loopback_only(box, address):
    for flag in ("--listen", "--socket"):
        r = box.run("propenc", "keyprovider", flag, address, "--json", ok=2)
        assert r.error()["code"] == "listen-not-loopback" and r.stdout == b""


def test_other_users_are_refused(box, serve, kek):
    """A loopback port can be reached by everybody on the machine."""
    if os.geteuid() != 0:
        pytest.skip("not root: nobody else to ask as")
    ours, coco = serve("--kek", kek), serve("--kek", kek, listen=("--socket", "127.0.0.1:0"))
    code = "import socket,sys; s=socket.create_connection(('127.0.0.1', int(sys.argv[1]))); print(len(s.recv(9)))"
    mapped = code.replace("socket.create_connection(('", "socket.socket(socket.AF_INET6); s.connect(('::ffff:")

    def greeted(service, user, program):
        """How much of the server's SETTINGS comes."""
        r = subprocess.run(["/usr/bin/python3", "-c", program, str(service.port)], user=user, group=user, extra_groups=[],
                           capture_output=True, cwd="/", timeout=60)
        return r.stdout.strip() if r.returncode == 0 else r.stderr.splitlines()[-1]

    for program in (code, mapped):
        assert greeted(ours, 0, program) == b"9"
        assert greeted(ours, 65534, program) in (b"0",) or b"ConnectionReset" in greeted(ours, 65534, program)
        assert greeted(coco, 65534, program) == b"9"
    assert "a connection of user 65534 is refused" in ours.said()
    assert "every user of this machine can ask" in coco.said() and "every user" not in ours.said()
