"""Checkpoints of online RL: a run that is killed at any moment goes on."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from rl_toy import Biased, Point, demonstrations, make_trainer, never

from robolearn.errors import UserError
from robolearn.rl.checkpoint import save_checkpoint


class Killed(BaseException):
    pass


def kill_at(step):
    def on_progress(steps, recent):
        if steps >= step:
            raise Killed

    return on_progress


def tensors(trainer):
    """Everything that learning depends on, as plain arrays."""
    learner, state = trainer.learner, {}
    for name in ("actor", "critic", "actor_target", "critic_target"):
        state |= {f"{name}.{key}": value.numpy().copy() for key, value in getattr(learner, name).state_dict().items()}
    for name in ("actor_optimizer", "critic_optimizer"):
        for index, entry in getattr(learner, name).state_dict()["state"].items():
            state |= {f"{name}.{index}.{key}": value.numpy().copy() for key, value in entry.items()}
    state |= {f"replay.{key}": value for key, value in trainer.replay.state().items()}
    state["generator"] = learner.generator.get_state().numpy()
    return state


def killed_run(out, *, at=40):
    """The trainer's state at its last checkpoint, at step 32 of a run that dies soon after."""
    trainer = make_trainer(Point(2), Biased(), out, demonstrations=demonstrations(2))
    kept = {}

    def evaluate(correction):
        kept.update(tensors(trainer), counters=(trainer.steps, trainer.episodes, trainer._updates))
        return 0.5

    with pytest.raises(Killed):
        trainer.run(evaluate=evaluate, on_progress=kill_at(at))
    return kept, list(trainer.curve)


def resume(out):
    return make_trainer(Point(2), Biased(), out, demonstrations=demonstrations(2))


def test_a_killed_run_goes_on_where_its_checkpoint_was(tmp_path):
    expected, curve = killed_run(tmp_path)
    trainer = resume(tmp_path)
    assert (trainer.steps, trainer.episodes, trainer._updates) == expected.pop("counters")
    assert trainer.steps == 32
    found = tensors(trainer)
    assert found.keys() == expected.keys()
    assert any(key.startswith("actor_optimizer.0.exp_avg") for key in found)
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
    assert trainer.curve == curve
    asked = []
    done = trainer.run(evaluate=lambda correction: asked.append(trainer.steps) or 0.7)
    assert asked == [64]  # neither the first evaluation nor the one at 32 again
    assert [point["success"] for point in done] == [0.5, 0.5, 0.7]
    assert resume(tmp_path).run(evaluate=never) == done  # nothing is left to do


def test_a_half_written_checkpoint_is_ignored(tmp_path):
    expected, _ = killed_run(tmp_path)
    half = tmp_path / "checkpoint.new"
    half.mkdir()
    (half / "learner.safetensors").write_bytes(b"half")
    trainer = resume(tmp_path)
    np.testing.assert_array_equal(tensors(trainer)["critic.weights.0"], expected["critic.weights.0"])
    trainer.run(evaluate=never)
    assert resume(tmp_path).steps == 64


def test_a_kill_between_the_two_renamings_loses_nothing(tmp_path):
    expected, _ = killed_run(tmp_path)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")
    trainer = resume(tmp_path)
    np.testing.assert_array_equal(tensors(trainer)["critic.weights.0"], expected["critic.weights.0"])
    # the next save begins with this leftover and may be killed at the same place
    save_checkpoint(trainer, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]
    assert resume(tmp_path).steps == 32


def test_every_moment_of_a_save_leaves_a_whole_checkpoint(tmp_path, monkeypatch):
    killed_run(tmp_path)
    trainer = resume(tmp_path)
    (tmp_path / "checkpoint").rename(tmp_path / "checkpoint.old")

    def count_down(function, left):
        def call(*arguments, **options):
            if left[0] == 0:
                raise Killed
            left[0] -= 1
            return function(*arguments, **options)

        return call

    for moment in range(40):
        left = [moment]
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", count_down(os.replace, left))
            patch.setattr(Path, "unlink", count_down(Path.unlink, left))
            patch.setattr(Path, "rmdir", count_down(Path.rmdir, left))
            try:
                save_checkpoint(trainer, tmp_path)
                break
            except Killed:
                pass
        assert resume(tmp_path).steps == 32
    assert 1 < moment < 39


def test_no_checkpoint_no_resume(tmp_path):
    assert resume(tmp_path / "empty").steps == 0


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    killed_run(tmp_path)
    with pytest.raises(UserError, match="is of another network: give another `out`"):
        make_trainer(Point(2), Biased(), tmp_path, hidden=8)


def test_a_resumed_run_may_be_given_a_smaller_budget(tmp_path):
    killed_run(tmp_path)
    trainer = make_trainer(Point(2), Biased(), tmp_path, demonstrations=demonstrations(2), total_steps=20)
    trainer.run(evaluate=never)
    assert len(trainer.replay) == trainer.replay.capacity < 32


def test_a_checkpoint_holds_nothing_that_is_unpickled(tmp_path):
    killed_run(tmp_path)
    names = {path.name for path in (tmp_path / "checkpoint").iterdir()}
    assert names == {"counters.json", "learner.safetensors", "replay.safetensors"}
    assert json.loads((tmp_path / "checkpoint" / "counters.json").read_text())["steps"] == 32
