"""Checkpoints of online RL: a run that is killed at any moment goes on."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from rl_toy import Biased, Point, Training, demonstrations, never
from safetensors import safe_open

from robolearn.errors import UserError
from robolearn.rl import checkpoint as module
from robolearn.rl.checkpoint import FILE, save_checkpoint
from robolearn.rl.online import judged
from robolearn.rl.units import VECTOR


class Killed(BaseException):
    pass


def kill_at(step):
    def on_progress(steps, recent, metrics):
        if steps >= step:
            raise Killed

    return on_progress


def start(out, **changes):
    return Training(Point(2), Biased(), out, demonstrations=demonstrations(2), **changes)


def tensors(training):
    """Everything that learning depends on but the episodes, as plain arrays."""
    algorithm, state = training.algorithm, {}
    for name, network in {"actor": algorithm.actor, **algorithm.modules}.items():
        state |= {f"{name}.{key}": value.numpy().copy() for key, value in network.state_dict().items()}
    for name, optimizer in algorithm.optimizers.items():
        for index, entry in optimizer.state_dict()["state"].items():
            state |= {f"{name}.{index}.{key}": value.numpy().copy() for key, value in entry.items()}
    state["generator"] = algorithm.generator.get_state().numpy()
    return state


def episodes(training):
    """Every observation in the replay, in its order."""

    class Each:
        def integers(self, high, size):
            return np.arange(size)

    replay = training.loop.experience.online
    return replay.draw(Each(), len(replay), length=1, gamma=1.0).frames[VECTOR]


def killed_run(out, *, at=52):
    """State at the last checkpoint, at step 32, of a run that dies soon after, its episodes then, and its curve."""
    training, kept = start(out), {}

    def evaluate(acting):
        kept.update(tensors(training), updates=training.loop.clock.updates)
        return 0.5

    with pytest.raises(Killed):
        training.run(evaluate, kill_at(at))
    return kept, episodes(training), list(training.loop.curve)


def test_a_killed_run_goes_on_with_the_networks_of_its_checkpoint_and_all_its_finished_episodes(tmp_path):
    expected, seen, curve = killed_run(tmp_path)
    training = start(tmp_path)
    assert training.loop.clock.updates == expected.pop("updates") > 0
    found = tensors(training)
    assert found.keys() == expected.keys()
    assert {"critic.0.exp_avg", "actor.0.exp_avg_sq", "critic.0.step"} <= found.keys()
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert training.loop.curve == curve
    assert len(seen) > 20
    np.testing.assert_array_equal(episodes(training), seen)
    # the clock goes on with the last episode that was finished
    assert 32 < training.loop.clock.steps <= 52


def test_a_resumed_run_makes_up_for_its_updates_and_repeats_no_evaluation(tmp_path):
    killed_run(tmp_path)
    training, asked = start(tmp_path), []
    done = training.run(lambda acting: asked.append(training.loop.clock.steps) or 0.7)
    assert asked == [64]  # neither the first evaluation nor the one at 32 again
    assert [point["success"] for point in done] == [0.5, 0.5, 0.7]
    assert training.loop.clock.updates == 4 + 64 - 16
    assert start(tmp_path).run(never) == done  # nothing is left to do


def test_a_resumed_run_sees_other_episodes(tmp_path):
    _, seen, _ = killed_run(tmp_path)
    training = start(tmp_path, total_steps=128)
    training.run(never)
    new = episodes(training)[len(seen) :]
    assert len(new) > 40
    assert not {row.tobytes() for row in new} & {row.tobytes() for row in seen}


@pytest.mark.parametrize("at", [32, 64])
def test_an_evaluation_that_was_killed_is_made_up_for(tmp_path, at):
    training = start(tmp_path)

    def evaluate(acting):
        if training.loop.clock.steps == at:
            raise Killed
        return 0.5

    with pytest.raises(Killed):
        training.run(evaluate)
    resumed = start(tmp_path)
    curve = resumed.run(never)
    assert len(curve) == 3
    assert curve[-1]["steps"] == 64
    assert at - 20 <= curve[at // 32]["steps"] <= at + 20  # the unfinished episodes are lost
    assert resumed.loop.clock.updates == 4 + 64 - 16


def test_a_run_may_be_killed_again_and_again(tmp_path):
    for at in (20, 30, 44, 58):
        training = start(tmp_path)
        with pytest.raises(Killed):
            training.run(never, kill_at(at))
    training = start(tmp_path)
    training.run(never)
    assert training.loop.clock.steps == 64
    assert training.loop.clock.updates == 4 + 64 - 16
    assert training.loop.episodes == len(set(map(bytes, episodes(training)[:, 1]))) > 0  # each has a goal of its own


def test_a_half_written_checkpoint_is_ignored(tmp_path):
    expected, *_ = killed_run(tmp_path)
    (tmp_path / f".{FILE}.tmp").write_bytes(b"half")
    training = start(tmp_path)
    np.testing.assert_array_equal(tensors(training)["critic.weights.0"], expected["critic.weights.0"])
    training.run(never)
    assert start(tmp_path).loop.clock.steps == 64


def test_every_moment_of_a_save_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    killed_run(tmp_path)
    training = start(tmp_path)
    before = (tmp_path / FILE).read_bytes()

    def die(*arguments, **options):
        raise Killed

    for owner, name in ((os, "replace"), (module, "save_file"), (Path, "unlink")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, die)
            with pytest.raises(Killed):
                save_checkpoint(training.algorithm, training.loop.learned, training.loop.curve, tmp_path)
        if name != "unlink":  # which only clears away what is left
            assert (tmp_path / FILE).read_bytes() == before
        assert len(start(tmp_path).loop.curve) == 2


def test_no_checkpoint_no_resume(tmp_path):
    training = start(tmp_path / "empty")
    assert (training.loop.clock.steps, training.loop.clock.updates, training.loop.curve) == (0, 0, [])


@pytest.mark.parametrize("change", [{"hidden": 8}, {"num_critics": 3}])
def test_a_checkpoint_of_another_network_is_refused(tmp_path, change):
    killed_run(tmp_path)
    with pytest.raises(UserError, match="is of another network: give another `out`"):
        start(tmp_path, **change)


def test_a_resumed_run_may_be_given_a_smaller_budget(tmp_path):
    _, _, curve = killed_run(tmp_path)
    training = start(tmp_path, total_steps=20)
    assert training.run(never) == curve
    assert all(
        torch.equal(training.loop.learned.best[k], v) for k, v in judged(training.algorithm).state_dict().items()
    )


def test_a_resumed_run_may_be_given_a_smaller_replay(tmp_path):
    _, seen, _ = killed_run(tmp_path)
    training = start(tmp_path, replay_steps=22)
    kept = episodes(training)
    assert 0 < len(kept) < 22
    np.testing.assert_array_equal(kept, seen[-len(kept) :])


def test_a_checkpoint_holds_nothing_that_is_unpickled(tmp_path):
    killed_run(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {FILE, "episodes"}
    with safe_open(tmp_path / FILE, "np") as file:
        assert json.loads(file.metadata()["counters"])["steps"] == 32
        assert "best.net.weights.0" in file.keys()  # noqa: SIM118 - it is no dictionary
