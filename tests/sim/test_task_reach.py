"""Reach: stages on states made by hand, starts, and the expert."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_runs import demonstrate, first_seen, succeed_by_chance
from world_states import make_state

from robolearn.sim.robots import ROBOTS, get_robot
from robolearn.sim.stages import task_progress
from robolearn.sim.tasks.reach import LOW, NEAR, RADIUS, REACH, STILL
from robolearn.sim.tasks.task import Area

GOAL = (0.5, 0.0, 0.1)


def state(away, speed=0.0):
    s = make_state(tool=(0.5, 0.0, 0.1 + away), width=0.08, bodies={"goal": GOAL}, half={"goal": (RADIUS, 0.0, 0.0)})
    velocities = np.zeros_like(s.joints)
    velocities[:, 3] = -speed
    return replace(s, joint_velocities=velocities)


@pytest.mark.parametrize(
    ("away", "speed", "stage"),
    [
        (0.2, 0.0, 0),
        (NEAR + 0.001, 0.0, 0),
        (NEAR - 0.001, 0.0, 1),
        (RADIUS + 0.001, 0.0, 1),
        (RADIUS - 0.001, 0.0, 2),
        (0.0, 2 * STILL, 1),  # flies through
    ],
)
def test_the_stage_of_a_state(away, speed, stage):
    assert REACH.stage(state(away, speed)).tolist() == [stage]
    assert REACH.success(state(away, speed)).tolist() == [stage == 2]


def test_progress_grows_on_the_way():
    states = [state(away) for away in (0.4, 0.2, 0.1, 0.06, 0.045, 0.03, 0.02, 0.01)]
    values = [task_progress(REACH.stages, s, REACH.stage(s))[0] for s in states]
    assert (np.diff(values) > 0).all()
    assert values[0] > 0
    assert values[-1] == 1.0


@pytest.mark.parametrize("robot", ROBOTS)
@given(seed=st.integers(0, 2**32))
def test_the_goal_is_in_the_area_and_away_from_the_arm(robot, seed):
    spec = get_robot(robot)
    area = Area.of(spec)
    goal, _ = REACH.place(np.random.default_rng(seed), area).poses["goal"]
    assert ((goal[:2] >= area.low) & (goal[:2] <= area.high)).all()
    assert goal[2] >= LOW
    tool = spec.chain.forward(np.array(spec.home)).tool_pos
    assert np.linalg.norm(goal - tool) > NEAR + 0.01


def test_the_clean_expert_succeeds_stage_by_stage():
    for episode in demonstrate("reach", 20):
        assert episode.success
        assert first_seen(episode) == [0, 1]


def test_chance_does_not_stop_in_the_goal():
    assert succeed_by_chance("reach", 50) == 0
