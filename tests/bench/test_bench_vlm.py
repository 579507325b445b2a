"""`robolearn bench vlm`: all sides run the same worlds, and the model is asked; never how fast."""

import json
import urllib.request

import pytest

from robolearn.bench import vlm
from robolearn.bench._vlm_server import ANSWERS, serving
from robolearn.rewards.vlm.endpoint import Endpoint


@pytest.fixture
def tiny(monkeypatch):
    for name, value in {"WORLDS": 2, "EVERY": 20, "DELAY": 0.01, "ROUNDS": 1, "SECONDS": 1e-9}.items():
        monkeypatch.setattr(vlm, name, value)


def test_the_whole_runs(tiny):
    lines = []
    found = {m.id: m for m in vlm.run(lines.append)}
    sides = ("alone", "beside", "waiting")
    assert {f"control_steps_per_s.{side}" for side in sides} < set(found)
    assert all(m.value > 0 for m in found.values())
    speeds = {side: found[f"control_steps_per_s.{side}"].value for side in sides}
    assert found["share_of_speed.beside"].value == pytest.approx(speeds["beside"] / speeds["alone"])
    # 4 pictures of 2 worlds in an episode of 100 steps; in warming up as in the round, `waiting` has all of them
    assert 2 * 8 <= found["judgements"].value <= 4 * 8
    assert found["judgement_s.p50"].value >= 0.01
    assert any("round 1/1" in line for line in lines)


def test_a_judgement_that_fails_ends_it(tiny, monkeypatch):
    asked = []

    def ask(endpoint, requests):
        asked.extend(requests)
        return ["rubbish"] * len(requests)

    monkeypatch.setattr(Endpoint, "ask", ask)
    with pytest.raises(RuntimeError, match="answers were malformed"):
        vlm.run(lambda line: None)
    assert asked


def test_the_server_answers_what_it_is_asked():
    with serving(delay=0.0) as url:
        for facet, value in ANSWERS.items():
            body = {"response_format": {"json_schema": {"name": facet}}}
            with urllib.request.urlopen(f"{url}/chat/completions", json.dumps(body).encode()) as response:
                assert json.load(response)["choices"][0]["message"]["content"] == json.dumps({facet: value})
