import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robolearn.real.safety import Limits, SafetyFilter
from robolearn.real.workspace import Workspace
from robolearn.sim.robots import ROBOTS, get_robot

PANDA = get_robot("panda")
HOME = np.array((*PANDA.home, 0.04))
LIMITS = Limits.of(PANDA, period=0.004)
far = st.lists(st.tuples(*[st.floats(-2, 2)] * 7, st.integers(5, 60)), min_size=1, max_size=6)


@pytest.mark.parametrize("name", ROBOTS)
def test_the_distance_is_that_of_the_chain_s_tool(name):
    robot = get_robot(name)
    q = np.random.default_rng(0).uniform(robot.lower, robot.upper, (50, robot.n_joints))
    low, high = np.array(robot.workspace)
    tool = robot.chain.forward(q).tool_pos
    expected = np.maximum(np.maximum(low - 0.02 - tool, tool - high - 0.02).max(axis=1), 0.0)
    box = Workspace(robot, margin=0.02)
    np.testing.assert_allclose([box.beyond(np.append(p, 0.0)) for p in q], expected, atol=1e-12)
    assert (expected > 0).any()


def follow(jumps, start):
    box = Workspace(PANDA, margin=0.05)
    filtered = SafetyFilter(LIMITS, box=box)
    filtered.reset(start)
    path = [start]
    for *target, count in jumps:
        path += [filtered.follow(np.array((*(HOME[:-1] + target), 0.04))) for _ in range(count)]
    path += [filtered.brake() for _ in range(100)]
    return filtered, np.array([box.beyond(position) for position in path]), np.stack(path)


@settings(max_examples=40)
@given(far)
def test_the_tool_stays_in_its_box_and_the_joints_within_their_limits(jumps):
    _, beyond, path = follow(jumps, HOME)
    # the two ends of every stop are looked at; between them its line may bulge a little
    assert beyond.max() < 0.005
    velocity = np.diff(path, axis=0, prepend=path[:1]) / 0.004
    assert (np.abs(velocity) <= LIMITS.velocity + 1e-9).all()
    assert (np.abs(np.diff(velocity, axis=0)) <= 0.004 * LIMITS.acceleration * (1 + 1e-6) + 1e-9).all()


def test_what_is_outside_comes_in_but_does_not_get_further_out():
    start = HOME.copy()
    start[1] += 1.0  # leans far forward and down
    box = Workspace(PANDA, margin=0.05)
    assert box.beyond(start) > 0.1
    filtered = SafetyFilter(LIMITS, box=box)
    filtered.reset(start)
    further = start.copy()
    further[1] += 0.5
    for _ in range(100):
        filtered.follow(further)
    assert filtered.refused == 100
    np.testing.assert_array_equal(filtered.position, start)
    for _ in range(600):
        filtered.follow(HOME)
    np.testing.assert_allclose(filtered.position, HOME, atol=1e-9)
    assert filtered.refused == 100


def test_what_is_refused_brakes_and_is_counted():
    out = HOME.copy()
    out[1] += 1.0
    filtered, _, path = follow([(0, 1.0, 0, 0, 0, 0, 0, 300)], HOME)
    assert filtered.refused > 100
    assert filtered.danger == ""
    assert path[-1, 1] > HOME[1] + 0.02  # it went as far as it may
    assert filtered.at_rest
