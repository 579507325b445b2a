"""The picture of validation: successes and each kind of failure."""

import numpy as np
import torch

from robolearn.commands.reward_data import LabelledEpisode
from robolearn.commands.reward_pictures import by_kind, save_validation
from robolearn.rewards.labels import label
from robolearn.rewards.model import Reading

ENDINGS = ("slip", "success", "", "no_grasp", "slip", "success", "success", "slip")


def episode(ending):
    success = ending == "success"
    stage = np.array([0, 0, 1, 1, 2 if success else 0])
    labels = label(stage, shares=np.array([0.5, 0.5]), within=None)
    return LabelledEpisode({}, "go", labels, success, "" if success else ending)


def reading(value):
    return Reading(torch.full((5, 3), 1 / 3), torch.full((5,), value))


def test_kinds_are_successes_then_failures():
    found = by_kind([episode(one) for one in ENDINGS])
    assert list(found.items()) == [("success", [1, 5, 6]), ("", [2]), ("slip", [0, 4, 7]), ("no_grasp", [3])]
    assert by_kind([episode("slip")]) == {"slip": [0]}


def test_two_of_each_kind_are_drawn_beside_the_truth(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("robolearn.eval.plots.save_grid", lambda path, charts, columns: drawn.extend(charts))
    episodes = [episode(one) for one in ENDINGS]
    save_validation(tmp_path / "a.png", [reading(i / 10) for i in range(len(episodes))], episodes)
    assert [one.title for one in drawn] == ["success", "success", "failure", "slip", "slip", "no grasp"]
    assert [one.series[1].y[0] for one in drawn] == [np.float32(i / 10) for i in (1, 5, 2, 0, 4, 3)]
    assert [line.label for line in drawn[0].series] == ["true", "predicted", "done"]
    assert drawn[0].series[0].y[-1] == 1.0


def test_a_picture_of_few_or_many_episodes_is_a_png_file(tmp_path):
    for endings in (("success",), ENDINGS):
        path = tmp_path / f"{len(endings)}.png"
        save_validation(path, [reading(0.5)] * len(endings), [episode(one) for one in endings])
        assert path.read_bytes().startswith(b"\x89PNG")
