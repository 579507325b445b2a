"""Examples that results of `bench rewards` keep, and the pictures of them."""

import json

import numpy as np
import pytest

from robolearn.bench import _reward_runs, rewards
from robolearn.bench._pool import kept
from robolearn.bench._reward_judge import Read, unpack
from robolearn.bench._reward_pictures import POINTS, charts, draw, examples
from robolearn.bench._reward_runs import Run, Sets
from robolearn.commands.reward_data import LabelledEpisode
from robolearn.rewards.labels import label

SHARES = np.array([0.5, 0.5])
STATE = "observation.state"
PNG = b"\x89PNG"


def episode(failure="", *, success=False, length=50, reached=0.6):
    """A number rises to what is reached; it is seen as it is."""
    place = np.linspace(0, 1 if success else reached, length)
    stage = np.minimum((2 * place).astype(int), 2)
    labels = label(stage, shares=SHARES, within=np.where(stage < 2, 2 * place - stage, 0.0))
    return LabelledEpisode({STATE: place[:, None].astype(np.float32)}, "go", labels, success, failure)


TESTS = {
    "in_distribution": [
        episode(reached=0.3),
        episode(success=True),
        episode(success=True, length=70),
        episode("no_grasp", reached=0.4, length=200),
        episode("no_grasp", reached=0.1),
        episode("rotation"),
    ],
    "held_out": [episode(success=True, length=90), episode("slip", reached=0.45), episode("slip")],
}


def halved(frames, instruction):
    place = frames[STATE][:, 0].astype(float) / 2
    return Read((2 * place).astype(int), place, np.zeros(len(place)))


def exact(frames, instruction):
    place = frames[STATE][:, 0].astype(float)
    return Read((2 * place).astype(int), place, (place >= 1).astype(float))


def result_of(estimate):
    return {"examples": {name: examples(estimate, episodes) for name, episodes in TESTS.items()}}


def test_the_first_episode_of_each_kind_is_kept():
    found = examples(halved, TESTS["in_distribution"])
    assert list(found) == ["success", "partial", "no_grasp", "rotation"]
    reached = {kind: unpack(one["true_progress"])[-1] for kind, one in found.items()}
    assert reached["success"] == 1.0
    assert len(unpack(found["success"]["progress"])) == 50
    assert reached["partial"] == 0.3
    assert reached["no_grasp"] == pytest.approx(0.4, abs=0.01)


def test_an_example_is_thinned_out_and_small():
    one = examples(halved, [episode("slip", length=500)])["slip"]
    assert one["every"] == 8
    truth, read = (unpack(one[line]) for line in ("true_progress", "progress"))
    assert len(truth) == len(read) == 63 <= POINTS
    np.testing.assert_allclose(read, truth / 2, atol=0.001)
    assert len(json.dumps(one)) < 1000


def test_a_chart_shows_the_truth_and_each_estimator():
    sarm = examples(exact, TESTS["in_distribution"])
    made = charts({"sarm": sarm, "recurrent": {"rotation": examples(halved, [episode("rotation")])["rotation"]}})
    assert [one.title for one in made] == ["success", "partial", "no grasp", "rotation"]
    assert [[line.label for line in one.series] for one in made] == [["true", "sarm"]] * 3 + [
        ["true", "sarm", "recurrent"]
    ]
    truth, near, half = made[-1].series
    assert truth.x[-1] == 49
    assert near.y[-1] == pytest.approx(truth.y[-1], abs=0.002)
    assert half.y[-1] == pytest.approx(0.3, abs=0.002)


def test_pictures_are_drawn_of_the_tasks_that_have_examples(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("robolearn.eval.plots.save_grid", lambda path, made, columns: drawn.append((path.name, made)))
    results = {
        Run("stack", "recurrent", 0): result_of(halved),
        Run("stack", "sarm", 0): result_of(exact),
        Run("stack", "value", 0): result_of(halved),
        Run("drawer_place", "sarm", 1): {"figures": {}},
    }
    draw(tmp_path, results)
    ((name, made),) = drawn
    assert name == "rewards_stack.png"
    assert [one.title for one in made] == ["success", "partial", "no grasp", "rotation", "slip (held out)"]
    assert all([line.label for line in one.series] == ["true", "sarm", "recurrent"] for one in made)
    assert len(made[0].series[0].x) == 50  # the success of the other set is not shown


def test_what_was_seen_in_images_has_a_picture_of_its_own(tmp_path):
    results = {Run("stack", "sarm", 0): result_of(exact), Run("stack", "sarm", 0, "images"): result_of(halved)}
    draw(tmp_path, results)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rewards_stack.png", "rewards_stack_images.png"]


def test_a_picture_is_a_png_file(tmp_path):
    draw(tmp_path, {Run("pick_place", "sarm", 0): result_of(halved)})
    assert [path.name for path in tmp_path.iterdir()] == ["rewards_pick_place.png"]
    assert (tmp_path / "rewards_pick_place.png").read_bytes().startswith(PNG)


def test_only_the_first_seed_of_models_keeps_examples(tmp_path, monkeypatch):
    monkeypatch.setattr(_reward_runs, "RECORDS", tmp_path / "records")
    monkeypatch.setattr(_reward_runs, "OUT", tmp_path / "out")
    data = type("Data", (), {"stage_names": ("near", "far")})
    monkeypatch.setattr(_reward_runs, "load_sets", lambda task, inputs: Sets(data, TESTS, SHARES))
    monkeypatch.setattr(_reward_runs, "make", lambda one, sets: (halved, 0.5))
    monkeypatch.setattr(_reward_runs, "frames_per_s", lambda one, episodes: 50.0)
    monkeypatch.setattr("robolearn.commands.common.use_one_thread", lambda: None)
    for one in (Run("stack", "sarm", 0), Run("stack", "sarm", 1), Run("stack", "clock", 0)):
        _, result = _reward_runs.finish(one)
        assert ("examples" in result) == (one == Run("stack", "sarm", 0))
        assert ("frames_per_s" in result) == (one.estimator == "sarm")
        assert kept(one) == result


def test_the_benchmark_draws_where_there_are_documents(tmp_path, monkeypatch):
    runs = [Run("stack", "sarm", 0), Run("stack", "sarm", 1)]
    figures = {name: {"progress_error": "0.5"} for name in rewards.SETS}
    monkeypatch.setattr(rewards, "_all_runs", lambda: runs)
    monkeypatch.setattr(rewards, "kept", lambda one: result_of(exact) if one.seed == 0 else {"figures": {}})
    monkeypatch.setattr(rewards, "finish_all", lambda chosen, finish: [(one, {"figures": figures}) for one in chosen])
    monkeypatch.setattr(rewards, "_measures", lambda results: [])
    for folder in ("missing", "there"):
        monkeypatch.setattr(rewards, "PLOTS", tmp_path / folder)
        (tmp_path / "there").mkdir(exist_ok=True)
        assert rewards.run(lambda line: None)[-1].id == "finished_runs"
    assert [path.name for path in (tmp_path / "there").iterdir()] == ["rewards_stack.png"]
    assert not (tmp_path / "missing").exists()
