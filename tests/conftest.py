"""What every whole-tool test starts from: the tools, a private home, real servers on free ports."""
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("PROP_BUILD", ROOT / "build")).resolve()
BIN = BUILD / "bin"
SHARED = pathlib.Path(os.environ.get("PROP_SHARED", ROOT.parent / "shared")).resolve()
VECTORS = ROOT / "tests" / "vectors"


def need(program):
    """Path of a peer program, or a named skip."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"peer not installed: {program}")
    return path


def shared(*parts):
    """A file under PROP_SHARED, or our own copy of what was made for this project, or a named skip."""
    path = SHARED.joinpath(*parts)
    if parts[-1].startswith("kbs-vector-"):
        path = VECTORS / "kbs" / parts[-1]
    elif parts[:2] == ("fixtures", "ocicrypt"):
        path = VECTORS.joinpath("ocicrypt", *parts[2:])
    if not path.exists():
        pytest.skip(f"not there: PROP_SHARED/{'/'.join(parts)}")
    return path


class Result(subprocess.CompletedProcess):
    """A finished run; out and err as text, json() of stdout, error() of the JSON on stderr."""

    @property
    def out(self):
        return self.stdout.decode("utf-8", "replace")

    @property
    def err(self):
        return self.stderr.decode("utf-8", "replace")

    def json(self):
        return json.loads(self.stdout)

    def error(self):
        for line in self.err.splitlines():
            if line.startswith('{"error"'):
                return json.loads(line)["error"]
        raise AssertionError(f"no error document on stderr: {self.err!r}")


class Box:
    """A working folder with its own HOME and XDG folders, and `run` for tools and peers."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.home = self.path / "home"
        self.home.mkdir()
        self.env = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(self.home),
            "XDG_DATA_HOME": str(self.home / "data"),
            "XDG_STATE_HOME": str(self.home / "state"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_RUNTIME_DIR": str(self.home / "run"),
            "LANG": "C.UTF-8",
            # Wasmtime's signal handlers and guard pages need this under AddressSanitizer.
            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "handle_segv=0:detect_leaks=1:abort_on_error=0:exitcode=99"),
            "UBSAN_OPTIONS": "print_stacktrace=1",
        }
        for name in ("LSAN_OPTIONS",):
            if name in os.environ:
                self.env[name] = os.environ[name]

    def __truediv__(self, name):
        return self.path / name

    def run(self, *argv, stdin=b"", env=None, ok=True, timeout=120, cwd=None):
        """Run a program. ok=True wants exit 0, an int wants that status, None takes any."""
        argv = [str(a) for a in argv]
        p = subprocess.run(
            argv, input=stdin if isinstance(stdin, bytes) else stdin.encode(), capture_output=True,
            env={**self.env, **(env or {})}, cwd=cwd or self.path, timeout=timeout)
        r = Result(p.args, p.returncode, p.stdout, p.stderr)
        want = 0 if ok is True else ok
        assert want is None or r.returncode == want, (
            f"{' '.join(argv)}\nexit {r.returncode}, wanted {want}\n"
            f"stdout: {r.out[-2000:]}\nstderr: {r.err[-4000:]}")
        assert "AddressSanitizer" not in r.err and "runtime error:" not in r.err, r.err[-6000:]
        return r


@pytest.fixture
def box(tmp_path):
    return Box(tmp_path)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """A child process that is stopped, and whose sanitizer findings fail the test, at the end."""

    def __init__(self, argv, **kw):
        self.proc = subprocess.Popen([str(a) for a in argv], **kw)

    def stop(self, sig=signal.SIGTERM):
        if self.proc.poll() is None:
            self.proc.send_signal(sig)
            try:
                self.proc.wait(10)
            except subprocess.TimeoutExpired:
                self.proc.kill()
                self.proc.wait()
        return self.proc.returncode


class Kbs(Server):
    """propkbs serve on a free port with its state folder; url, admin_key, ca."""

    def __init__(self, box, *args, name="kbs"):
        self.state = box / name
        self.log = open(box / f"{name}.log", "wb+")
        super().__init__([BIN / "propkbs", "serve", "--listen", "127.0.0.1:0", "--state", self.state, *args],
                         stdout=subprocess.PIPE, stderr=self.log, env=box.env, cwd=box.path)
        line = self.proc.stdout.readline().decode()
        assert line.startswith("listening on "), (line, open(self.log.name).read())
        self.url = line.split()[-1]
        self.admin_key = self.state / "admin.key"
        self.ca = self.state / "ca.pem"
        self.port = int(self.url.rsplit(":", 1)[1])

    def stop(self, sig=signal.SIGTERM):
        rc = super().stop(sig)
        self.proc.stdout.close()
        self.log.seek(0)
        text = self.log.read().decode("utf-8", "replace")
        self.log.close()
        assert "AddressSanitizer" not in text and "runtime error:" not in text, text[-6000:]
        return rc


@pytest.fixture
def kbs_factory(box):
    """kbs_factory(*args) starts a development KBS; all are stopped at the end."""
    started = []

    def start(*args):
        k = Kbs(box, *args, name=f"kbs{len(started)}")
        started.append(k)
        return k

    yield start
    for k in started:
        k.stop()


@pytest.fixture
def kbs(kbs_factory):
    return kbs_factory()


class Registry(Server):
    """Debian's docker-registry on a free port; host is "127.0.0.1:PORT"."""

    def __init__(self, folder, auth=None, delete=True):
        program = need("docker-registry")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self.root = pathlib.Path(folder) / "registry"
        self.root.mkdir(parents=True)
        conf = pathlib.Path(folder) / "registry.yml"
        text = (f"version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n"
                f"storage: {{filesystem: {{rootdirectory: {self.root}}}, delete: {{enabled: {str(delete).lower()}}}}}\n"
                f"http: {{addr: \"{self.host}\"}}\n")
        if auth:
            text += f"auth: {{htpasswd: {{realm: test, path: {auth}}}}}\n"
        conf.write_text(text)
        super().__init__([program, "serve", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(300):
            with socket.socket() as s:
                if s.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert self.proc.poll() is None, "docker-registry ended at once"
            time.sleep(0.02)
        raise AssertionError("docker-registry does not answer")


@pytest.fixture
def registry(tmp_path):
    r = Registry(tmp_path / "reg")
    yield r
    r.stop()


@pytest.fixture
def skopeo(box):
    """skopeo(*args): without a policy file, with its storage in the box."""
    program = need("skopeo")

    def run(*args, **kw):
        return box.run(program, "--insecure-policy", "--tmpdir", box.path, *args, **kw)
    return run


@pytest.fixture
def keys(box):
    """The key pairs and certificates of the recorded images, in a folder of their own."""
    folder = box / "keys"
    shutil.copytree(VECTORS / "ocicrypt/keys", folder)
    for f in folder.iterdir():
        f.chmod(0o600)
    return folder


@pytest.fixture
def module(box):
    """A small real module, as a file."""
    from publishing import ADDITION
    path = box / "addition.wasm"
    path.write_bytes(ADDITION)
    return path


@pytest.fixture
def pub(box, kbs, registry, module):
    """A publisher with a key broker, and a registry as its destination."""
    from publishing import Publisher
    return Publisher(box, kbs, module, f"{registry.host}/team/addition:encrypted")


@pytest.fixture
def world(tmp_path, registry):
    """A publisher whose servers stand behind proxies that fail on request."""
    from publishing import World
    w = World(tmp_path / "world", registry, "team/addition")
    yield w
    w.stop()
