from dataclasses import replace

import pytest

from robolearn.bench import images, language


def tiny(module, monkeypatch, folder):
    plan = replace(module.PLAN, demonstrations=2, steps=2, batch_size=4, episodes=2, folder=folder)
    monkeypatch.setattr(module, "PLAN", plan)
    return plan


def test_images_are_learned_from_in_a_tiny_size(monkeypatch, tmp_path):
    plan = tiny(images, monkeypatch, tmp_path)
    told = []
    measures = {m.id: m for m in images.run(told.append)}
    rate = measures["success.lift.two_cameras"]
    assert rate.value in (0.0, 0.5, 1.0)
    assert rate.interval[0] <= rate.value <= rate.interval[1]
    assert measures["training_steps"].value == plan.steps
    assert told[0] == "2 demonstrations of lift, 2 steps of policy=flow with batches of 4"


@pytest.mark.slow
def test_language_is_judged_in_all_phrasings(monkeypatch, tmp_path):
    tiny(language, monkeypatch, tmp_path)
    measures = {m.id: m.value for m in language.run(lambda line: None)}
    assert {"success.sort.seen", "success.sort.held_out", "success.sort.shuffled"} < measures.keys()
    assert measures["chance"] == pytest.approx(1 / 6)
    assert measures["instructions"] >= 8
