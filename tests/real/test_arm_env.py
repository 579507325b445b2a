"""An arm as an environment: what is executed and what is told; without threads, in virtual time."""

import numpy as np
import pytest
from arm_bench import BACK, STEPS, Bench, started
from test_real_controller import FORWARD, HOME, PERIOD, ROBOT, SCHEMA, SPACE, require_within_limits

from robolearn.protocols import VecEnv
from robolearn.real.scene import Predicate


def test_it_is_an_environment_of_one_world_with_the_schema_s_channels():
    bench = Bench()
    assert isinstance(bench.env, VecEnv)
    observation, info = bench.env.reset(seed=[7])
    SCHEMA.select(SCHEMA.observation_keys).validate(observation, lead=1)
    assert bench.scene.seeds == [7]
    assert not info["success"][0]
    observation, reward, terminated, truncated, info = bench.step()
    SCHEMA.select(SCHEMA.observation_keys).validate(observation, lead=1)
    assert (reward[0], terminated[0], truncated[0]) == (0.0, False, False)
    assert info["action"].shape == (1, 5)


def test_the_arm_does_what_it_is_told_and_that_is_reported():
    bench = started()
    before = bench.tool
    for _ in range(20):
        *_, info = bench.step()
        np.testing.assert_array_equal(info["action"], FORWARD[None])
        assert not info["intervention"][0]
    assert bench.tool[0] - before[0] > 0.15
    require_within_limits(bench.arm.sent)


def test_steps_come_at_the_schema_s_rate_however_fast_the_policy_is():
    bench = started()
    begin = bench.driven.periods
    for _ in range(40):
        bench.step()
    assert abs((bench.driven.periods - begin) * PERIOD - 40 * 0.05) <= 2 * PERIOD


def test_an_action_that_comes_late_is_not_executed_and_not_reported():
    bench = started()
    for _ in range(3):
        bench.step()
    bench.driven.run(STEPS // 2)  # 24 ms of thinking
    assert bench.env._handover.waiting == 0
    here = bench.arm.pose.copy()
    *_, info = bench.step(BACK)
    np.testing.assert_allclose(info["action"][0], (0, 0, 0, 0, FORWARD[-1]))
    assert np.abs(bench.arm.pose - here)[:-1].max() < 0.02  # it ends the motion that was under way
    *_, info = bench.step(BACK)
    np.testing.assert_array_equal(info["action"][0], BACK)


@pytest.mark.parametrize("delay", range(2 * STEPS + 2))
def test_what_is_reported_is_what_the_controller_was_given(delay):
    """Whenever an action comes, also at the very end of its step or later: what is told of each step is true."""
    bench = started(deadline=1.0)
    executed = []
    command = SPACE.command
    bench.env._space._space = type(
        "Space",
        (),
        {
            "robot": ROBOT,
            "dt": 0.05,
            "feature": SPACE.feature,
            "command": lambda _, r, m, a: executed.append(a.astype(np.float32)) or command(r, m, a),
        },
    )()
    for _ in range(4):
        bench.driven.run(delay)
        executed.clear()
        *_, info = bench.step(BACK)
        reported = np.array_equal(info["action"][0], BACK)
        assert reported == bool(executed)


def test_a_person_acts_at_once_and_is_reported():
    bench = started()
    bench.step()
    bench.person = 10 * BACK
    *_, info = bench.step()
    assert info["intervention"][0]
    np.testing.assert_allclose(info["action"][0], np.clip(10 * BACK, SCHEMA.action.low, SCHEMA.action.high))
    before = bench.tool
    for _ in range(10):
        bench.step()
    assert bench.tool[0] < before[0] - 0.1
    require_within_limits(bench.arm.sent)
    bench.person = None
    *_, info = bench.step()
    assert not info["intervention"][0]


def test_a_person_acts_while_the_policy_thinks():
    bench = started()
    bench.person = BACK
    bench.driven.run(5 * STEPS)
    assert bench.tool[0] < ROBOT.chain.forward(HOME[:-1]).tool_pos[0] - 0.02


@pytest.mark.parametrize(("said", "reward"), [(True, 1.0), (False, 0.0)])
def test_a_button_ends_the_episode(said, reward):
    bench = started()
    bench.step()
    bench.button.said = said
    _, given, terminated, truncated, info = bench.step()
    assert (given[0], terminated[0], truncated[0], info["success"][0]) == (reward, True, False, said)
    bench.env.reset(seed=[8])
    assert bench.step()[2].tolist() == [False]


def test_a_predicate_of_the_observation_is_success():
    goal = ROBOT.chain.forward(HOME[:-1]).tool_pos[0] + 0.05
    at = SCHEMA["observation.state"].names.index("tool_x")
    bench = started(success=Predicate(lambda observation: observation["observation.state"][at] > goal))
    for _ in range(30):
        _, reward, terminated, *_ = bench.step()
        if terminated[0]:
            break
    assert reward[0] == 1.0


def test_time_runs_out_and_the_arm_rests_until_the_next_episode():
    bench = started(max_episode_steps=3)
    ends = [bench.step()[3][0] for _ in range(3)]
    assert ends == [False, False, True]
    sent = len(bench.arm.sent)
    bench.driven.run(100)
    assert len(bench.arm.sent) == sent
    np.testing.assert_array_equal(bench.arm.sent[-1], bench.arm.sent[-2])
    with pytest.raises(RuntimeError, match="reset first"):
        bench.step()
    assert bench.scene.reasons == []
    require_within_limits(bench.arm.sent)


def test_masked_out_it_goes_on():
    bench = started()
    bench.step()
    observation, _ = bench.env.reset(seed=[None], options={"reset_mask": np.array([False])})
    assert bench.scene.seeds == [7]
    assert observation["observation.state"].shape[0] == 1
    bench.step()
