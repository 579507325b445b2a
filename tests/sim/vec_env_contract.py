"""What every `robolearn.protocols.VecEnv` must do, as checks that any backend's tests can run.

    @pytest.mark.parametrize("check", CONTRACT)
    def test_it_keeps_the_contract(check):
        check(make)

`make(num_envs=..., autoreset=...)` returns an environment whose episodes end by a limit of a few steps, too few for
random actions to succeed in. It may return the same environment every time it is asked for the same arguments: the
checks reset what they use and close nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pytest
from numpy.typing import NDArray

from robolearn.errors import UserError
from robolearn.protocols import VecEnv

SEEDS = [7, 3, 11]


class Make(Protocol):
    """Makes environments of one kind."""

    def __call__(self, *, num_envs: int, autoreset: bool) -> Any:
        """Return one."""


def random_actions(env: Any, steps: int, seed: int = 0) -> NDArray[np.float32]:
    """Actions [steps, action_dim] within their bounds."""
    rng = np.random.default_rng(seed)
    action = env.schema.action
    return rng.uniform(action.low, action.high, (steps, *action.shape)).astype(np.float32)


def play(env: Any, seeds: list[int], *, steps: int | None = None) -> dict[str, NDArray[Any]]:
    """Frames [steps + 1, num_envs, ...]: observations, rewards, ends; a world's actions depend on its seed alone."""
    plans = np.stack([random_actions(env, steps or env.max_episode_steps, seed) for seed in seeds], axis=1)
    observation, info = env.reset(seed=seeds)
    still = np.zeros(env.num_envs)
    frames = [{**observation, "reward": still, "terminated": still, "truncated": still, **_plain(info)}]
    for actions in plans:
        observation, reward, terminated, truncated, info = env.step(actions)
        ends = {"terminated": terminated, "truncated": truncated}
        frames.append({**observation, "reward": reward, **ends, **_plain(info)})
    return {key: np.stack([frame[key] for frame in frames]) for key in frames[0]}


def _plain(info: dict[str, Any]) -> dict[str, Any]:
    return {key: info[key] for key in ("success", "stage", "progress")}


def _assert_same(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert list(a) == list(b)
    for key in a:
        np.testing.assert_array_equal(a[key], b[key], err_msg=key)


def _at(frames: dict[str, Any], place: Any) -> dict[str, Any]:
    return {key: values[:, place] for key, values in frames.items()}


def says_what_it_is(make: Make) -> None:
    """Attributes, spaces and arrays are those of the schema."""
    env = make(num_envs=2, autoreset=False)
    assert isinstance(env, VecEnv)
    assert env.num_envs == 2
    assert env.max_episode_steps >= 1
    assert env.stage_names
    low, high = env.schema.action.low, env.schema.action.high
    assert (np.isfinite(low) & np.isfinite(high) & np.less(low, high)).all()
    np.testing.assert_array_equal(env.single_action_space.low, np.float32(low))
    np.testing.assert_array_equal(env.single_action_space.high, np.float32(high))
    observation, _ = env.reset(seed=0)
    for _ in range(2):
        env.schema.select(env.schema.observation_keys).validate(observation, lead=1)
        assert env.observation_space.contains(observation)
        for key, values in observation.items():
            assert values.shape[0] == 2
            assert values.dtype == (np.uint8 if env.schema[key].dtype == "image" else env.schema[key].dtype), key
        observation, *_ = env.step(np.repeat(random_actions(env, 1), 2, axis=0))
    assert len(env.instructions) == 2
    assert all(isinstance(text, str) and text for text in env.instructions)


def reports_arrays(make: Make) -> None:
    """Rewards, ends and info are [num_envs] arrays of their kinds, at reset and at every step."""
    env = make(num_envs=2, autoreset=False)
    _, info = env.reset(seed=0)
    for actions in np.repeat(random_actions(env, 4)[:, None], 2, axis=1):
        for key, kind in (("success", "b"), ("stage", "i"), ("progress", "f")):
            assert (info[key].shape, info[key].dtype.kind) == ((2,), kind), key
        assert ((info["stage"] >= 0) & (info["stage"] <= len(env.stage_names))).all()
        assert ((info["progress"] >= 0) & (info["progress"] <= 1)).all()
        assert ((info["stage"] == len(env.stage_names)) == info["success"]).all()
        _, reward, terminated, truncated, info = env.step(actions)
        assert (reward.shape, reward.dtype) == ((2,), np.float64)
        assert (terminated.shape, terminated.dtype) == ((2,), np.bool_)
        assert (truncated.shape, truncated.dtype) == ((2,), np.bool_)


def refuses_actions_that_are_none(make: Make) -> None:
    """A value that is not finite is named by world and component; another shape is refused."""
    env = make(num_envs=2, autoreset=False)
    env.reset(seed=0)
    name = env.schema.action.names[-1]
    for value in (np.nan, np.inf):
        actions = np.repeat(random_actions(env, 1), 2, axis=0)
        actions[1, -1] = value
        with pytest.raises(ValueError, match=rf"'{name}' of world 1 is not finite"):
            env.step(actions)
    with pytest.raises(ValueError, match="shape"):
        env.step(random_actions(env, 3))


def refuses_another_number_of_seeds(make: Make) -> None:
    """Seeds come one per world."""
    env = make(num_envs=2, autoreset=False)
    with pytest.raises(UserError, match="3 seeds for 2 worlds"):
        env.reset(seed=[1, 2, 3])


def clips_actions(make: Make) -> None:
    """An action beyond a bound is the bound."""
    env = make(num_envs=2, autoreset=False)
    action = env.schema.action
    middle, reach = np.add(action.high, action.low) / 2, np.subtract(action.high, action.low)
    signs = np.sign(np.random.default_rng(0).standard_normal((3, 2, *action.shape)))
    ends = []
    for stretch in (0.5, 40.0):
        env.reset(seed=SEEDS[:2])
        for sign in signs:
            observation, *_ = env.step(middle + stretch * sign * reach)
        ends.append(observation)
    _assert_same(*ends)


def repeats_an_episode(make: Make) -> None:
    """The same seeds and actions give the same episode bit for bit, whatever came before; others another one."""
    env = make(num_envs=2, autoreset=False)
    first = play(env, SEEDS[:2])
    play(env, [20, 21], steps=2)
    _assert_same(first, play(env, SEEDS[:2]))
    other, _ = env.reset(seed=[20, 21])
    assert any((other[key] != first[key][0]).any() for key in other)


def depends_on_the_seed_alone(make: Make) -> None:
    """A world's episode depends neither on the number of worlds nor on its place."""
    many, one = make(num_envs=3, autoreset=False), make(num_envs=1, autoreset=False)
    together, backwards = play(many, SEEDS), play(many, SEEDS[::-1])
    for place, seed in enumerate(SEEDS):
        alone = _at(play(one, [seed]), 0)
        _assert_same(alone, _at(together, place))
        _assert_same(alone, _at(backwards, 2 - place))


def counts_an_integer_seed_up(make: Make) -> None:
    """World i starts from s + i."""
    env = make(num_envs=3, autoreset=False)
    _assert_same(env.reset(seed=40)[0], env.reset(seed=[40, 41, 42])[0])


def resets_by_mask(make: Make) -> None:
    """A masked reset starts an episode in its worlds and leaves the others where they are."""
    env = make(num_envs=3, autoreset=False)
    undisturbed = play(env, SEEDS, steps=3)
    fresh = env.reset(seed=[1, 77, 2])[0]
    plans = np.stack([random_actions(env, 3, seed) for seed in SEEDS], axis=1)
    env.reset(seed=SEEDS)
    before, *_ = env.step(plans[0])
    after, _ = env.reset(seed=[None, 77, None], options={"reset_mask": np.array([False, True, False])})
    for key in after:
        np.testing.assert_array_equal(after[key][[0, 2]], before[key][[0, 2]])
        np.testing.assert_array_equal(after[key][1], fresh[key][1])
    for k in (1, 2):
        touched, *_ = env.step(plans[k])
        for key in touched:
            np.testing.assert_array_equal(touched[key][[0, 2]], undisturbed[key][k + 1][[0, 2]])


def goes_on_from_a_seed(make: Make) -> None:
    """Episodes after the seeded one follow from its seed, whatever the other worlds do, and are not all the same."""

    def starts(num_envs: int) -> list[dict[str, Any]]:
        env = make(num_envs=num_envs, autoreset=False)
        first, _ = env.reset(seed=20)
        mask = np.arange(num_envs) == 0
        later = [env.reset(options={"reset_mask": mask})[0] for _ in range(2)]
        return [{key: values[0] for key, values in start.items()} for start in (first, *later)]

    alone, among = starts(1), starts(3)
    for a, b in zip(alone, among, strict=True):
        _assert_same(a, b)
    assert any((alone[1][key] != alone[2][key]).any() for key in alone[0])


def ends_an_episode_one_way(make: Make) -> None:
    """Terminated and truncated exclude each other; time runs out at the limit, not before; a reset starts it again."""
    env = make(num_envs=2, autoreset=False)
    for _ in range(2):
        frames = play(env, SEEDS[:2])
        terminated, truncated = frames["terminated"].astype(bool), frames["truncated"].astype(bool)
        assert not (terminated & truncated).any()
        assert not truncated[:-1].any()
        assert (terminated | truncated)[-1].all()


def keeps_the_last_observation(make: Make) -> None:
    """With autoreset a finished world shows its next episode and leaves its last frame in `final_obs`."""
    by_hand, by_itself = make(num_envs=2, autoreset=False), make(num_envs=2, autoreset=True)
    seen = play(by_hand, SEEDS[:2])
    plans = np.stack([random_actions(by_itself, by_itself.max_episode_steps, seed) for seed in SEEDS[:2]], axis=1)
    by_itself.reset(seed=SEEDS[:2])
    for k, actions in enumerate(plans[:-1]):
        observation, *_, info = by_itself.step(actions)
        assert "final_obs" not in info
        _assert_same(observation, {key: seen[key][k + 1] for key in observation})
    observation, reward, terminated, truncated, info = by_itself.step(plans[-1])
    assert (terminated | truncated).all()
    np.testing.assert_array_equal(info["_final_obs"], terminated | truncated)
    np.testing.assert_array_equal(reward, seen["reward"][-1])
    _assert_same(info["final_obs"], {key: seen[key][-1] for key in observation})
    _assert_same({key: info[key] for key in ("success", "progress")}, {k: seen[k][-1] for k in ("success", "progress")})
    by_hand.reset(seed=SEEDS[:2])
    _assert_same(observation, by_hand.reset()[0])
    _, _, terminated, truncated, _ = by_itself.step(plans[0])
    assert not (terminated | truncated).any()


def hands_out_copies(make: Make) -> None:
    """What was returned does not change under the caller's hands, nor the caller's actions."""
    env = make(num_envs=2, autoreset=True)
    actions = np.repeat(random_actions(env, 1), 2, axis=0)
    given = actions.copy()
    kept, _ = env.reset(seed=0)
    first = {key: values.copy() for key, values in kept.items()}
    outcome = env.step(actions)
    frozen = [outcome[0], *outcome[1:4], _plain(outcome[4])]
    copies = [{k: v.copy() for k, v in part.items()} if isinstance(part, dict) else part.copy() for part in frozen]
    for _ in range(env.max_episode_steps):
        env.step(-actions)
    _assert_same(kept, first)
    for part, copy in zip(frozen, copies, strict=True):
        _assert_same(part, copy) if isinstance(part, dict) else np.testing.assert_array_equal(part, copy)
    np.testing.assert_array_equal(actions, given)


CONTRACT: tuple[Callable[[Make], None], ...] = (
    says_what_it_is,
    reports_arrays,
    refuses_actions_that_are_none,
    refuses_another_number_of_seeds,
    clips_actions,
    repeats_an_episode,
    depends_on_the_seed_alone,
    counts_an_integer_seed_up,
    resets_by_mask,
    goes_on_from_a_seed,
    ends_an_episode_one_way,
    keeps_the_last_observation,
    hands_out_copies,
)


def closes_twice(make: Make) -> None:
    """Closing again does nothing. Not in `CONTRACT`: it needs an environment of its own."""
    env = make(num_envs=2, autoreset=False)
    env.reset(seed=0)
    env.close()
    env.close()
