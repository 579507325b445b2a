"""What judges estimators of progress: the truth passes everything, a clock and a constant give themselves away."""

import numpy as np
import pytest

from robolearn.bench import rewards
from robolearn.bench._reward_judge import Read, judge, judge_controls, pack, unpack
from robolearn.bench._reward_runs import Run
from robolearn.bench._reward_sets import HELD_OUT, parts
from robolearn.commands.reward_data import LabelledEpisode
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


def test_failures_that_are_held_out_are_in_no_training():
    for task in ("pick_place", "stack", "drawer_place"):
        assert not set(parts(task, episodes=120, held_out=False)) & set(HELD_OUT)
        held_out = parts(task, episodes=120, held_out=True)
        assert set(held_out) == {"varied", *HELD_OUT}
        assert [part.episodes for part in held_out.values()] == [48, 24, 24]


def test_an_unknown_estimator_is_refused():
    with pytest.raises(UserError, match="recurrent"):
        rewards.run(print, algorithms=["recurent"])
