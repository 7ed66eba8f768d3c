"""The gRPC KeyProviderService under HTTP/2 written by hand: broken, slow, silent and greedy clients."""
import json
import os
import shutil
import signal
import socket
import struct
import threading
import time

import pytest

from conftest import need
from keyproviding import (KID, SERVICE, UNWRAP, WRAP, grpc, kek, message, packet_of, payload_of, serve,  # noqa: F401
                          stub, unwrap_request, varint, wrap_request)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def literal(name, value):
    """HPACK, literal without indexing, no Huffman (RFC 7541 section 6.2.2)."""
    def text(s):
        s = s.encode()
        return (bytes([len(s)]) if len(s) < 127 else bytes([127]) + varint(len(s) - 127)) + s
    return b"\x00" + text(name) + text(value)


def headers(method=UNWRAP, **more):
    fields = {":method": "POST", ":scheme": "http", ":path": SERVICE + method, ":authority": "x", "te": "trailers",
              "content-type": "application/grpc"}
    fields.update({k.replace("_", "-"): v for k, v in more.items()})
    return b"".join(literal(k, v) for k, v in fields.items())


def connect(service):
    s = socket.create_connection(("127.0.0.1", service.port))
    s.settimeout(60)
    return s


def grpc_body(request):
    m = message(json.dumps(request).encode())
    return b"\0" + struct.pack(">I", len(m)) + m


def read_all(s):
    out = b""
    try:
        while chunk := s.recv(65536):
            out += chunk
    except ConnectionResetError:
        pass
    return out


def read_until(s, word):
    out = b""
    while word not in out:
        chunk = s.recv(65536)
        assert chunk, out
        out += chunk
    return out


@pytest.fixture
def good(kek):
    packet, _ = packet_of("30-coco-a256gcm")
    return unwrap_request(packet)


def works(service, request):
    """It still answers a plain call."""
    with connect(service) as s:
        s.sendall(PREFACE + frame(4, 0, 0) + frame(1, 4, 1, headers()) + frame(0, 1, 1, grpc_body(request)))
        assert b"keyunwrapresults" in read_until(s, b"optsdata")


def test_http2_clients(box, serve, good, kek):
    service = serve("--kek", kek)
    body = box / "body"
    body.write_bytes(grpc_body(good))
    curl = need("curl")
    if "HTTP2" not in box.run(curl, "--version").out:
        pytest.skip("peer not installed: curl with HTTP/2")
    url = f"http://{service.address}{SERVICE}"
    grpc_type = ("-H", "content-type: application/grpc", "-H", "te: trailers")
    r = box.run(curl, "-sSi", "--http2-prior-knowledge", *grpc_type, "--data-binary", f"@{body}", url + UNWRAP)
    assert r.out.startswith("HTTP/2 200") and "grpc-status: 0" in r.out and "keyunwrapresults" in r.out
    r = box.run(curl, "-sSi", "--http2-prior-knowledge", "-H", "content-type: text/plain", "-d", "x", url + UNWRAP)
    assert r.out.startswith("HTTP/2 415")
    r = box.run(curl, "-sSi", "--http2-prior-knowledge", url + UNWRAP)
    assert r.out.startswith("HTTP/2 405")
    r = box.run(curl, "-sSi", "--http1.1", url + UNWRAP, ok=None)
    assert r.returncode != 0
    if nghttp := shutil.which("nghttp"):
        r = box.run(nghttp, "-v", "-m", "20", *grpc_type, "-d", body, url + UNWRAP)
        assert r.out.count("grpc-status: 0") == 20
    works(service, good)


def test_grpc_timeout_is_kept(serve, good, kek):
    service = serve("--kek", kek)
    with connect(service) as s:
        s.sendall(PREFACE + frame(4, 0, 0) + frame(1, 4, 1, headers(grpc_timeout="50m")))
        service.wait_said("DEADLINE_EXCEEDED: the request did not come in time")
        s.shutdown(socket.SHUT_WR)
        assert frame(1, 5, 1)[3:] in read_all(s)  # HEADERS, END_HEADERS and END_STREAM
    with connect(service) as s:  # and one that nobody can read counts as none
        s.sendall(PREFACE + frame(4, 0, 0) + frame(1, 4, 1, headers(grpc_timeout="soon")) + frame(0, 1, 1, grpc_body(good)))
        read_until(s, b"optsdata")


def test_broken_clients(serve, good, kek):
    service = serve("--kek", kek)
    body = grpc_body(good)
    start = PREFACE + frame(4, 0, 0)
    for wire in (
            b"", b"\0", PREFACE[:10], b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00" + b"x" * 512, os.urandom(100000),
            PREFACE, PREFACE + b"garbage that is no frame" * 10, start + frame(1, 4, 1, os.urandom(200)),
            start + frame(0, 1, 1, body), start + frame(1, 4, 2, headers()), start + frame(1, 5, 1, headers()),
            start + frame(1, 4, 1, headers())[:20], start + frame(1, 4, 1, headers()) + frame(0, 0, 1, body[:10]),
            start + frame(1, 4, 1, headers()) + frame(0, 1, 1, body[:-1]), start + frame(1, 4, 1, headers()) + frame(0, 1, 1, body + b"x"),
            start + frame(1, 4, 1, headers()) + frame(0, 1, 1, b"\1" + body[1:]), start + frame(1, 4, 1, headers()) + frame(3, 0, 1, b"\0\0\0\x08"),
            start + b"".join(frame(1, 4, 2 * i + 1, headers()) + frame(3, 0, 2 * i + 1, b"\0\0\0\x08") for i in range(2000)),
            start + b"".join(frame(6, 0, 0, b"12345678") for _ in range(5000)), start + frame(4, 0, 0) * 5000,
            start + frame(1, 0, 1, headers()) + frame(9, 0, 1, literal("x-long", "y" * 16000)) * 50,
            start + b"".join(frame(1, 4, 2 * i + 1, headers(method="m" * 1000)) for i in range(500)),
            start + frame(1, 4, 1, headers()) + frame(8, 0, 1, b"\x7f\xff\xff\xff") * 3, struct.pack(">I", 1 << 24)[1:] * 1000):
        with connect(service) as s:
            try:
                s.sendall(wire)
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            read_all(s)
        assert service.proc.poll() is None, (wire[:80], service.said())
    works(service, good)


def test_slow_and_silent_clients(serve, good, kek):
    """Half requests, and answers that nobody reads, hold up nobody else."""
    service = serve("--kek", kek)
    body = grpc_body(good)
    start = PREFACE + frame(4, 0, 0, struct.pack(">HI", 4, 0))  # INITIAL_WINDOW_SIZE 0: nothing may be sent to us
    held = []
    for wire in (b"", PREFACE[:5], PREFACE, start + frame(1, 4, 1, headers()), start + frame(1, 4, 1, headers()) + frame(0, 0, 1, body[:50])):
        held += [connect(service) for _ in range(5)]
        for s in held[-5:]:
            s.sendall(wire)
    for _ in range(5):
        held.append(connect(service))
        held[-1].sendall(start + b"".join(frame(1, 4, i, headers()) + frame(0, 1, i, body) for i in range(1, 40, 2)))
    slow = connect(service)
    wire = start[:24] + frame(4, 0, 0) + frame(1, 4, 1, headers()) + frame(0, 1, 1, body)
    for i in range(0, len(wire), 7):
        slow.sendall(wire[i:i + 7])
    read_until(slow, b"optsdata")
    works(service, good)
    for s in [*held, slow]:
        s.close()


def test_a_thousand_connections(serve, good, kek):
    service = serve("--kek", kek)
    works(service, good)
    before = service.rss_kib()
    body = grpc_body(good)
    held = []
    for i in range(1000):
        s = connect(service)
        # a third says nothing, a third begins a request, a third gets an answer and stays
        s.sendall((b"", PREFACE + frame(4, 0, 0) + frame(1, 4, 1, headers()) + frame(0, 0, 1, b"\0\0\x10\0\0" + b"x" * 8000),
                   PREFACE + frame(4, 0, 0) + frame(1, 4, 1, headers()) + frame(0, 1, 1, body))[i % 3])
        held.append(s)
        if i % 250 == 0 and i < 500:
            works(service, good)
    for s in held[1::3]:  # half requests hold a place until their time is up: let go of them
        s.close()
    works(service, good)
    assert service.rss_kib() - before < 100 << 10
    for s in held:
        s.close()
    works(service, good)


def test_long_requests_are_bounded(grpc, serve, stub, good, kek):
    """Requests that are sent in full and never ended: 24 of 3.9 MiB, and a budget of 64 MiB."""
    service = serve("--kek", kek)
    works(service, good)
    before = service.rss_kib()
    over = threading.Event()
    long = b'{"x":"' + b"x" * (4000 << 10)

    def half():
        yield long
        over.wait(60)

    calls = []
    for _ in range(8):
        channel = stub(service.address).channel
        f = channel.stream_unary(SERVICE + UNWRAP, request_serializer=message, response_deserializer=payload_of)
        calls += [f.future(half(), timeout=60) for _ in range(3)]
    service.wait_said("RESOURCE_EXHAUSTED: too many long requests at once")
    works(service, good)
    assert service.rss_kib() - before < 90 << 10
    for c in calls:
        c.cancel()
    over.set()
    works(service, good)


def test_unread_answers_are_bounded(grpc, serve, good, kek):
    """Answers are four times as long as what they wrap; a client that reads none of them gets no more."""
    service = serve("--kek", kek)
    works(service, good)
    before = service.rss_kib()
    body = grpc_body(wrap_request([f"keypath={kek}::keyid={KID}"], b"{" + b"x" * 45000))
    held = []
    for _ in range(12):
        s = connect(service)
        held.append(s)
        s.sendall(PREFACE + frame(4, 0, 0, struct.pack(">HI", 4, 0)) + frame(1, 4, 1, headers(method=WRAP)))
        for i in range(0, len(body), 16000):
            s.sendall(frame(0, i + 16000 >= len(body), 1, body[i:i + 16000]))
    for _ in range(1000):
        if service.said().count(" WrapKey: OK") == 12:
            break
        time.sleep(0.01)
    assert service.said().count(" WrapKey: OK") == 12, service.said()
    works(service, good)
    assert service.rss_kib() - before < 40 << 10
    for s in held:
        s.close()


def test_sigterm_lets_calls_finish(serve, good, kek):
    """GOAWAY to everybody; a request that was being sent is taken and answered."""
    service = serve("--kek", kek)
    body = grpc_body(good)
    with connect(service) as busy, connect(service) as idle:
        busy.sendall(PREFACE + frame(4, 0, 0) + frame(1, 4, 1, headers()) + frame(0, 0, 1, body[:20]))
        idle.sendall(PREFACE + frame(4, 0, 0) + frame(4, 1, 0))
        ping = frame(6, 0, 0, b"ping-now")
        for s in (busy, idle):  # both have been seen
            s.sendall(ping)
            read_until(s, b"ping-now")
        service.proc.send_signal(signal.SIGTERM)
        assert b"\x07" in read_all(idle)  # GOAWAY, and the end
        read_until(busy, frame(7, 0, 0, struct.pack(">II", 1, 0))[3:])
        with pytest.raises(OSError):
            connect(service)
        busy.sendall(frame(0, 1, 1, body[20:]))
        assert b"keyunwrapresults" in read_all(busy)
    assert service.proc.wait(60) == 0
