"""propcvm run's processes: what a module cannot reach, and that a run leaves nothing anywhere."""
import base64
import glob
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest

from conftest import BIN, ROOT

MODULES = ROOT / "examples" / "modules"
PATH = "default/key/addition"
ALLOW = 'package policy\nimport rego.v1\ndefault allow := true\n'

P1 = '''(module
 (import "wasi_snapshot_preview1" "path_open"
   (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "sock_send" (func $send (param i32 i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
 (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
 (memory (export "memory") 2) (data (i32.const 16) "%(path)s")
 (func $try (result i32)
   (call $open (i32.const %(fd)d) (i32.const 1) (i32.const 16) (i32.const %(len)d) (i32.const %(oflags)d)
     (i64.const %(rights)d) (i64.const 0) (i32.const 0) (i32.const 0)))
 %(body)s)'''
BADF, NOENT, NOTCAPABLE, PERM, ACCES = 8, 44, 76, 63, 2
READ, WRITE = 2, 64
CREATE = 1


def p1(body, path="x", fd=3, oflags=0, rights=READ):
    return P1 % dict(path=path, len=len(path), fd=fd, oflags=oflags, rights=rights, body=body)


EXIT_OPEN = '(func (export "_start") (call $exit (call $try)))'
# the file's first bytes, to stdout
SHOW = '''(func (export "_start") (local i32)
  (if (call $try) (then (call $exit (i32.const 99))))
  (i32.store (i32.const 100) (i32.const 1024)) (i32.store (i32.const 104) (i32.const 4096))
  (if (call $read (i32.load (i32.const 0)) (i32.const 100) (i32.const 1) (i32.const 108)) (then (call $exit (i32.const 98))))
  (i32.store (i32.const 104) (i32.load (i32.const 108)))
  (drop (call $write (i32.const 1) (i32.const 100) (i32.const 1) (i32.const 108))))'''
# the path's own text, into the file
FILL = '''(func (export "_start") (local i32)
  (if (call $try) (then (call $exit (i32.const 99))))
  (i32.store (i32.const 100) (i32.const 16)) (i32.store (i32.const 104) (i32.const 3))
  (call $exit (call $write (i32.load (i32.const 0)) (i32.const 100) (i32.const 1) (i32.const 108))))'''


def run(box, wat, *args, ok=True, **kw):
    (box / "m.wat").write_text(wat)
    return box.run("propcvm", "run", "--allow-plain", "m.wat", *args, ok=ok, **kw)


def refused(box, wat, code, status, *args):
    r = run(box, wat, "--json", *args, ok=status)
    assert r.error()["code"] == code and r.out == ""
    return r.error()


# --- what a module cannot reach ------------------------------------------------------------------------

@pytest.mark.parametrize("path", ["/etc/passwd", "etc/passwd", "../etc/passwd", ".", "/proc/self/mem"])
@pytest.mark.parametrize("fd", [0, 1, 3, 4, 5, 10])
def test_a_module_opens_no_file(box, path, fd):
    assert run(box, p1(EXIT_OPEN, path, fd), ok=None).returncode in (BADF, 54), "not a folder, or nothing at all"


def test_a_module_has_no_folder_and_no_socket(box):
    for fd in range(3, 12):
        body = f'(func (export "_start") (call $exit (call $prestat (i32.const {fd}) (i32.const 0))))'
        run(box, p1(body), ok=BADF)
    for fd in (0, 3, 5):
        body = f'(func (export "_start") (call $exit (call $accept (i32.const {fd}) (i32.const 0) (i32.const 8))))'
        assert run(box, p1(body), ok=None).returncode in (BADF, 57, 58), "no socket"


# A component in the WASI 0.2 world: `socket` answers 0 (it has one) or 1 + 256 * error code; `folders` counts
# the folders it was given.
P2 = '''(component
 (import "wasi:sockets/network@0.2.0" (instance $net
   (type $code (enum "unknown" "access-denied" "not-supported" "invalid-argument" "out-of-memory" "timeout"
     "concurrency-conflict" "not-in-progress" "would-block" "invalid-state" "new-socket-limit"
     "address-not-bindable" "address-in-use" "remote-unreachable" "connection-refused" "connection-reset"
     "connection-aborted" "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
     "permanent-resolver-failure"))
   (export "error-code" (type (eq $code)))
   (type $family (enum "ipv4" "ipv6"))
   (export "ip-address-family" (type (eq $family)))))
 (alias export $net "error-code" (type $code))
 (alias export $net "ip-address-family" (type $family))
 (import "wasi:sockets/tcp@0.2.0" (instance $tcp (export "tcp-socket" (type (sub resource)))))
 (alias export $tcp "tcp-socket" (type $socket))
 (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $make
   (export "create-tcp-socket" (func (param "address-family" $family)
     (result (result (own $socket) (error $code)))))))
 (import "wasi:filesystem/types@0.2.0" (instance $fs (export "descriptor" (type (sub resource)))))
 (alias export $fs "descriptor" (type $descriptor))
 (import "wasi:filesystem/preopens@0.2.0" (instance $pre
   (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
 (core module $heap (memory (export "memory") 1) (global $at (mut i32) (i32.const 1024))
   (func (export "realloc") (param i32 i32 i32 i32) (result i32) (local i32)
     (local.set 4 (global.get $at))
     (global.set $at (i32.add (global.get $at) (i32.and (i32.add (local.get 3) (i32.const 15)) (i32.const -16))))
     (local.get 4)))
 (core instance $h (instantiate $heap))
 (core func $socket (canon lower (func $make "create-tcp-socket") (memory (core memory $h "memory"))))
 (core func $folders (canon lower (func $pre "get-directories") (memory (core memory $h "memory"))
   (realloc (core func $h "realloc"))))
 (core module $main (import "h" "memory" (memory 1)) (import "i" "socket" (func $s (param i32 i32)))
   (import "i" "folders" (func $f (param i32)))
   (func (export "socket") (result i32) (call $s (i32.const 0) (i32.const 16))
     (i32.add (i32.load8_u (i32.const 16)) (i32.mul (i32.const 256) (i32.load8_u (i32.const 20)))))
   (func (export "folders") (result i32) (call $f (i32.const 16)) (i32.load (i32.const 20))))
 (core instance $m (instantiate $main (with "h" (instance $h))
   (with "i" (instance (export "socket" (func $socket)) (export "folders" (func $folders))))))
 (func (export "socket") (result u32) (canon lift (core func $m "socket")))
 (func (export "folders") (result u32) (canon lift (core func $m "folders"))))'''


def test_a_component_has_no_socket(box):
    assert run(box, P2, "--invoke", "socket").out == "257\n"  # access-denied


def test_a_component_has_the_folders_it_was_given(box):
    assert run(box, P2, "--invoke", "folders").out == "0\n"
    (box / "a").mkdir()
    (box / "b").mkdir()
    assert run(box, P2, "--invoke", "folders", "--dir", "a", "--dir", "b::/data").out == "2\n"


def test_variables_of_ours_are_not_seen(box):
    body = '''(import "wasi_snapshot_preview1" "environ_sizes_get" (func $e (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32))) (memory (export "memory") 1)
      (func (export "_start") (drop (call $e (i32.const 0) (i32.const 4))) (call $exit (i32.load (i32.const 0))))'''
    run(box, f"(module {body})", ok=True)
    run(box, f"(module {body})", "--env", "A=1", "--env", "B=2", ok=2)


# --- folders that are granted --------------------------------------------------------------------------

def test_a_folder_by_the_local_configuration(box):
    (box / "data").mkdir()
    (box / "data/in.txt").write_text("inside\n")
    (box / "secret.txt").write_text("outside\n")
    (box / "data/link").symlink_to("../secret.txt")
    grant = ("--dir", f"{box / 'data'}::/data")
    assert run(box, p1(SHOW, "in.txt"), *grant).out == "inside\n"
    assert run(box, p1(SHOW, "in.txt"), "--dir", "data").out == "inside\n"
    for outside in ("../secret.txt", "link", "/etc/passwd", str(box / "secret.txt"), "/proc/self/environ"):
        assert run(box, p1(EXIT_OPEN, outside), *grant, ok=None).returncode in (PERM, NOTCAPABLE, NOENT), outside
    run(box, p1(FILL, "new.txt", oflags=CREATE, rights=WRITE), *grant)
    assert (box / "data/new.txt").read_text() == "new"
    assert run(box, p1(EXIT_OPEN, "in.txt", fd=4), *grant, ok=None).returncode == BADF


@pytest.mark.parametrize("how,status", [("missing", 108), ("::x", 2), ("data::", 2), ("file", 107)])
def test_folders_that_cannot_be_granted(box, how, status):
    (box / "file").write_text("")
    r = run(box, p1(EXIT_OPEN), "--dir", how, ok=status)
    assert r.out == "" and len(r.err.splitlines()) <= 2


# --- each end has its own name, and the next run is fine ------------------------------------------------

def spam(fd):
    return ('(module (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))'
            ' (memory (export "memory") 1) (data (i32.const 0) "\\10\\00\\00\\00\\00\\40\\00\\00")'
            f' (func (export "_start") (loop (drop (call $w (i32.const {fd}) (i32.const 0) (i32.const 1)'
            ' (i32.const 8))) (br 0))))')


MANY = "(module " + "(memory 1)" * 17 + '(func (export "_start")))'
ENDS = [
    ("loop", '(module (func (export "_start") (loop (br 0))))', ["--timeout", "200ms"], "deadline", 124),
    ("recursion", '(module (func $f (export "_start") (call $f)))', [], "trap", 134),
    ("unreachable", '(module (func (export "_start") unreachable))', [], "trap", 134),
    ("prints", spam(1), ["--max-output", "1M"], "output", 109),
    ("complains", spam(2), ["--max-output", "1M"], "output", 109),
    ("grows", '(module (memory 1) (func (export "_start") (loop (drop (memory.grow (i32.const 100))) (br 0))))',
     ["--max-memory", "50M"], "memory", 109),
    ("large", '(module (memory 30000) (func (export "_start")))', ["--max-memory", "50M"], "memory", 109),
    ("table", '(module (table 1 funcref) (func (export "_start") (loop'
              ' (drop (table.grow (ref.null func) (i32.const 9999))) (br 0))))', ["--max-table", "100000"], "table", 109),
    ("memories", MANY, [], "too-many", 109),
    ("fuel", '(module (func (export "_start") (loop (br 0))))', ["--fuel", "100000"], "fuel", 109),
    ("invalid", "(module (func (result i32)))", [], "wasm-invalid", 103),
    ("imports", '(module (import "host" "secret" (func)) (func (export "_start")))', [], "missing-import", 109),
]


@pytest.mark.parametrize("name,wat,args,code,status", ENDS, ids=[e[0] for e in ENDS])
def test_each_end_has_its_own_name(box, name, wat, args, code, status):
    refused(box, wat, code, status, *args)


def test_a_large_data_segment(box):
    """100 MB of data: they fit, or the limit says so; the compiler does not fall over."""
    body = b"\x00" * (100 << 20)

    def leb(n):
        out = b""
        while True:
            out += bytes([n & 0x7F | (0x80 if n > 0x7F else 0)])
            n >>= 7
            if not n:
                return out
    def section(number, content):
        return bytes([number]) + leb(len(content)) + content
    module = (b"\0asm\1\0\0\0" + section(1, b"\1\x60\0\0") + section(3, b"\1\0")
              + section(5, b"\1\0" + leb(1700)) + section(7, b"\1\x06_start\0\0") + section(10, b"\1\x02\0\x0b")
              + section(11, b"\1\0\x41\0\x0b" + leb(len(body)) + body))
    (box / "big.wasm").write_bytes(module)
    assert box.run("propcvm", "run", "--allow-plain", "big.wasm").out == ""
    r = box.run("propcvm", "run", "--allow-plain", "big.wasm", "--max-memory", "50M", "--json", ok=109)
    assert r.error()["code"] == "memory"


def test_a_compilation_that_takes_too_long(box):
    funcs = "(func (result i32) (i32.mul (i32.const 3) (i32.add (i32.const 4) (i32.const 5))))" * 20000
    refused(box, f"(module {funcs})", "compile-limit", 124, "--compile-timeout", "5ms")


# --- what is left ---------------------------------------------------------------------------------------

def descendants(pid):
    """Pids below `pid`, itself included."""
    tree = {}
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            text = open(stat).read()
        except OSError:
            continue
        tree.setdefault(int(text.rsplit(")", 1)[1].split()[1]), []).append(int(text.split()[0]))
    found, todo = [], [pid]
    while todo:
        p = todo.pop()
        found.append(p)
        todo += tree.get(p, [])
    return found


def wait_until(condition, what):
    for _ in range(1500):
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(what)


def alive(pid):
    try:
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def start_endless(box, *args, **kw):
    """A run of an endless module, once its own process runs; and all processes of it."""
    p = subprocess.Popen([BIN / "propcvm", "run", *args], env=box.env, cwd=box.path, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, **kw)

    def burning():
        for pid in descendants(p.pid)[1:]:
            try:
                fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
            except OSError:
                continue
            # processor time, and the argument vector of the runner: neither the tool nor the compiler
            if int(fields[11]) > 10 and len(descendants(pid)) == 1 and pid != p.pid:
                return True
        return False
    wait_until(burning, "the module does not run")
    return p, descendants(p.pid)


@pytest.mark.parametrize("how,status", [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)])
def test_nothing_runs_on(box, how, status):
    p, family = start_endless(box, "--allow-plain", str(MODULES / "loop.wasm"))
    assert len(family) >= 3
    p.send_signal(how)
    p.communicate(timeout=30)
    assert p.returncode == status
    wait_until(lambda: not any(alive(pid) for pid in family), "a process was left")


def test_the_fork_server_dies(box):
    p, family = start_endless(box, "--allow-plain", str(MODULES / "loop.wasm"))
    os.kill(family[1], signal.SIGKILL)
    out, err = p.communicate(timeout=30)
    assert p.returncode == 107 and b"runner" in err and out == b""
    wait_until(lambda: not any(alive(pid) for pid in family), "a process was left")


class Secret:
    """An encrypted endless module with a mark in its text, the key that opens it, and a broker."""

    def __init__(self, box, kbs):
        self.mark = b"needle-in-the-haystack-" + os.urandom(8).hex().encode()
        self.kek = os.urandom(32)
        (box / "kek").write_bytes(self.kek)
        (box / "kek").chmod(0o600)
        custom = b"\x01n" + self.mark
        (box / "plain").mkdir()
        module = box / "plain/m.wasm"
        # exported name and custom section: in the machine code's file and in the module's
        module.write_bytes((MODULES / "loop.wasm").read_bytes() + b"\0" + bytes([len(custom)]) + custom)
        box.run("propenc", "encrypt", module, "oci:img:v1", "-r",
                f"provider:attestation-agent:keypath=kek::keyid=kbs:///{PATH}::algorithm=A256GCM")
        admin = ("--kbs", kbs.url, "--admin-key", kbs.admin_key)
        (box / "allow.rego").write_text(ALLOW)
        box.run("propkey", "set", PATH, "kek", *admin)
        box.run("propkey", "policy", "set", "allow.rego", "--allow-wider", *admin)
        module.unlink()
        (box / "kek").unlink()
        self.forms = [self.mark, self.kek, base64.b64encode(self.kek), self.kek.hex().encode(),
                      base64.urlsafe_b64encode(self.kek).rstrip(b"=")]

    def found_in(self, data):
        return [f for f in self.forms if f in data]


def test_neither_key_nor_module_anywhere(box, kbs):
    """While it runs and after: no file below the folders it knows, no argument, variable or message of
    any of its processes holds the key or the module; no memory of theirs is a file on a disk."""
    secret = Secret(box, kbs)
    tmp = box / "tmp"
    tmp.mkdir()
    box.env["TMPDIR"] = str(tmp)
    p, family = start_endless(box, "oci:img:v1", "--kbs", kbs.url, "--tee", "sample", "--timeout", "10m")
    try:
        for pid in family:
            for name in ("environ", "cmdline"):
                assert not secret.found_in(pathlib.Path(f"/proc/{pid}/{name}").read_bytes()), (pid, name)
            limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
            core = next(line for line in limits.splitlines() if "core file size" in line)
            assert core.split()[4:6] in (["0", "0"], ["1", "1"]), core  # 1: nor to a program (core(5))
            for fd in pathlib.Path(f"/proc/{pid}/fd").iterdir():
                try:
                    target = os.readlink(fd)
                except OSError:
                    continue
                assert not target.startswith(str(tmp)), target
            maps = pathlib.Path(f"/proc/{pid}/maps").read_text()
            assert str(tmp) not in maps and str(box / "home") not in maps
        # what runs the module: no variable, nothing but pipes, memory and a filter
        for pid in family[1:]:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            assert "NoNewPrivs:\t1" in status
            if pathlib.Path(f"/proc/{pid}/environ").read_bytes():
                assert "ASAN" in os.environ.get("PROP_BUILD", "") or "asan" in os.environ.get("PROP_BUILD", "")
        guest = family[-1]
        assert "Seccomp:\t2" in pathlib.Path(f"/proc/{guest}/status").read_text()
        self_check(box, secret, kbs)
    finally:
        p.send_signal(signal.SIGINT)
        out, err = p.communicate(timeout=30)
    assert not secret.found_in(out + err)
    self_check(box, secret, kbs)


def self_check(box, secret, kbs):
    """No file of the box, but what the key broker keeps, holds the key or the module."""
    for path in box.path.rglob("*"):
        if path.is_file() and not path.is_relative_to(kbs.state):
            assert not secret.found_in(path.read_bytes()), path


def test_a_guest_cannot_see_who_runs_it(box):
    """Standard error of a guest goes to the caller, not to any log of ours; its results do too."""
    r = run(box, spam(2).replace("(loop", "(block").replace("(br 0)", ""), "--json")
    assert "stderr" in r.json() and len(r.json()["stderr"]) == 16384


# --- output that nobody takes, input that comes late -----------------------------------------------------

def test_a_reader_that_does_not_read(box):
    """The deadline holds although the pipe is full and nobody reads."""
    (box / "m.wat").write_text(spam(1))
    p = subprocess.Popen([BIN / "propcvm", "run", "--allow-plain", "m.wat", "--timeout", "1s"], env=box.env,
                         cwd=box.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.wait(60) == 124
    p.stdout.close()
    p.stderr.close()


def test_a_great_output_passes_through(box):
    wat = spam(1).replace("(loop (drop", '(local i32) (loop $l (drop').replace(
        "(br 0)", "(br_if $l (i32.lt_s (local.tee 0 (i32.add (local.get 0) (i32.const 1))) (i32.const 2000)))")
    r = run(box, wat)
    assert len(r.stdout) == 2000 * 16384
    assert r.stdout[16:32] == bytes(16)


def test_input_that_comes_late(box):
    (box / "wc.wasm").write_bytes((MODULES / "wc.wasm").read_bytes())
    p = subprocess.Popen([BIN / "propcvm", "run", "--allow-plain", "wc.wasm", "--stdin", "-"], env=box.env,
                         cwd=box.path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    for word in (b"one ", b"two\n", b"three\n"):
        p.stdin.write(word)
        p.stdin.flush()
        time.sleep(0.05)
    out, err = p.communicate(timeout=60)
    assert out == b"2 3 14\n" and p.returncode == 0, err


# --- another runtime -------------------------------------------------------------------------------------

RUNTIME = '''#!/usr/bin/python3
import os, sys
print(sys.argv[1:], sorted(os.environ), file=sys.stderr)
module = next(a for a in sys.argv if a.startswith("/proc/self/fd/"))
data = open(module, "rb").read()
assert data[:4] == b"\\0asm", data[:4]
try:
    os.write(os.open(module, os.O_RDWR), b"x")
    print("written", file=sys.stderr)
except OSError:
    pass
print(sum(int(a) for a in sys.argv[sys.argv.index(module) + 1:]))
sys.exit(int(os.environ.get("STATUS", "0")))
'''


def test_an_external_runtime(box, kbs):
    runtime = box / "runtime"
    runtime.write_text(RUNTIME)
    runtime.chmod(0o755)
    box.run("propkey", "gen", "kek.bin")
    box.run("propenc", "encrypt", MODULES / "add.wasm", "oci:img:v1", "-r",
            f"provider:attestation-agent:keypath=kek.bin::keyid=kbs:///{PATH}::algorithm=A256GCM")
    r = box.run("propcvm", "run", "oci:img:v1", "--key", "kek.bin", "--external-runtime", runtime, "--invoke", "add",
                "--env", "STATUS=3", "--", "10", "20", ok=3)
    assert r.out == "30\n"
    assert "['--invoke', 'add', '--env', 'STATUS=3', '/proc/self/fd/5', '10', '20']" in r.err
    names = set(eval(r.err[r.err.index("] [") + 2:].splitlines()[0]))  # noqa: S307 - printed by the script above
    assert "STATUS" in names and not names & set(box.env) - {"LC_CTYPE"} and "written" not in r.err
    # what would rule the program itself reaches the guest only
    r = box.run("propcvm", "run", "oci:img:v1", "--key", "kek.bin", "--external-runtime", runtime, "--invoke", "add",
                "--env", "LD_PRELOAD=x.so", "--env", "PYTHONSTARTUP=x", "--env", "PATH=/x", "--env", "MINE=1", "--", "1", "1")
    names = set(eval(r.err[r.err.index("] [") + 2:].splitlines()[0]))  # noqa: S307 - printed by the script above
    assert r.out == "2\n" and "LD_PRELOAD=x.so" in r.err and "PYTHONSTARTUP=x" in r.err
    assert "MINE" in names and not names & {"LD_PRELOAD", "PYTHONSTARTUP", "PATH"}
    # by its variable, and by a name that PATH finds
    r = box.run("propcvm", "run", "--allow-plain", MODULES / "add.wasm", "--invoke", "add", "--json", "--", "1", "2",
                env={"PROPLET_EXTERNAL_WASM_RUNTIME": "runtime", "PATH": f"{box.path}:{box.env['PATH']}"})
    assert r.json()["results"] == "3\n" and "'run', '--invoke'" in r.json()["stderr"]
    r = box.run("propcvm", "run", "--allow-plain", MODULES / "add.wasm", "--external-runtime", "nowhere", ok=108)
    assert "nowhere" in r.err


# --- tasks that carry their module ------------------------------------------------------------------------

def test_a_module_inside_the_task(box):
    task = {"name": "add", "file": base64.b64encode((MODULES / "add.wasm").read_bytes()).decode(), "inputs": [3, 4]}
    (box / "task.json").write_text(json.dumps(task))
    assert box.run("propcvm", "run", "--allow-plain", "task.json").out == "7\n"
    r = box.run("propcvm", "run", "task.json", "--json", ok=105)
    assert r.error()["code"] == "not-encrypted"
    task.update(name="count", file=base64.b64encode((MODULES / "wc.wasm").read_bytes()).decode(), inputs=[])
    (box / "task.json").write_text(json.dumps(task))
    assert box.run("propcvm", "run", "--allow-plain", "task.json").out == "0 0 0\n"  # a command by another name
    task.update(name="_start")
    (box / "task.json").write_text(json.dumps(task))
    assert box.run("propcvm", "run", "--allow-plain", "task.json").out == "0 0 0\n"
    for bad in ("not base64!", base64.b64encode(b"no module").decode()):
        task.update(file=bad)
        (box / "task.json").write_text(json.dumps(task))
        assert box.run("propcvm", "run", "--allow-plain", "task.json", ok=103).out == ""


# --- many at once ----------------------------------------------------------------------------------------

def test_many_at_once(box):
    results = []

    def one(i):
        r = box.run("propcvm", "run", "--allow-plain", MODULES / "add.wasm", "--invoke", "add", "--", str(i), "1")
        results.append(r.out == f"{i + 1}\n")
    threads = [threading.Thread(target=one, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert results == [True] * 8
