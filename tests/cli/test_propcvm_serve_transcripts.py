"""The recorded conversations of the real manager, played to propcvm serve; and what the recorded proplet
said, held against what ours says."""
import json

import pytest

from conftest import shared
from helpers.mqtt_manager import CHANNEL, PREFIX, PROPLET, TENANT
from test_propcvm_serve import RESULT, Farm, broker, farm, stopped  # noqa: F401 (fixtures)

FILES = ("propeller-encrypted-task.json", "propeller-api-surface.json", "propeller-manager-restart.json")


def steps(name):
    doc = json.loads(shared("protocol", "transcripts", name).read_text())
    ids = doc["about"]["ids"]
    assert (ids["tenant"], ids["channel"], ids["proplet entity"]) == (TENANT, CHANNEL, PROPLET)
    return [(s["mqtt"][len(PREFIX):], s) for s in doc["steps"] if "mqtt" in s]


def said_by_the_proplet(topic):
    """What the recorded proplet sent on that topic, of the forms that were its own."""
    return [s["payload"] for name in FILES for t, s in steps(name)
            if t == topic and isinstance(s["payload"], dict) and s["payload"].get("proplet_id") == PROPLET]


def members(doc, at=""):
    if not isinstance(doc, dict):
        return {at}
    return {at} | {m for k, v in doc.items() for m in members(v, f"{at}.{k}")}


def play(farm, name):  # noqa: F811
    """Send what the manager sent, references moved to our registry; the starts, by id."""
    starts = {}
    for topic, step in steps(name):
        if not topic.startswith("control/manager/") or not isinstance(step["payload"], dict):
            continue
        doc = dict(step["payload"])
        if doc.get("image_url", "").endswith("tee-wasm-addition:encrypted"):
            doc["image_url"] = farm.image("add.wasm", path="default/key/propeller-addition", name="tee-wasm-addition")
        elif "image_url" in doc:
            doc["image_url"] = f"{farm.registry.host}/{doc['image_url'].split('/', 1)[1]}"
        assert step["qos"] == 2 and step["retain"] is False
        if topic == "control/manager/start":
            starts.setdefault(doc["id"], []).append(doc)
            before = len(farm.manager.results(doc["id"]))
            farm.manager.send(topic, doc)
            if not doc.get("latent"):
                farm.manager.wait(lambda t, p, task=doc["id"], n=before: len(farm.manager.results(task)) > n, "a result")
        else:
            farm.manager.send(topic, doc)
    return starts


@pytest.fixture
def seeded(farm):  # noqa: F811
    farm.box.run("propkey", "set", "default/key/propeller-addition", farm.kek, *farm.admin)
    farm.proplet = farm.serve()
    return farm


def test_the_encrypted_task(seeded):
    starts = play(seeded, "propeller-encrypted-task.json")
    (task, sent), = starts.items()
    assert [s["state"] for s in sent] == [0, 3]
    # started, stopped when it was over, and started again: two results, and nothing for the stop
    assert seeded.manager.results(task) == [{"task_id": task, "proplet_id": PROPLET, "results": "30\n", "error": None}] * 2


def test_all_fields(seeded):
    m = seeded.manager
    starts = play(seeded, "propeller-api-surface.json")
    seen = set()
    for task, sent in starts.items():
        doc = sent[0]
        answers = m.results(task)
        if doc["latent"]:
            assert "Failed to pull manifest" in m.result(task)["error"]
            seen.add("latent")
        elif "file" in doc:  # the module the real manager stored
            assert answers[0]["results"] == "3\n" and answers[0]["error"] is None
            seen.add("file")
        else:  # images that are nowhere
            assert answers[0]["results"] == "" and "Failed to pull manifest" in answers[0]["error"]
            seen.add("broadcast" if doc["broadcast"] else "encrypted")
        assert all(set(a) == RESULT for a in answers)
    assert seen == {"latent", "file", "broadcast", "encrypted"}
    answer = m.wait(lambda t, p: t == "control/proplet/invoke_results")[1]
    recorded, = said_by_the_proplet("control/proplet/invoke_results")
    assert set(answer) == set(recorded)


def test_a_manager_that_is_restarted(seeded):
    starts = play(seeded, "propeller-manager-restart.json")
    for task in starts:
        assert "Failed to pull manifest" in seeded.manager.results(task)[0]["error"]
    seeded.proplet.says("Task 801c653a-d43a-4aab-9b01-115e8086b00c not found")


def test_our_messages_have_the_recorded_members(seeded):
    """create, alive, results, metrics, task_metrics: the same members, and values of the same kinds."""
    m = seeded.manager
    play(seeded, "propeller-encrypted-task.json")
    seeded.proplet.stop()
    seeded.serve("--tags", "tee,tdx", "--metrics-interval", "1")
    task = seeded.start("loop.wasm")
    m.wait(lambda t, p: t == "control/proplet/task_metrics")
    m.wait(lambda t, p: t == "control/proplet/metrics")
    m.stop(task)
    assert m.result(task)["error"] == stopped(task)
    more = {".metadata.ip", ".memory_metrics.container_usage_bytes", ".memory_metrics.container_limit_bytes",
            ".metadata.description", ".metadata.location"}
    for topic in ("create", "alive", "results", "metrics", "task_metrics"):
        ours = m.all(f"control/proplet/{topic}")[-1]
        recorded = said_by_the_proplet(f"control/proplet/{topic}")[0]
        assert members(ours[1]) - more == members(recorded) - more, topic
        assert (ours[2], ours[3]) == (2, False)
        kinds = [(type(ours[1][k]), type(recorded[k])) for k in recorded if recorded[k] is not None and ours[1][k] is not None]
        assert all(a is b for a, b in kinds), (topic, kinds)
