"""Training: schedule, averaging, and a resumed run that equals an uninterrupted one."""

import numpy as np
import pytest
import torch
from torch import nn

from robolearn.errors import UserError
from robolearn.train.checkpoint import load_checkpoint, save_checkpoint
from robolearn.train.ema import EMA
from robolearn.train.trainer import CHECKPOINT, learning_rate_at, train


class Regression(nn.Module):
    """y = W x from noisy targets; the noise comes from torch's generator, as a flow's does."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(width, 8), nn.Tanh(), nn.Linear(8, 1))

    def get_optim_params(self):
        return self.parameters()

    def forward(self, batch):
        target = batch["y"] + 0.1 * torch.randn_like(batch["y"])
        return (self.net(batch["x"]) - target).square().mean(), {}


def batches(step: int):
    x = np.random.default_rng(step).normal(size=(32, 3)).astype(np.float32)
    return {"x": x, "y": x.sum(axis=1, keepdims=True)}


def make_policy() -> Regression:
    torch.manual_seed(0)
    return Regression()


def run(policy, out, **changes):
    arguments = {"steps": 40, "warmup": 5, "learning_rate": 1e-2, "save_every": 10, "ema_decay": 0.9, "seed": 3}
    return train(policy, batches, out=out, **(arguments | changes))


def weights(policy) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in policy.parameters()])


def test_a_model_that_wants_to_follow_is_told_after_each_step(tmp_path):
    class Following(Regression):
        seen = ()

        def update(self):
            self.seen = (*self.seen, weights(self))

    torch.manual_seed(0)
    policy = Following()
    begun = weights(policy)
    run(policy, tmp_path, steps=3)
    assert len(policy.seen) == 3
    assert not any(torch.equal(a, b) for a, b in zip((begun, *policy.seen), policy.seen, strict=False))


def test_resumed_equals_uninterrupted(tmp_path):
    def score(policy):
        return lambda step: {"noise": torch.randn(()).item(), "norm": weights(policy).norm().item()}

    whole = make_policy()
    expected = run(whole, tmp_path / "whole", evaluate=score(whole), evaluate_every=15)

    class Killed(BaseException):
        pass

    def die_at(when):
        def on_step(step, _loss, _rate):
            if step == when:
                raise Killed

        return on_step

    for when in (13, 27):
        policy = make_policy()
        with pytest.raises(Killed):
            run(policy, tmp_path / "cut", on_step=die_at(when), evaluate=score(policy), evaluate_every=15)
    resumed = Regression()  # whatever its initialisation
    seen = []
    result = run(
        resumed,
        tmp_path / "cut",
        on_step=lambda step, *_: seen.append(step),
        evaluate=score(resumed),
        evaluate_every=15,
    )
    assert seen == list(range(21, 41))
    assert torch.equal(weights(resumed), weights(whole))
    assert result["curve"] == expected["curve"]
    drop_noise = [[step, figures["norm"]] for step, figures in result["evaluations"]]
    assert drop_noise == [[step, figures["norm"]] for step, figures in expected["evaluations"]]
    assert [step for step, _ in drop_noise] == [15, 30, 40]

    def never(*_):
        raise AssertionError("a finished run has nothing left to do")

    done = Regression()
    run(done, tmp_path / "cut", on_step=never, evaluate=never)
    assert torch.equal(weights(done), weights(whole))


def test_evaluation_does_not_disturb_training(tmp_path):
    plain, watched = make_policy(), make_policy()
    run(plain, tmp_path / "plain")
    modes = []

    def evaluate(_step):
        modes.append(watched.training)
        return {"x": torch.randn(100).mean().item()}

    run(watched, tmp_path / "watched", evaluate=evaluate, evaluate_every=7)
    assert torch.equal(weights(plain), weights(watched))
    assert modes == [False] * 6
    assert not watched.training


def test_loss_falls(tmp_path):
    result = run(make_policy(), tmp_path, steps=200)
    assert result["curve"][-1][1] < 0.1 * result["curve"][0][1]
    assert result["loss"] == result["curve"][-1][1]
    assert len(result["curve"]) == 200


def test_seed_matters(tmp_path):
    a, b = make_policy(), make_policy()
    run(a, tmp_path / "a")
    run(b, tmp_path / "b", seed=4)
    assert not torch.equal(weights(a), weights(b))


def test_schedule():
    rates = [learning_rate_at(k, steps=100, peak=2.0, warmup=10) for k in range(100)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(1.0)
    assert 0 < rates[99] < 0.01
    assert learning_rate_at(0, steps=5, peak=2.0, warmup=0) == 2.0


def test_ema_warms_up_and_swaps():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    ema = EMA(model, decay=0.5)
    expected = 0.0
    for k in range(30):
        with torch.no_grad():
            model.weight.fill_(k)
        ema.update()
        decay = min(0.5, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * k
    with ema.applied():
        assert model.weight.item() == pytest.approx(expected)
    assert model.weight.item() == 29


@pytest.mark.parametrize(("changes", "words"), [({"seed": 9}, "seed=3, not 9"), ({"steps": 50}, "steps=40")])
def test_checkpoint_of_another_run(tmp_path, changes, words):
    run(make_policy(), tmp_path)
    with pytest.raises(UserError, match=words):
        run(make_policy(), tmp_path, **changes)


def test_checkpoint_of_another_policy(tmp_path):
    run(make_policy(), tmp_path)
    with pytest.raises(UserError, match=r"another policy: 'net\.0\.weight' is \(8, 3\) there but \(8, 4\)"):
        run(Regression(width=4), tmp_path)


def test_not_a_checkpoint(tmp_path):
    (tmp_path / CHECKPOINT).write_bytes(b"\x80\x04pickle")
    with pytest.raises(UserError, match="not a training checkpoint"):
        run(make_policy(), tmp_path)


def test_diverging_loss_is_told(tmp_path):
    def spoilt(step):
        batch = batches(step)
        return batch | {"x": batch["x"] * np.float32(np.nan if step == 3 else 1)}

    with pytest.raises(UserError, match="loss is nan at step 3"):
        train(make_policy(), spoilt, steps=10, out=tmp_path)


def test_interrupted_save_keeps_the_old_checkpoint(tmp_path, monkeypatch):
    path = tmp_path / "c.safetensors"
    save_checkpoint(path, {"a": {"x": torch.ones(2)}}, {"step": 1})

    def fail(_tensors, target, **_):
        target.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr("robolearn.train.checkpoint.save_file", fail)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(path, {"a": {"x": torch.zeros(2)}}, {"step": 2})
    groups, state = load_checkpoint(path)
    assert state == {"step": 1}
    assert groups["a"]["x"].tolist() == [1, 1]
    assert [p.name for p in tmp_path.iterdir()] == ["c.safetensors"]


def test_the_averaged_weights_are_kept_at_every_checkpoint_and_where_success_is_highest(tmp_path):
    policy, kept = make_policy(), []
    successes = {10: 0.5, 20: 0.2, 30: 0.5, 40: 0.4}

    def keep(name):
        assert not policy.training
        kept.append((name, weights(policy)))

    run(
        policy,
        tmp_path,
        save_every=20,
        evaluate=lambda step: {"success": successes[step]},
        evaluate_every=10,
        keep=keep,
    )
    assert [name for name, _ in kept] == ["best", "policy", "best", "policy"]
    assert torch.equal(kept[-1][1], weights(policy))
    assert not torch.equal(kept[1][1], kept[0][1])


def test_the_best_is_not_forgotten_by_a_resumed_run(tmp_path):
    class Killed(BaseException):
        pass

    def die(step, *_):
        if step == 15:
            raise Killed

    kept = []
    watch = {"evaluate": lambda step: {"success": 1 - step / 100}, "evaluate_every": 10, "keep": kept.append}
    with pytest.raises(Killed):
        run(make_policy(), tmp_path, on_step=die, **watch)
    run(make_policy(), tmp_path, **watch)
    assert kept == ["best", "policy", "policy", "policy", "policy"]
