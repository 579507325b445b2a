"""What judges estimators of progress: the truth passes everything, a clock and a constant give themselves away."""

import numpy as np
import pytest

from robolearn.bench import _reward_runs, _reward_sets, rewards
from robolearn.bench._reward_judge import Read, judge, judge_controls, pack, unpack
from robolearn.bench._reward_runs import Run
from robolearn.bench._reward_sets import HELD_OUT, parts
from robolearn.commands.reward_data import LabelledEpisode
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.images import ImageOptions
from robolearn.errors import UserError
from robolearn.eval.machine import machine
from robolearn.eval.results import Result
from robolearn.rewards.labels import label

SHARES = np.array([0.5, 0.5])
PLACE = "observation.state"


def episode(seed, *, success):
    """A number goes from 0 to 1, or turns back half way; it is seen as it is."""
    rng = np.random.default_rng(seed)
    place = np.concatenate((np.zeros(5), np.linspace(0, 1, 30 + int(rng.integers(20))), np.ones(5)))
    if not success:
        place = 0.8 * np.concatenate((place, place[::-1]))
    stage = np.minimum((2 * place).astype(int), 2)
    within = np.where(stage < 2, 2 * place - stage, 0.0)
    labels = label(stage, shares=SHARES, within=within)
    return LabelledEpisode({PLACE: place[:, None].astype(np.float32)}, "go", labels, success)


FINISHED = rewards.Measure("finished_runs", 1, "1", 100)
EPISODES = [episode(seed, success=seed % 2 == 0) for seed in range(8)]


def truth(frames, instruction):
    place = frames[PLACE][:, 0].astype(float) if instruction == "go" else np.zeros(len(frames[PLACE]))
    stage = np.minimum((2 * place + 1e-6).astype(int), 2)
    return Read(stage, place, (stage == 2).astype(float))


def clock(frames, instruction):
    progress = np.minimum(np.arange(len(frames[PLACE])) / 40, 1.0)
    return Read((2 * progress).astype(int), progress, (progress >= 1).astype(float))


def judged(estimate):
    return {name: np.nanmean(values) for name, values in judge(estimate, EPISODES, num_stages=2, done_at=0.5).items()}


def controlled(estimate):
    films = [one for one in EPISODES if one.success]
    return {name: np.nanmean(v) for name, v in judge_controls(estimate, films, wrong=("fly",), seed=0).items()}


def test_the_truth_makes_no_mistakes():
    figures = judged(truth)
    assert figures["stage_accuracy"] == 1.0
    assert figures["progress_error"] < 1e-6
    assert figures["spearman"] == pytest.approx(1.0)
    assert (figures["false_done"], figures["missed_done"], figures["done_latency"]) == (0.0, 0.0, 0.0)
    assert figures["calibration_error"] == 0.0


def test_the_truth_passes_the_controls_and_a_clock_does_not():
    passed, failed = controlled(truth), controlled(clock)
    assert passed["static.order"] == 0.0
    assert failed["static.order"] > 0.95
    assert passed["reversed.spearman"] == pytest.approx(1.0)
    assert failed["reversed.spearman"] < -0.9
    assert passed["frozen_tail.drift"] == 0.0
    assert failed["frozen_tail.drift"] > 0.2
    assert passed["wrong_instruction.progress"] == 0.0
    assert failed["wrong_instruction.progress"] > 0.3


def test_a_clock_has_successes_in_order_and_calls_failures_done():
    figures = judged(clock)
    assert figures["order_on_successes"] > 0.95
    assert figures["false_done"] > 0.5


def result_of(estimate):
    figures = {name: judge(estimate, EPISODES, num_stages=2, done_at=0.5) for name in rewards.SETS}
    films = [one for one in EPISODES if one.success]
    figures["controls"] = judge_controls(estimate, films, wrong=("fly",), seed=0)
    return {"figures": {name: {key: pack(v) for key, v in one.items()} for name, one in figures.items()}}


def test_figures_are_kept_to_five_digits():
    kept = unpack(pack([0.123456, 1.0, float("nan"), float("inf"), 0.0]))
    np.testing.assert_allclose(kept, [0.12346, 1.0, np.nan, np.nan, 0.0])


def test_the_table_has_a_row_for_each_estimator_that_is_finished():
    results = {Run("stack", "oracle", 0): result_of(truth), Run("stack", "clock", 0): result_of(clock)}
    measures = {one.id: one for one in rewards._measures(results)}
    assert measures["in_distribution.success_auroc.oracle"].value == 1.0
    assert measures["in_distribution.success_auroc.clock"].value < 0.9
    low, high = measures["in_distribution.progress_error.clock"].interval
    assert low < measures["in_distribution.progress_error.clock"].value < high
    count = rewards.Measure("finished_runs", 2, "1", 60)
    made = Result("rewards", "robolearn bench rewards", "0123456789", machine(), (0,), (*measures.values(), count))
    text = rewards.table(made)
    assert text.count("| `oracle` |") == 3
    assert "| `sarm` |" not in text
    assert "| goal | ≥ 0.97 |" in text
    assert "| goal | ≥ 0.92 |" in text


def test_figures_from_images_and_from_states_are_apart():
    results = {
        Run("stack", "sarm", 0): result_of(truth) | {"frames_per_s": 500.0},
        Run("stack", "sarm", 0, "images"): result_of(clock) | {"frames_per_s": 200.0},
        Run("stack", "rewind", 0, "images"): result_of(clock),
        Run("stack", "lerobot_sarm", 0, "images"): result_of(clock),
    }
    measures = {one.id: one for one in rewards._measures(results)}
    state, images = measures["held_out.success_auroc.sarm"], measures["images.held_out.success_auroc.sarm"]
    assert (state.value, state.baseline) == (1.0, None)
    assert images.value == images.baseline < 0.9
    assert measures["frames_per_s.sarm"].value == 500.0
    assert measures["images.frames_per_s.sarm"].value == 200.0
    count = rewards.Measure("finished_runs", 4, "1", 100)
    text = rewards.table(Result("rewards", "", "0123456789", machine(), (0,), (*measures.values(), count)))
    assert text.count("| `sarm` |") == 6
    assert text.count("| `rewind` |") == 3
    assert text.index("`sarm` 500") < text.index("From images of 64 x 64") < text.index("`sarm` 200")


def test_a_goal_that_is_for_held_out_failures_is_not_asked_of_others():
    results = {Run("stack", "sarm", 0): result_of(truth)}
    text = rewards.table(Result("rewards", "", "0", machine(), (0,), (*rewards._measures(results), FINISHED)))
    assert text.index("| in distribution |") < text.index("≥ 0.97") < text.index("| held out |") < text.index("≥ 0.92")


def test_who_borrows_eyes_waits_for_them(monkeypatch):
    waves = []

    def finish_all(wave, finish):
        waves.append((finish.__name__, wave))
        figures = {name: {"progress_error": "0.5"} for name in rewards.SETS}
        return [(one, {"figures": figures}) for one in wave]

    for name, value in {"kept": lambda one: None, "finish_all": finish_all, "gather_all": lambda *given: 0}.items():
        monkeypatch.setattr(rewards, name, value)
    monkeypatch.setattr(rewards, "draw", lambda folder, results: None)
    rewards.run(lambda line: None, only=["images"], tasks=["stack"], seeds=[0], algorithms=["rewind", "lerobot_sarm"])
    baselines = [Run("stack", "lerobot_sarm", 0, "images"), Run("stack", "rewind", 0, "images")]
    assert waves == [("finish_eyes", [Run("stack", "sarm", 0, "images")]), ("finish", baselines)]
    waves.clear()
    rewards.run(lambda line: None, only=["state"], tasks=["stack"], seeds=[0], algorithms=["sarm", "rewind"])
    assert waves == [("finish_eyes", []), ("finish", [Run("stack", "sarm", 0), Run("stack", "rewind", 0)])]


def test_borrowed_eyes_are_trained_where_only_their_result_is_here(monkeypatch):
    done = []
    monkeypatch.setattr("robolearn.commands.common.use_one_thread", lambda: None)
    monkeypatch.setattr(_reward_runs, "learn_progress", lambda one: done.append(one))
    monkeypatch.setattr(_reward_runs, "kept", lambda one: {"figures": {}})
    one = Run("stack", "sarm", 0, "images")
    assert _reward_runs.finish_eyes(one) == (one, {"figures": {}})
    assert done == [one]


def test_images_of_held_out_failures_look_as_none_that_was_learned_from():
    seen, unseen = (parts("stack", episodes=120, held_out=held_out, inputs="images") for held_out in (False, True))
    words = [set(found["varied"].words) for found in (seen, unseen)]
    assert "randomization.light=[0.8,1.2]" in words[0] - words[1]
    assert "randomization.light=[0.5,1.5]" in words[1] - words[0]
    assert "env.cameras=[external]" in words[0] & words[1]
    assert not any("mass" in word or "noise=[" in word for word in words[1])
    assert not any("randomization" in word for word in parts("stack", episodes=120, held_out=True)["varied"].words)


def test_runs_from_images_are_kept_apart():
    state, images = Run("stack", "sarm", 0), Run("stack", "sarm", 0, "images")
    assert (state.folder.name, images.folder.name) == ("stack-sarm-seed0", "stack-images-sarm-seed0")
    assert state.settings["observed"][1] == "observation.environment_state"
    assert images.settings["observed"][1] == "observation.images.external"
    assert images.eyes is None
    assert Run("stack", "rewind", 1, "images").eyes == Run("stack", "sarm", 1, "images")
    assert Run("stack", "rewind", 1).eyes is None


def test_failures_that_are_held_out_are_in_no_training():
    for task in ("pick_place", "stack", "drawer_place"):
        assert not set(parts(task, episodes=120, held_out=False)) & set(HELD_OUT)
        held_out = parts(task, episodes=120, held_out=True)
        assert set(held_out) == {"varied", *HELD_OUT}
        assert [part.episodes for part in held_out.values()] == [48, 24, 24]


@pytest.mark.slow
def test_estimators_of_images_are_trained_and_judged(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("robolearn.commands.common.use_one_thread", lambda: None)
    for name, value in {"TRAIN_EPISODES": 20, "TEST_EPISODES": 8}.items():
        monkeypatch.setattr(_reward_sets, name, value)
    small = ("reward.hidden_dim=16", "train.steps=4", "train.batch_size=4", "validation=0.3")
    for name in ("sarm", "recurrent"):
        monkeypatch.setitem(_reward_runs.TRAINED_ON_IMAGES, name, (f"reward={name}", *small))
    composed = _reward_runs._options
    monkeypatch.setattr(_reward_runs, "_options", lambda words: composed((*small[1:2], *small[3:], *words)))
    for name in ("sarm", "recurrent", "lerobot_sarm_mended", "oracle"):
        one = Run("pick_place", name, 0, "images")
        _, result = _reward_runs.finish(one)
        found = rewards._measures({one: result})
        assert ("images.frames_per_s." + name in {m.id for m in found}) == (name in ("sarm", "recurrent"))
        error = next(m.value for m in found if m.id == f"images.held_out.progress_error.{name}")
        assert error == 0.0 if name == "oracle" else 0.0 < error < 1.0
    data = EpisodeDataset.load(_reward_sets.train_set("pick_place", "images"), images=ImageOptions())
    assert data.images["observation.images.external"].pixels.shape[1:] == (64, 64, 3)


def test_an_unknown_estimator_is_refused():
    with pytest.raises(UserError, match="recurrent"):
        rewards.run(print, algorithms=["recurent"])
