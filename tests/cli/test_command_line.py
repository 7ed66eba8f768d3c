"""What all tools have in common: help, versions, usage errors, JSON errors, configuration."""
import json
import re

import pytest

from conftest import BIN

COMMON = ["json", "quiet", "verbose", "no-progress", "show-config", "help"]
TOOLS = ["propenc", "proppush", "propkey", "propcvm", "propkbs"]


def verbs(box, tool):
    text = box.run(tool, "--help").out
    return re.findall(r"^  ([a-z][a-z-]*(?: [a-z][a-z-]*)?)  +\S", text, re.M)


def every_verb():
    import subprocess
    for tool in TOOLS:
        if not (BIN / tool).exists():
            yield tool, "missing"
            continue
        text = subprocess.run([BIN / tool, "--help"], capture_output=True, text=True).stdout
        for verb in re.findall(r"^  ([a-z][a-z-]*(?: [a-z][a-z-]*)?)  +\S", text, re.M):
            yield tool, verb


ALL = list(every_verb())


@pytest.mark.parametrize("tool", TOOLS)
def test_help_and_version_go_to_stdout_with_status_0(box, tool):
    for flag in ("--help", "-h", "help"):
        r = box.run(tool, flag)
        assert r.out.startswith(f"usage: {tool} ") and r.err == ""
    r = box.run(tool, "--version")
    assert re.match(rf"{tool} \d+\.\d+\.\d+", r.out) and r.err == ""


def test_help_about_a_group_and_about_one_verb(box):
    group = box.run("propkey", "policy", "--help").out
    assert "policy set" in group and "policy build" in group and "admin-keygen" not in group
    assert box.run("propkey", "help", "policy", "set").out == box.run("propkey", "policy", "set", "--help").out
    assert "no verb 'nonsense'" in box.run("propkey", "help", "nonsense", ok=2).err


@pytest.mark.parametrize("tool", TOOLS)
def test_a_usage_error_is_a_line_and_a_hint(box, tool):
    r = box.run(tool, ok=2)
    assert r.out == "" and r.err.splitlines()[0].startswith(f"{tool}: error: ")
    assert "--help" in r.err and len(r.err.splitlines()) == 2
    r = box.run(tool, "no-such-verb", ok=2)
    assert "no-such-verb" in r.err and r.out == ""
    r = box.run(tool, "no-such-verb", "--json", ok=2)
    assert r.error()["code"] == "unknown-verb"


def test_a_misspelt_verb_suggests_the_nearest(box):
    assert "did you mean 'encrypt'" in box.run("propenc", "encrpyt", ok=2).err
    assert "did you mean 'publish'" in box.run("proppush", "publich", ok=2).err


def test_a_group_of_verbs_names_its_members(box):
    assert "set" in box.run("propkey", "policy", ok=2).err


@pytest.mark.parametrize("tool,verb", ALL, ids=[f"{t}-{v.replace(' ', '-')}" for t, v in ALL])
def test_every_verb_has_help_common_options_and_refuses_the_unknown(box, tool, verb):
    words = verb.split()
    r = box.run(tool, *words, "--help")
    assert r.out.startswith(f"usage: {tool} {verb}") and r.err == ""
    for option in COMMON:
        assert f"--{option}" in r.out, option
    for line in r.out.splitlines():
        assert line == line.rstrip() and len(line) < 160, line
    table = r.out.split("\noptions:\n")[1]
    options = re.findall(r"^  (?:-(\w), |    )--([a-z0-9-]+)", table, re.M)
    names = [name for _, name in options]
    shorts = [s for s, _ in options if s]
    assert len(names) == len(set(names)), "an option stands twice"
    assert len(shorts) == len(set(shorts)), "a short option stands twice"
    r = box.run(tool, *words, "--no-such-option", ok=2)
    assert "--no-such-option" in r.err and r.out == ""
    r = box.run(tool, *words, "--show-config")
    assert len(re.findall(r"  \[(?:default|environment|flag)\]$", r.out, re.M)) >= len(names) - len(COMMON)


def test_a_single_option_given_twice_is_refused(box):
    r = box.run("propkey", "set", "a/b/c", "f", "--kbs", "http://127.0.0.1:1", "--kbs", "http://127.0.0.1:2", "--json", ok=2)
    assert r.error()["code"] == "option-repeated"


def test_flag_beats_environment_beats_file_beats_default(box):
    config = box / "config.json"
    config.write_text(json.dumps({"kbs": "https://from.file", "tee": "sample"}))
    env = {"PROP_CONFIG": str(config)}

    def shown(*args, **more):
        out = box.run("propkey", "get", "--show-config", *args, env={**env, **more}).out
        return {line.split()[0]: line.split(None, 1)[1] for line in out.splitlines()}

    assert shown()["kbs"].startswith("https://from.file") and "configuration file" in shown()["kbs"]
    assert "[environment]" in shown(PROP_KBS_URL="https://from.env")["kbs"]
    assert "https://from.flag" in shown("--kbs", "https://from.flag", PROP_KBS_URL="https://from.env")["kbs"]


@pytest.mark.parametrize("text", ["{", "[]", '{"kbs": 5}', '{"kbs":"a","kbs":"b"}'])
def test_a_broken_configuration_file_is_named(box, text):
    config = box / "config.json"
    config.write_text(text)
    r = box.run("propkey", "get", "a/b/c", env={"PROP_CONFIG": str(config)}, ok=3)
    assert str(config) in r.err


def test_control_characters_never_reach_the_terminal(box):
    r = box.run("propkey", "get", "a/b/\x1b[31mred", "--kbs", "http://127.0.0.1:1", ok=3)
    assert "\x1b" not in r.err and "\\x1b" in r.err


def test_common_flags_may_stand_before_the_verb(box):
    r = box.run("propkey", "--json", "-q", "gen", "kek.bin")
    assert r.json()["file"] == "kek.bin"
    r = box.run("propkey", "--json", "policy", "set", "no-such-file", "--kbs", "http://127.0.0.1:1", ok=None)
    assert r.error()["code"]


def closed(box, line, **env):
    """Run a shell line in the box: only a shell can start a program with a descriptor closed."""
    return box.run("sh", "-c", line, ok=None, env=env)


@pytest.mark.parametrize("where", [">&-", ">/dev/full"])
def test_output_that_goes_nowhere_is_an_error(box, where):
    """A closed descriptor 1 must not become the next socket or file that is opened."""
    for tool in TOOLS:
        for what in ("--help", "--version"):
            r = closed(box, f"exec {tool} {what} {where}")
            assert r.returncode in (7, 107) and "standard output" in r.err, (tool, what, r.err)
    assert closed(box, f"exec propkey gen - {where}").returncode == 7
    assert closed(box, f"exec propkey gen k {where}").returncode == 7


def test_a_closed_stdout_does_not_let_a_key_out(box, kbs):
    admin = ("--kbs", kbs.url, "--admin-key", kbs.admin_key)
    box.run("propkey", "gen", "kek.bin")
    box.run("propkey", "set", "default/key/k", "kek.bin", *admin)
    box.run("propkey", "policy", "preset", "allow-all", *admin)
    get = f"exec propkey get default/key/k --kbs {kbs.url} --tee sample"
    r = closed(box, f"{get} >&-")
    assert r.returncode == 7 and "standard output" in r.err
    assert closed(box, f"{get} <&- 2>&- ").stdout == (box / "kek.bin").read_bytes()


@pytest.mark.parametrize("tool,verb", ALL)
def test_force_is_spelled_the_same_everywhere(box, tool, verb):
    text = box.run(tool, *verb.split(), "--help").out
    assert not re.search(r"--force(?!-)", text) or "-f, --force" in text
