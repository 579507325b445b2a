"""`robolearn bench learner`: all sides make the same kind of update; never how fast."""

import pytest
import torch

from robolearn.bench import _learners, learner
from robolearn.bench._learners import Size, critic_weights, lerobot, ours

SIDES = [f"{algo}{kind}" for algo in ("residual", "rlpd") for kind in ("", ".schedule", ".schedule.bfloat16")]
SMALL = Size(critics=2, hidden=16, batch=8)


@pytest.fixture(autouse=True)
def few(monkeypatch):
    for name, value in {"EPISODE": 6, "EPISODES": 3, "DEMONSTRATIONS": 2}.items():
        monkeypatch.setattr(_learners, name, value)
    yield
    torch.set_float32_matmul_precision("highest")  # as torch begins


def snapshot(*modules):
    return [torch.cat([p.detach().flatten().clone() for p in module.parameters()]) for module in modules]


@pytest.mark.parametrize("algo", ["residual", "rlpd"])
def test_an_update_of_ours_moves_critics_and_actor(algo):
    one, update = ours(algo, SMALL, actor_every=1, seed=0)
    modules = (one.critic, one.critic_target, one.actor)
    before = snapshot(*modules)
    assert update() == 1
    assert all((a != b).any() for a, b in zip(snapshot(*modules), before, strict=True))


def test_the_actor_waits_for_its_turn():
    one, update = ours("residual", SMALL, actor_every=2, seed=0)
    (before,) = snapshot(one.actor)
    update()
    torch.testing.assert_close(snapshot(one.actor)[0], before, rtol=0, atol=0)
    update()
    assert (snapshot(one.actor)[0] != before).any()


def test_an_update_of_lerobots_moves_critics_and_actor():
    one, update = lerobot(SMALL, seed=0)
    modules = (one.critic_ensemble, one.critic_target, one.policy.actor)
    before = snapshot(*modules)
    assert update() == 1
    assert all((a != b).any() for a, b in zip(snapshot(*modules), before, strict=True))


@pytest.mark.parametrize("algo", ["residual", "rlpd"])
def test_both_sides_have_critics_of_the_same_size(algo):
    expected = 2 * ((39 + 4) * 16 + 16 * 16 + 16)
    assert critic_weights(ours(algo, SMALL, actor_every=1, seed=0)[0]) == expected
    assert critic_weights(lerobot(SMALL, seed=0)[0]) == expected


def test_a_share_is_our_time_over_theirs():
    rates = {"lerobot.critics_2": [10.0, 20.0, 10.0]}
    rates |= {f"{side}.critics_2": [40.0, 40.0, 50.0] for side in SIDES}
    rates["rlpd.schedule.critics_2"] = [100.0, 100.0, 100.0]
    found = {m.id: m for m in learner._measures(2, rates)}
    assert (found["update_ms.residual.critics_2"].value, found["update_ms.residual.critics_2"].baseline) == (25, 100)
    share = found["update_time_share.residual.critics_2"]
    assert (share.value, share.interval) == (0.25, (0.2, 0.5))
    assert found["update_time_share.rlpd.schedule.critics_2"].value == pytest.approx(0.1)


def test_the_whole_runs(monkeypatch):
    tiny = {"CRITICS": (2,), "HIDDEN": 16, "BATCH": 8, "ROUNDS": 1, "SECONDS": 1e-9}
    for name, value in tiny.items():
        monkeypatch.setattr(learner, name, value)
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    lines = []
    found = {m.id: m for m in learner.run(lines.append)}
    assert all(m.value > 0 for m in found.values())
    assert set(found) == {f"{kind}.{side}.critics_2" for kind in ("update_ms", "update_time_share") for side in SIDES}
    assert any("round 1/1" in line for line in lines)
