"""Publishers of one machine wait for each other on the ledger's lock, say so, and never go on without
it."""
import fcntl
import os
import signal
import subprocess

import pytest

from publishing import kept_keks


class Held:
    """The ledger's lock in the hands of another process, this one, which signs as holders do."""

    def __init__(self, box, sign=True):
        folder = box.home / "state/prop"
        folder.mkdir(parents=True, exist_ok=True)
        self.fd = os.open(folder / "ledger.db.lock", os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        os.truncate(self.fd, 0)
        if sign:
            os.write(self.fd, f"process {os.getpid()} (another-publisher)\n".encode())

    def __enter__(self):
        return self

    def release(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1

    def __exit__(self, *exc):
        self.release()


def admin(pub):
    return ("--kbs", pub.url, "--admin-key", pub.kbs.admin_key)


def kek(box):
    path = box / "k.bin"
    path.write_bytes(b"k" * 32)
    os.chmod(path, 0o600)
    return path


def test_refused_when_it_cannot_be_had(pub, box):
    """No verb that could destroy something goes on without it; what was done is taken back."""
    now = {"PROP_LOCK_TIMEOUT": "0"}
    with Held(box):
        e = pub.fails(7, "ledger-busy", "--kid", "t/k/1", env=now)
        assert f"process {os.getpid()} (another-publisher)" in e["message"]
        assert "PROP_LOCK_TIMEOUT" in e["hint"]
        for argv in (("set", "t/k/1", kek(box)), ("delete", "t/k/1"), ("policy", "preset", "deny-all"),
                     ("revoke", "t/k/1", "--yes"),
                     ("reference-value", "set", "x=1")):
            r = box.run("propkey", *argv, *admin(pub), "--json", env=now, ok=7)
            assert r.error()["code"] == "ledger-busy", r.err
    assert pub.get("t/k/1") is None
    # the run could not be taken back without the lock either: it is open, and told
    (run,) = box.run("proppush", "publish", "--list", "--json").json()["runs"]
    assert "--abort" in e["hint"]
    box.run("proppush", "publish", "--abort", str(run["run"]))
    assert kept_keks(box) == []
    # a holder that did not say who it is
    with Held(box, sign=False):
        assert "another process" in pub.fails(7, "ledger-busy", env=now)["message"]


@pytest.mark.parametrize("verb", ["publish", "set"])
def test_waiting_is_told_and_ends(pub, box, verb):
    argv = (pub.argv() if verb == "publish" else
            ["propkey", "set", "t/k/1", kek(box), *admin(pub)])
    with Held(box) as held:
        child = subprocess.Popen([str(a) for a in argv], env=box.env, cwd=box.path,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in child.stderr:
            if "waiting for it" in line:
                break
        assert f"held by process {os.getpid()} (another-publisher)" in line
        held.release()
        child.communicate(timeout=60)
    assert child.returncode == 0
    # the last holder signed, and is gone
    text = (box.home / "state/prop/ledger.db.lock").read_text()
    assert text == f"process {child.pid} ({'proppush' if verb == 'publish' else 'propkey'})\n"


def test_interrupted_while_waiting(pub, box):
    with Held(box):
        child = subprocess.Popen([str(a) for a in pub.argv()], env=box.env, cwd=box.path,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for line in child.stderr:
            if "waiting for it" in line:
                break
        child.send_signal(signal.SIGINT)
        err = child.communicate(timeout=60)[1]
        # what it did could not be taken back without the lock: that is told, and not waited for
        assert child.returncode == 130 and "--abort" in err, err
    box.run("proppush", "publish", "--abort")
    assert kept_keks(box) == []


def test_a_ledger_that_is_there_and_no_good(pub, box):
    """It may know what the upload would destroy."""
    state = box.home / "state/prop"
    state.mkdir(parents=True)
    (state / "ledger.db").write_bytes(b"this is no database, but as long as a header is" * 3)
    (state / "ledger.db").chmod(0o600)
    r = box.run("propkey", "set", "t/k/1", kek(box), *admin(pub), "--json", ok=3)
    assert r.error()["code"] == "ledger-damaged" and "move the file away" in r.error()["hint"]
    assert pub.get("t/k/1") is None
    (state / "ledger.db").unlink()
    (state / "ledger.db").write_bytes(b"")
    (state / "ledger.db").chmod(0o666)
    assert box.run("propkey", "set", "t/k/1", kek(box), *admin(pub), "--json",
                   ok=5).error()["code"] == "ledger-mode"


def test_where_there_can_be_no_ledger(pub, box):
    """A build container without a place for it: there it is a convenience."""
    (box.home / "file").write_text("")
    r = box.run("propkey", "set", "t/k/1", kek(box), *admin(pub),
                env={"XDG_STATE_HOME": str(box.home / "file")})
    assert "ledger cannot be used" in r.err
    box.run("propkey", "policy", "preset", "allow-all", *admin(pub))
    assert pub.get("t/k/1") == b"k" * 32
