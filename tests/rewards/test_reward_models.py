"""What holds for every reward model: causal, streaming as whole, learns, survives its file."""

import json

import numpy as np
import pytest
import torch
from reward_toys import KINDS, LABEL_KINDS, OBSERVED, episode, estimator_of, make_model, train_a_little

from robolearn.errors import UserError
from robolearn.language import TOKENS
from robolearn.rewards.recurrent.modeling_recurrent import completed_to_stages
from robolearn.rewards.serving import CONFIG, WEIGHTS, load_estimator, save_estimator


@pytest.mark.parametrize("kind", KINDS)
def test_frame_by_frame_is_the_same_as_all_at_once(kind):
    estimator = estimator_of(kind)
    frames = episode(23, seed=1)
    whole = estimator.episode(frames, "go there")
    estimator.reset()
    for t in range(23):
        now = estimator.update({key: values[t] for key, values in frames.items()}, "go there")
        assert now.value == pytest.approx(float(whole.progress[t]), abs=1e-5)
        assert now.success == pytest.approx(float(whole.success[t]), abs=1e-5)
        assert now.stage == int(whole.stages[t].argmax())


@pytest.mark.parametrize("likely", [0, 1, 2])
def test_progress_is_within_the_likeliest_stage(likely):
    model = make_model("sarm")
    assert model.config.num_stages == 2
    stages = torch.full((3,), 0.3)
    stages[likely] = 0.4
    before = [0.0, model.config.shares[0], 1.0][likely]
    within = [0.5 * share for share in model.config.shares] + [0.0]
    assert float(model.whole(stages, torch.tensor([0.5, 0.5]))) == pytest.approx(before + within[likely])


@pytest.mark.parametrize("kind", KINDS)
def test_no_reading_depends_on_a_later_frame(kind):
    estimator = estimator_of(kind)
    frames = episode(20, seed=2)
    before = estimator.episode(frames, "go there").progress
    changed = {key: values.copy() for key, values in frames.items()}
    for values in changed.values():
        values[13:] += 3.0
    after = estimator.episode(changed, "go there").progress
    torch.testing.assert_close(before[:13], after[:13])
    assert (before[13:] - after[13:]).abs().max() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_training_sees_each_frame_as_run_time_does(kind):
    """No loss at a frame changes with frames behind it: those of the clip behind the last valid one do not count."""
    model = make_model(kind)
    batch = train_a_little(model, steps=0)
    model.eval()
    cut = {key: values.clone() for key, values in batch.items()}
    size = getattr(model.config, "snippet", 1)
    cut["valid"][:, size:] = False
    spoilt = {key: values.clone() for key, values in cut.items()}
    spoilt[OBSERVED][:, size:] += 5.0
    losses = []
    for one in (cut, spoilt):
        torch.manual_seed(0)
        losses.append(model(one)[0])
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize("kind", LABEL_KINDS)
def test_it_learns_stage_and_progress(kind):
    model = make_model(kind, hidden_dim=64)
    train_a_little(model, steps=350)
    estimator = estimator_of(kind, model=model)
    frames = episode(40, seed=77)
    reading = estimator.episode(frames, "go there")
    truth = frames[OBSERVED][:, 0]
    assert np.abs(reading.progress.numpy() - truth).mean() < 0.06
    assert (reading.stages.argmax(-1).numpy() == np.minimum((truth * 2).astype(int), 2)).mean() > 0.9
    wrong = estimator.episode(frames, "water the flowers").progress.numpy()
    assert wrong.mean() < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_the_same_model_back(kind, tmp_path):
    estimator = estimator_of(kind)
    estimator.model.config.temperature, estimator.model.config.done_at = 1.7, 0.8
    save_estimator(tmp_path / "model", estimator)
    again = load_estimator(tmp_path / "model")
    frames = episode(9, seed=5)
    for mine, its in zip(estimator.episode(frames, "go"), again.episode(frames, "go"), strict=True):
        torch.testing.assert_close(mine, its)
    assert again.model.config.done_at == 0.8
    assert again.stage_names == ("near", "far")


def test_files_of_two_models_do_not_mix(tmp_path):
    save_estimator(tmp_path / "a", estimator_of("sarm"))
    save_estimator(tmp_path / "b", estimator_of("sarm", model=make_model("sarm", hidden_dim=16)))
    (tmp_path / "a" / WEIGHTS).write_bytes((tmp_path / "b" / WEIGHTS).read_bytes())
    with pytest.raises(UserError, match="by config"):
        load_estimator(tmp_path / "a")


def test_a_folder_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match="train-reward"):
        load_estimator(tmp_path)
    save_estimator(tmp_path / "a", estimator_of("sarm"))
    config = json.loads((tmp_path / "a" / CONFIG).read_text())
    (tmp_path / "a" / CONFIG).write_text(json.dumps(config | {"type": "robolearn_sarn"}))
    with pytest.raises(UserError, match="robolearn_sarm"):
        load_estimator(tmp_path / "a")


def test_a_still_picture_makes_no_progress_in_a_window():
    frames = {OBSERVED: np.repeat(episode(1, seed=3)[OBSERVED], 50, axis=0)}
    progress = estimator_of("sarm").episode(frames, "go there").progress
    torch.testing.assert_close(progress, progress[:1].expand(50))


def test_a_recurrent_state_settles_before_the_first_frame():
    """What it remembers of a still picture hardly changes any more; without that it would fill for many frames."""
    model = make_model("recurrent").eval()
    first = torch.randn(model.config.hidden_dim, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        begin = model.settled(first[None])[0]
        state = model.start()
        for _ in range(20 * model.config.snippet):
            state, _ = model.step(state, first)
    assert (state.memory - begin).norm() < 0.15 * state.memory.norm()


def test_lerobots_face_gives_the_progress_of_the_last_frame():
    model = make_model("sarm")
    batch = train_a_little(model, steps=0)
    model.eval()
    reward = model.compute_reward(batch)
    assert reward.shape == (len(batch[TOKENS]),)
    assert ((reward >= 0) & (reward <= 1)).all()


def test_completed_stages_in_a_row_are_a_distribution():
    stages = completed_to_stages(torch.tensor([[0.9, 0.5, 0.0], [1.0, 1.0, 1.0]]))
    torch.testing.assert_close(stages, torch.tensor([[0.1, 0.45, 0.45, 0.0], [0.0, 0.0, 0.0, 1.0]]))


def test_shares_must_fit_the_stages():
    with pytest.raises(UserError, match="one share for each"):
        make_model("sarm", shares=[1.0])
