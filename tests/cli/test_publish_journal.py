"""The journal of publishes: what a killed one leaves, who may go on with it, and what is never lost
or taken from somebody else."""
import concurrent.futures
import json
import os
import pathlib
import resource
import signal
import sqlite3
import subprocess
import threading
import time

import pytest

from publishing import ADDITION, Publisher, host_of, kept_keks, tag_digest

ARGS = ("--policy-doc", "p.toml", "--allow", "tee=sample", "--kid", "team/key/k1")
SAMPLE = {"PROP_TEE": "sample"}


def start(w, *args, env=None, **kw):
    return subprocess.Popen([str(a) for a in w.argv(*args, **kw)], env={**w.box.env, **(env or {})},
                            cwd=w.box.path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def killed(w, method, pattern, *args, proxy=None, after=False, env=None, **kw):
    """A publish that is killed before (or after) the first request that fits is passed on."""
    proxy = proxy or w.kbs_proxy
    child, ready, hit = [], threading.Event(), []

    def kill():
        ready.wait(20)
        child[0].kill()
        child[0].wait()
        return "drop"

    def fault(n, m, path):
        if m != method or pattern not in path or hit:
            return None
        hit.append(path)
        if not after:
            return kill
        proxy.fault = lambda n, m, path: kill  # the next one, whatever it is
        w.kbs_proxy.fault = w.reg_proxy.fault = proxy.fault
        return None

    proxy.fault = fault
    child.append(start(w, *(args or ARGS), env=env, **kw))
    ready.set()
    child[0].wait(60)
    w.kbs_proxy.fault = w.reg_proxy.fault = lambda n, m, path: None
    assert child[0].returncode == -signal.SIGKILL


def test_what_a_killed_run_leaves(world):
    assert world.open_runs() == []
    assert "left unfinished" in world.box.run("proppush", "publish", "--list").out
    killed(world, "POST", "/resource/")
    (run,) = world.open_runs()
    assert run["target"] == f"docker://{world.dst}" and run["last"] == "key"
    assert run["running"] is False and run["state"] == "open"
    assert "stopped  key" in world.box.run("proppush", "publish", "--list").out
    journal = world.box.home / "state/prop/journal.db"
    assert journal.stat().st_mode & 0o777 == 0o600
    steps = [tuple(r) for r in sqlite3.connect(journal).execute(
        "SELECT step, phase FROM entry ORDER BY id")]
    assert steps == [("kek", "begin"), ("kek", "done"), ("image", "begin"), ("image", "done"),
                     ("policy", "begin"), ("policy", "done"), ("document", "begin"),
                     ("document", "done"), ("key", "begin")]
    # no secret is in it, in any form
    kek = (world.box.home / "data/prop/keys" / kept_keks(world.box)[0]).read_bytes()
    admin = pathlib.Path(world.kbs.admin_key).read_bytes().splitlines()[1]
    text = b"".join(p.read_bytes() for p in journal.parent.iterdir())
    for form in (kek, kek.hex().encode(), admin):
        assert form not in text


def test_ways_to_name_a_run(world):
    killed(world, "POST", "/resource/")
    second = world.dst + "2"
    killed(world, "POST", "/resource/", *ARGS[:-1], "team/key/k2", dst=second)
    r = world.run_verb("--resume", ok=2)
    assert r.error()["code"] == "which-run" and "--list" in r.error()["hint"]
    assert world.run_verb("--resume", "99", ok=8).error()["code"] == "no-such-run"
    assert world.run_verb("--resume", f"{world.registry.host}/none:1", ok=8).error()["code"] == "no-such-run"
    doc = world.run_verb("--resume", second).json()
    assert doc["resumed"] is True and doc["kid"] == "kbs:///team/key/k2"
    (run,) = world.open_runs()
    world.run_verb("--abort", run["run"])
    assert world.open_runs() == [] and world.tag() == world.old
    assert world.get("team/key/k2") is not None


def test_settled_options_cannot_be_said_anew(world):
    killed(world, "POST", "/resource/")
    for args in (["--kid", "a/b/c"], ["--allow", "tee=snp"], ["--title", "x"], ["--replace-key"]):
        e = world.run_verb("--resume", *args, ok=2).error()
        assert e["code"] == "resume-option", e
    assert world.run_verb("--resume", "--abort", ok=2).error()["code"] == "usage"
    assert world.run_verb("--resume", "1", "2", ok=2).error()["code"] == "usage"
    world.box.run("proppush", "publish", ok=2)
    # the environment is for new runs
    doc = world.run_verb("--resume", env={"PROP_KBS_URL": "http://127.0.0.1:9"}).json()
    assert world.tag() == doc["digest"]


def test_admin_key_that_moved(world):
    """Relative paths are those of the folder the run began in; credentials may be named anew."""
    (world.box / "here.key").write_bytes(pathlib.Path(world.kbs.admin_key).read_bytes())
    os.chmod(world.box / "here.key", 0o600)
    killed(world, "POST", "/resource/", admin="here.key")
    (world.box / "here.key").rename(world.box / "moved.key")
    assert world.run_verb("--resume", ok=8).error()["code"] == "not-found"
    world.box.run("propkey", "admin-keygen", "-o", "wrong.key")
    before = world.snapshot()
    e = world.run_verb("--abort", "--admin-key", world.box / "wrong.key", ok=5).error()
    assert "--abort again" in e["hint"] and "--forget" in e["hint"]
    assert world.snapshot() == before and len(world.open_runs()) == 1
    doc = world.box.run("proppush", "publish", "--resume", "--admin-key", "moved.key", "--json").json()
    assert world.tag() == doc["digest"] and world.open_runs() == []


def test_kek_given_as_a_file(world):
    kek = world.box / "own.kek"
    kek.write_bytes(b"k" * 32)
    os.chmod(kek, 0o600)
    before = world.snapshot()
    killed(world, "POST", "/resource/", *ARGS, "--kek", "own.kek")
    other = world.box / "other.kek"
    other.write_bytes(b"o" * 32)
    os.chmod(other, 0o600)
    assert world.run_verb("--resume", "--kek", other, ok=4).error()["code"] == "kek-wrong"
    world.run_verb("--abort")
    # a KEK that was given is not ours to remove
    assert kek.exists() and world.snapshot() == before


def test_a_kek_that_is_gone(world):
    killed(world, "POST", "/resource/")
    for name in kept_keks(world.box):
        (world.box.home / "data/prop/keys" / name).unlink()
    assert world.run_verb("--resume", ok=8).error()["code"] == "kek-not-kept"
    world.run_verb("--abort")
    assert world.tag() == world.old and world.open_runs() == []


def test_source_that_changed(world):
    killed(world, "POST", "/resource/")
    world.module.write_bytes(ADDITION + b"\x00\x02\x01x")
    e = world.run_verb("--resume", ok=7).error()
    assert e["code"] == "source-changed" and "--abort" in e["hint"]
    # the same bytes at another time are the same
    world.module.write_bytes(ADDITION)
    assert world.run_verb("--resume").json()["digest"] == world.tag()


def test_source_that_changed_before_it_was_sent(world):
    killed(world, "POST", "/blobs/uploads/", proxy=world.reg_proxy)
    world.module.write_bytes(ADDITION + b"\x00\x02\x01x")
    assert world.run_verb("--resume", ok=7).error()["code"] == "source-changed"
    world.module.unlink()
    assert world.run_verb("--resume", ok=8).error()["code"] == "no-such-source"
    world.run_verb("--abort")
    assert kept_keks(world.box) == []


def test_source_that_is_gone_after_it_was_sent(world):
    killed(world, "POST", "/resource/")
    world.module.unlink()
    assert world.run_verb("--resume").json()["digest"] == world.tag()


def test_a_pipe_cannot_be_read_twice(world):
    child, hit = [], threading.Event()

    def kill():
        hit.set()
        while not child:
            time.sleep(0.01)
        child[0].kill()
        child[0].wait()
        return "drop"

    world.reg_proxy.fault = lambda n, m, path: kill if m == "POST" else None
    child.append(subprocess.Popen([str(a) for a in world.argv(*ARGS, src="-")], env=world.box.env,
                                  cwd=world.box.path, stdin=subprocess.PIPE,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    child[0].stdin.write(ADDITION)
    child[0].stdin.close()
    assert hit.wait(60)
    child[0].wait()
    world.reg_proxy.fault = lambda n, m, path: None
    assert world.run_verb("--resume", ok=2).error()["code"] == "source-is-pipe"
    world.run_verb("--abort")


def test_somebody_else_moved_the_tag_meanwhile(world):
    killed(world, "POST", "/resource/", after=True)
    third = world.box / "third.wasm"
    third.write_bytes(ADDITION + b"\x00\x02\x013")
    world.box.run("proppush", "push", third, f"{world.registry.host}/team/addition:encrypted")
    now = world.tag()
    assert world.run_verb("--resume", ok=7).error()["code"] == "tag-changed"
    assert len(world.open_runs()) == 1 and world.tag() == now
    doc = world.run_verb("--abort").json()
    assert world.tag() == now and world.get(world.name) is None
    assert any("key" in t for t in doc["taken_back"])


def test_somebody_else_uploaded_a_policy_meanwhile(world):
    killed(world, "POST", "/resource/", after=True)
    (world.box / "p2.toml").write_text((world.box / "p.toml").read_text() +
                                       '\n[[rule]]\nresource = "other/key/1"\ntee = "sample"\n')
    world.box.run("propkey", "policy", "set", "p2.toml", "--allow-wider", "--kbs", world.url,
                  "--admin-key", world.kbs.admin_key)
    policy = world.holds()[(2, "resource-policy")]
    document = (world.box / "p.toml").read_text()
    doc = world.run_verb("--abort").json()
    assert any("somebody uploaded another" in t for t in doc["left"])
    assert world.holds()[(2, "resource-policy")] == policy
    assert (world.box / "p.toml").read_text() == document
    assert not [k for k in world.holds() if world.name in k[1]]


def test_document_that_was_changed_meanwhile(world):
    killed(world, "POST", "/resource/", after=True)
    with open(world.box / "p.toml", "a") as f:
        f.write("# by hand\n")
    doc = world.run_verb("--abort").json()
    assert any("was changed since" in t for t in doc["left"])
    assert (world.box / "p.toml").read_text().endswith("# by hand\n")


def test_a_key_that_another_image_needs_stays(world):
    killed(world, "GET", "/manifests/sha256:", proxy=world.reg_proxy)
    kek = world.box.home / "data/prop/keys" / kept_keks(world.box)[0]
    other = world.json(*ARGS, "--kek", kek, dst=world.dst + "2")
    doc = world.run_verb("--abort").json()
    assert any("another image needs" in t for t in doc["left"]), doc
    assert world.get(world.name) == kek.read_bytes()
    assert world.decrypts(other)


def test_a_key_that_was_overwritten_comes_back(world):
    first = world.json(*ARGS)
    old = world.get(world.name)
    world.module.write_bytes(ADDITION + b"\x00\x02\x01x")
    killed(world, "POST", "/resource/", *ARGS, "--replace-key", after=True)
    assert world.get(world.name) not in (old, None)
    doc = world.run_verb("--abort").json()
    assert any("old one again" in t for t in doc["taken_back"])
    assert world.get(world.name) == old
    world.module.write_bytes(ADDITION)
    assert world.json(*ARGS)["digest"] == first["digest"]


def test_a_server_that_cannot_delete(world):
    killed(world, "POST", "/resource/", after=True)
    world.kbs_proxy.fault = lambda n, m, path: 404 if m == "DELETE" else None
    doc = world.run_verb("--abort").json()
    assert any("the key may be in the KBS" in t for t in doc["left"]) or doc["taken_back"]
    assert world.open_runs() == []


def test_abort_while_a_server_is_down(world):
    killed(world, "POST", "/resource/", after=True)
    before = world.snapshot()
    world.kbs_proxy.fault = lambda n, m, path: "drop"
    e = world.run_verb("--abort", ok=6).error()
    assert "the run stays open" in e["hint"]
    world.kbs_proxy.fault = lambda n, m, path: None
    world.run_verb("--abort")
    assert world.snapshot() != before and world.open_runs() == []
    assert not [k for k in world.holds() if world.name in k[1]]


def test_killed_while_nothing_was_to_change(world):
    """The same module again: key and rule of the image that is there are never taken away."""
    first = world.json(*ARGS)
    for verb in ("--abort", "--resume"):
        before = world.snapshot()
        killed(world, "POST", "/resource/", after=verb == "--abort")
        doc = world.run_verb(verb).json()
        assert world.open_runs() == []
        assert world.snapshot() == before
    assert doc["unchanged"] is True and doc["digest"] == first["digest"]
    assert world.get(world.name) is not None


@pytest.mark.parametrize("kind", ["dir:{}", "oci-archive:{}.tar:v1"])
def test_places_that_are_written_as_a_whole(world, kind):
    dst = kind.format(world.box / "place")
    for verb in ("--abort", "--resume"):
        before = world.snapshot()
        killed(world, "POST", "/resource/", dst=dst)
        world.module.touch()
        doc = world.run_verb(verb).json()
        assert world.open_runs() == []
        if verb == "--abort":
            assert world.snapshot() == before
    out = world.box / "out.wasm"
    world.box.run("propenc", "decrypt", dst, out, "--key", doc["kek_file"])
    assert out.read_bytes() == ADDITION


def test_forget(world):
    killed(world, "POST", "/resource/", after=True)
    before = world.snapshot()
    doc = world.run_verb("--forget").json()
    assert "the key in the KBS" in doc["left"] and doc["taken_back"] == []
    assert world.snapshot() == before and world.open_runs() == []
    assert world.run_verb("--forget", ok=8).error()["code"] == "no-such-run"


def test_another_key_broker_is_another_run(world, tmp_path):
    killed(world, "POST", "/resource/")
    db = sqlite3.connect(world.box.home / "state/prop/journal.db")
    db.execute("UPDATE run SET plan = replace(plan, ?, 'http://127.0.0.1:9')", (world.url,))
    db.commit()
    db.close()
    assert world.run_verb("--abort", ok=None).returncode in (2, 6)
    assert len(world.open_runs()) == 1


def test_a_publisher_at_work_is_waited_for(world):
    """Two for one tag: the second waits for the first, and finds its image."""
    inside, go = threading.Event(), threading.Event()

    def hold():
        inside.set()
        go.wait(60)
        return None

    held = []
    world.kbs_proxy.fault = lambda n, m, path: (
        hold if m == "POST" and "/resource/" in path and not held and not held.append(1) else None)
    first = start(world, *ARGS)
    assert inside.wait(60)
    (run,) = world.open_runs()
    assert run["running"] is True and run["pid"] == first.pid
    for verb in ("--resume", "--abort", "--forget"):
        assert world.run_verb(verb, ok=7).error()["code"] == "publish-running"
    world.run(*ARGS, "--dry-run")
    second = start(world, *ARGS)
    time.sleep(0.2)
    assert second.poll() is None
    go.set()
    assert first.wait(60) == 0 and second.wait(60) == 0
    assert world.open_runs() == [] and len(kept_keks(world.box)) == 1


def test_dry_run_beside_a_killed_one(world):
    killed(world, "POST", "/resource/")
    assert world.fails(2, "unfinished-run", *ARGS, "--dry-run")["hint"]
    # another destination is another matter
    world.json("--dry-run", dst=world.dst + "2")


def test_bad_journals(pub, box):
    state = box.home / "state/prop"
    state.mkdir(parents=True)
    (state / "journal.db").write_text("no database at all, but some text")
    os.chmod(state / "journal.db", 0o600)
    e = pub.fails(3, "journal-damaged")
    assert e["hint"]
    (state / "journal.db").write_text("")
    os.chmod(state / "journal.db", 0o622)
    pub.fails(5, "journal-mode")
    (state / "journal.db").unlink()
    db = sqlite3.connect(state / "journal.db")
    db.execute("PRAGMA user_version = 9")
    db.close()
    os.chmod(state / "journal.db", 0o600)
    pub.fails(9, "journal-version")
    assert kept_keks(box) == [] and tag_digest(host_of(pub)) is None


def test_a_journal_that_cannot_be_written_stops_everything(world):
    """What cannot be noted is not begun."""
    world.json(*ARGS, dst=world.dst + "1")
    before = world.snapshot()
    db = sqlite3.connect(world.box.home / "state/prop/journal.db")
    for step in ("kek", "policy", "key", "tag"):
        db.execute("DROP TRIGGER IF EXISTS full")
        db.execute(f"CREATE TRIGGER full BEFORE INSERT ON entry WHEN NEW.step = '{step}' AND "
                   "NEW.phase = 'begin' BEGIN SELECT RAISE(FAIL, 'disk full'); END")
        db.commit()
        world.fails(7, "journal", *ARGS[:-1], "team/key/k9")
        assert world.snapshot() == before, step
        db.execute("DROP TRIGGER full")
        db.commit()
        for run in world.open_runs():
            world.run_verb("--abort", run["run"])
        assert world.snapshot() == before, step
    db.close()


@pytest.mark.parametrize("kib", [4, 16, 24, 32, 40, 48, 64, 96])
def test_a_disk_that_is_full(world, kib):
    """No file can grow further, somewhere on the way: a clean failure, and nothing that cannot be taken
    back when there is room again."""
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (kib << 10, kib << 10))

    before = world.snapshot()
    p = subprocess.run([str(a) for a in world.argv(*ARGS, "--json")], env={**world.box.env, **SAMPLE},
                       cwd=world.box.path, capture_output=True, preexec_fn=limit, timeout=120)
    err = p.stderr.decode()
    assert p.returncode in (0, 7) and (p.returncode == 0) == bool(p.stdout), err
    if p.returncode == 0:
        assert world.tag() == json.loads(p.stdout)["digest"]
        return
    assert world.tag() == world.old
    for run in world.open_runs():
        assert f"--abort {run['run']}" in err
        world.run_verb("--abort", run["run"])
    assert world.snapshot() == before and world.open_runs() == []


def test_aborted_twice_and_several_runs(world):
    killed(world, "POST", "/resource/")
    killed(world, "POST", "/resource/", *ARGS[:-1], "team/key/k2", dst=world.dst + "2")
    for verb in ("--resume", "--abort", "--forget"):
        e = world.run_verb(verb, ok=2).error()
        assert e["code"] == "which-run" and "--list" in e["hint"]
    first, second = sorted(r["run"] for r in world.open_runs())
    world.run_verb("--abort", first)
    e = world.run_verb("--abort", first, ok=8).error()
    assert e["code"] == "no-such-run"
    assert world.run_verb("--resume", first, ok=8).error()["code"] == "no-such-run"
    doc = world.run_verb("--resume", env=SAMPLE).json()  # the only one there is now
    assert doc["resumed"] is True and doc["reference"] == world.dst + "2"
    assert world.run_verb("--resume", second, ok=8).error()["code"] == "no-such-run"
    assert world.tag() == world.old and world.open_runs() == []


def test_timings_and_proof(pub):
    doc = pub.json("--allow", "tee=sample", "--replace-policy", env=SAMPLE)
    assert all(isinstance(s["ms"], int) and s["ms"] >= 0 for s in doc["steps"])
    assert doc["ms"] >= sum(s["ms"] for s in doc["steps"][-1:]) and doc["resumed"] is False
    assert "decrypts" in doc["proof"]["image"] and "another machine" in doc["proof"]["name"]
    assert "best effort" in doc["steps"][-1]["text"]


def publish_many(box, kbs, registry, count, workers):
    """Publishers of one machine, one KBS, one registry, one policy document with one rule for all."""
    rule = 'version = 1\n[[rule]]\nresource = "fleet/key/*"\ntee = "sample"\n'
    (box / "p.toml").write_text(rule)

    def publish(i):
        module = box / f"m{i}.wasm"
        module.write_bytes(ADDITION + b"\x00\x04\x01x" + i.to_bytes(2, "big"))
        pub = Publisher(box, kbs, module, f"{registry.host}/fleet/m{i}:1")
        return pub.json("--policy-doc", "p.toml", "--allow", "tee=sample", "--kid", f"fleet/key/m{i}")

    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        docs = list(pool.map(publish, range(count)))
    assert (box / "p.toml").read_text() == rule
    assert len({d["digest"] for d in docs}) == len(kept_keks(box)) == count
    for i, doc in enumerate(docs):
        assert tag_digest(registry.host, f"fleet/m{i}", "1") == doc["digest"]
    pub = Publisher(box, kbs, box / "m7.wasm", "")
    assert pub.get("fleet/key/m7") == pathlib.Path(docs[7]["kek_file"]).read_bytes()
    assert box.run("proppush", "publish", "--list", "--json").json()["runs"] == []


def test_many_modules_under_one_rule(box, kbs, registry):
    publish_many(box, kbs, registry, 32, 8)


@pytest.mark.skipif(os.environ.get("PROP_LONG") != "1", reason="takes minutes: PROP_LONG=1")
def test_a_thousand_modules_under_one_rule(box, kbs, registry):
    publish_many(box, kbs, registry, 1000, 16)


# --- build servers ---------------------------------------------------------------------------------

def test_github_actions(pub, box):
    env = {"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(box / "out"),
           "GITHUB_STEP_SUMMARY": str(box / "summary")}
    (box / "out").write_text("earlier=1\n")
    r = pub.run("--allow", "tee=sample", "--replace-policy", "--json", env=env)
    doc = r.json()
    lines = (box / "out").read_text().splitlines()
    assert lines[0] == "earlier=1"
    given = dict(line.split("=", 1) for line in lines)
    for name in ("digest", "pinned", "kid", "reference"):
        assert given[name] == doc[name]
    assert f"| digest | `{doc['digest']}` |" in (box / "summary").read_text()
    assert "::warning title=proppush publish::sample evidence may have the key%3A" not in r.err
    assert "::warning title=proppush publish::sample evidence may have the key: anybody" in r.err
    # a failure, with its hint on the same line
    r = pub.run("--kid", "a/b", ok=3, env=env)
    line = next(x for x in r.err.splitlines() if x.startswith("::error "))
    assert line.startswith("::error title=proppush publish (bad-resource-path)::")
    r = pub.run("--policy-doc", "100%\nx.toml", ok=2, env=env)
    line = next(x for x in r.err.splitlines() if x.startswith("::error "))
    assert "%0Awithout --allow" in line
    # nothing is given out where nothing is asked for, or nothing was published
    text = (box / "out").read_text()
    pub.run("--dry-run", env=env)
    pub.run(env={"GITHUB_OUTPUT": str(box / "out")})
    assert (box / "out").read_text() == text
    r = pub.run(env={"GITHUB_ACTIONS": "true", "GITHUB_OUTPUT": str(box.path)})
    assert "GITHUB_OUTPUT" in r.err
