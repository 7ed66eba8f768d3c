"""propkey backup and restore: KEKs under a passphrase, brought back on another machine, and what damage
and wrong passphrases do."""
import os
import pty
import sqlite3
import time

import pytest

from conftest import BIN, Box

CHEAP = ["--memory", "8M"]


@pytest.fixture
def other(tmp_path):
    """Another machine."""
    folder = tmp_path / "other"
    folder.mkdir()
    return Box(folder)


@pytest.fixture
def saved(box):
    """A machine with two KEKs, one of them in the ledger's use, and its backup under 'tree'."""
    for name in ("a.kek", "b.kek"):
        box.run("propkey", "gen", name)
    passphrase(box)
    return box


def passphrase(box, text="tree\n"):
    (box / "pass").write_text(text)
    os.chmod(box / "pass", 0o600)


def keks(box):
    folder = box.home / "data/prop/keys"
    return {p.name: p.read_bytes() for p in folder.iterdir()} if folder.exists() else {}


def backup(box, *args, ok=True):
    return box.run("propkey", "backup", "-o", "keys.backup", "--passphrase-file", "pass", *CHEAP, "--json", *args, ok=ok)


def restore(box, file, *args, text="tree", ok=True):
    passphrase(box, text)
    return box.run("propkey", "restore", file, "--passphrase-file", "pass", "--json", *args, ok=ok)


def test_keks_come_back_on_another_machine(saved, other):
    r = backup(saved).json()
    assert r["keks"] == 2 and (saved / "keys.backup").stat().st_mode & 0o777 == 0o600
    data = (saved / "keys.backup").read_bytes()
    assert data.startswith(b"prop sealed 1\n")
    assert not any(k in data for k in keks(saved).values())
    r = restore(other, saved / "keys.backup").json()
    assert sorted(r["restored"]) == sorted(n[4:20] for n in keks(saved)) and r["present"] == []
    assert keks(other) == keks(saved)
    assert all(p.stat().st_mode & 0o777 == 0o600 for p in (other.home / "data/prop/keys").iterdir())
    r = restore(other, saved / "keys.backup").json()
    assert r["restored"] == [] and len(r["present"]) == 2


def test_the_ledger_comes_back_too(saved, other, kbs):
    saved.run("propkey", "set", "default/key/a", "a.kek", "--kbs", kbs.url, "--admin-key", kbs.admin_key)
    r = backup(saved).json()
    assert [k["path"] for k in r["keys"]] == ["default/key/a"] and r["missing"] == []
    r = restore(other, saved / "keys.backup").json()
    assert [(k["path"], k["kbs"]) for k in r["keys"]] == [("default/key/a", kbs.url)]
    # the other machine knows now that the name is taken
    other.run("propkey", "gen", "new.kek")
    e = other.run("propkey", "set", "default/key/a", "new.kek", "--kbs", kbs.url, "--admin-key", kbs.admin_key,
                  "--json", ok=7).error()
    assert e["code"] == "key-in-use"


def test_what_is_here_wins(saved, other, kbs):
    argv = ("--kbs", kbs.url, "--admin-key", kbs.admin_key)
    saved.run("propkey", "set", "default/key/a", "a.kek", *argv)
    backup(saved)
    other.run("propkey", "gen", "new.kek")
    other.run("propkey", "set", "default/key/a", "new.kek", *argv)
    r = restore(other, saved / "keys.backup")
    assert "left as it is here" in r.err and len(r.json()["restored"]) == 2
    assert r.json()["keys"] == [] and r.json()["conflicts"][0]["path"] == "default/key/a"
    other.run("propkey", "set", "default/key/a", "new.kek", *argv)  # still its own


def test_a_rotation_that_was_begun_goes_on_elsewhere(saved, other, kbs):
    """The next machine must choose the same new name and KEK."""
    argv = ("--kbs", kbs.url, "--admin-key", kbs.admin_key)
    saved.run("propkey", "set", "default/key/a", "a.kek", *argv)
    row = (kbs.url, "default/key/a", "default/key/a-0123456789abcdef", "0123456789abcdef")
    db = sqlite3.connect(saved.home / "state/prop/ledger.db")
    db.execute("INSERT INTO rotation (kbs, path, new_path, fingerprint, time) VALUES (?, ?, ?, ?, 1)", row)
    db.commit()
    db.close()
    backup(saved, "--force")
    look = restore(other, saved / "keys.backup", "--dry-run").json()
    assert [r["new_path"] for r in look["rotations"]] == [row[2]]
    assert restore(other, saved / "keys.backup").json()["rotations"] == look["rotations"]
    db = sqlite3.connect(other.home / "state/prop/ledger.db")
    assert db.execute("SELECT kbs, path, new_path, fingerprint FROM rotation").fetchall() == [row]
    db.close()
    # what this machine began itself stays
    assert restore(other, saved / "keys.backup").json()["rotations"] == []


def test_keys_made_elsewhere_are_named(saved, kbs):
    saved.run("propkey", "gen", "far.kek", "--no-keep")
    saved.run("propkey", "set", "default/key/far", "far.kek", "--kbs", kbs.url, "--admin-key", kbs.admin_key)
    r = backup(saved)
    assert [k["path"] for k in r.json()["missing"]] == ["default/key/far"] and "not in the backup" in r.err


def test_a_look_changes_nothing(saved, other):
    backup(saved)
    r = restore(other, saved / "keys.backup", "--dry-run").json()
    assert len(r["restored"]) == 2 and r["dry_run"] is True and keks(other) == {}
    assert not (other.home / "state").exists()


def test_a_wrong_passphrase(saved, other):
    backup(saved)
    e = restore(other, saved / "keys.backup", text="three", ok=4).error()
    assert e["code"] == "wrong-passphrase" and keks(other) == {}


def test_every_byte_is_guarded(saved, other):
    """One bit flipped anywhere, or the end missing: refused, nothing brought back."""
    backup(saved)
    whole = (saved / "keys.backup").read_bytes()
    head = 16 + 8 + 16 + 24
    places = list(range(0, head, 5)) + [16, 17, 19, 20, 23, head, head + 16, head + 17, head + 40, len(whole) - 1]
    codes = set()
    for at in places:
        damaged = bytearray(whole)
        damaged[at] ^= 0x01
        (other / "bad").write_bytes(damaged)
        r = restore(other, "bad", ok=None)
        assert r.returncode in (3, 4, 9), (at, r.err)
        codes.add(r.error()["code"])
        assert keks(other) == {}
    assert {"not-sealed", "wrong-passphrase", "sealed-damaged"} <= codes
    for cut in (0, 1, 15, 40, head + 16, head + 17, len(whole) - 1):
        (other / "bad").write_bytes(whole[:cut])
        assert restore(other, "bad", ok=None).returncode in (3, 4, 9)
    (other / "bad").write_bytes(whole + b"x")
    assert restore(other, "bad", ok=4).error()["code"] == "sealed-damaged"
    assert keks(other) == {}


@pytest.mark.parametrize("at,value,code", [(12, b"2", "sealed-version"), (16, b"\x00\x00\x00\x00", "sealed-cost"),
                                           (16, b"\xff\xff\xff\x7f", "sealed-cost"), (20, b"\xff\xff\xff\x7f", "sealed-cost"),
                                           (20, b"\x01\x00\x00\x00", "sealed-cost")])
def test_heads_that_ask_for_too_much(saved, other, at, value, code):
    backup(saved)
    data = bytearray((saved / "keys.backup").read_bytes())
    data[at:at + len(value)] = value
    (other / "bad").write_bytes(data)
    assert restore(other, "bad", ok=9).error()["code"] == code


def test_without_a_ledger_nothing_is_restored(saved, other):
    backup(saved)
    state = other.home / "state"
    state.write_text("a file where the folder should be")
    restore(other, saved / "keys.backup", ok=7)
    assert keks(other) == {}
    state.unlink()
    assert len(restore(other, saved / "keys.backup").json()["restored"]) == 2


def test_nothing_to_back_up(box):
    passphrase(box)
    assert backup(box, ok=8).error()["code"] == "no-keks" and not (box / "keys.backup").exists()


def test_a_backup_in_the_way(saved):
    backup(saved)
    before = (saved / "keys.backup").read_bytes()
    assert backup(saved, ok=7).error()["code"] == "file-exists"
    assert (saved / "keys.backup").read_bytes() == before
    backup(saved, "--force")
    assert (saved / "keys.backup").read_bytes() != before  # another salt, another key


def test_a_backup_to_stdout(saved, other):
    data = saved.run("propkey", "backup", "-o", "-", "--passphrase-file", "pass", *CHEAP).stdout
    (other / "b").write_bytes(data)
    assert len(restore(other, "b").json()["restored"]) == 2
    r = saved.run("propkey", "backup", "-o", "-", "--passphrase-file", "pass", *CHEAP, "--json", ok=2)
    assert r.error()["code"] == "json-and-stdout" and r.stdout == b""


@pytest.mark.parametrize("args,status,code", [
    ([], 2, "no-passphrase"), (["--passphrase-file", "empty"], 2, "empty-passphrase"),
    (["--passphrase-file", "open"], 5, "key-file-mode"), (["--passphrase-file", "nosuch"], 8, "not-found"),
    (["--passphrase-fd", "x"], 2, "bad-option-value"), (["--passphrase-file", "pass", "--passphrase-fd", "0"], 2, "two-passphrases"),
    (["--passphrase-file", "pass", "--memory", "1M"], 2, "sealed-cost"),
])
def test_passphrases_that_are_none(saved, args, status, code):
    (saved / "empty").write_text("\n")
    os.chmod(saved / "empty", 0o600)
    (saved / "open").write_text("tree\n")
    os.chmod(saved / "open", 0o644)
    r = saved.run("setsid", "propkey", "backup", "-o", "x", *CHEAP[:0 if "--memory" in args else 2], *args, "--json", ok=status)
    assert r.error()["code"] == code and not (saved / "x").exists()


def test_a_passphrase_from_a_descriptor(saved, other):
    r = saved.run("propkey", "backup", "-o", "keys.backup", "--passphrase-fd", "0", *CHEAP, stdin="tree\r\nsecond line\n")
    assert "tree" not in r.out + r.err
    assert len(restore(other, saved / "keys.backup", text="tree").json()["restored"]) == 2


def typed(box, argv, *lines):
    """Run with a terminal of its own and type lines at its prompts."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(box.path)
        os.execvpe(argv[0], argv, box.env)
    seen = b""
    for prompt, line in lines:
        end = time.monotonic() + 20
        while prompt not in seen:
            assert time.monotonic() < end, seen
            seen += os.read(fd, 1024)
        seen = seen.split(prompt, 1)[1]
        os.write(fd, line + b"\n")
    try:
        while chunk := os.read(fd, 1024):
            seen += chunk
    except OSError:
        pass
    os.close(fd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def test_a_passphrase_at_the_terminal(saved, other):
    tool = str(BIN / "propkey")
    status, seen = typed(saved, [tool, "backup", "-o", "keys.backup", *CHEAP], (b"passphrase: ", b"tree house"),
                         (b"again: ", b"tree house"))
    assert status == 0 and b"tree house" not in seen
    status, seen = typed(saved, [tool, "backup", "-o", "two", *CHEAP, "--json"], (b"passphrase: ", b"one"), (b"again: ", b"two"))
    assert status == 2 and b"passphrases-differ" in seen and not (saved / "two").exists()
    status, seen = typed(other, [tool, "restore", str(saved / "keys.backup")], (b"passphrase: ", b"tree house"))
    assert status == 0 and keks(other) == keks(saved)
