"""Stack: stages on states made by hand, starts, and the expert."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_runs import demonstrate, first_seen, succeed_by_chance
from world_states import make_state

from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.robots import ROBOTS, get_robot
from robolearn.sim.stages import task_progress
from robolearn.sim.tasks.stack import APART, HALF_A, HALF_B, STACK
from robolearn.sim.tasks.task import Area

HALF = {"cube_a": (HALF_A,) * 3, "cube_b": (HALF_B,) * 3}
A, B = (0.5, 0.1, HALF_A), (0.5, -0.1, HALF_B)
TOP = 2 * HALF_B + HALF_A
FAR, OPEN, ON_CUBE = (0.5, 0.0, 0.3), 0.08, 2 * HALF_A


def state(*, tool=FAR, width=OPEN, a=A, b=B, quat=(1.0, 0.0, 0.0, 0.0)):
    return make_state(tool=tool, width=width, bodies={"cube_a": a, "cube_b": b}, half=HALF, quats={"cube_a": quat})


def held(x, y, z):
    return {"tool": (x, y, z), "width": ON_CUBE, "a": (x, y, z)}


def on_b(x=0.0, y=0.0, z=0.0):
    return (B[0] + x, B[1] + y, TOP + z)


TIPPED = (np.cos(np.pi / 8), np.sin(np.pi / 8), 0.0, 0.0)


@pytest.mark.parametrize(
    ("world", "stage"),
    [
        ({}, 0),
        ({"tool": A}, 1),
        ({"tool": A, "width": 0.0}, 1),  # the fingers have closed beside it
        ({"tool": A, "width": ON_CUBE}, 2),
        ({"tool": B, "width": 2 * HALF_B}, 0),  # the wrong cube
        (held(0.5, 0.1, 0.06), 2),
        (held(0.5, 0.1, 0.1), 3),
        ({"a": (0.5, 0.1, 0.1)}, 0),  # thrown
        (held(*on_b(z=0.03)), 4),
        (held(*on_b(x=0.02, y=0.02, z=0.03)), 3),  # not yet over the other one
        ({"a": on_b(z=0.03)}, 0),  # falls
        (held(*on_b()), 5),
        ({"a": on_b(), "tool": on_b()}, 5),  # open, but still around it
        ({"a": on_b(), "tool": on_b(z=0.1), "width": 0.0}, 5),  # away, but not open
        ({"a": on_b()}, 6),
        ({"a": on_b(x=0.02)}, 6),
        ({"a": on_b(x=0.03)}, 0),
        ({"a": on_b(), "quat": TIPPED}, 0),
        ({"a": (0.5, 0.1, TOP)}, 0),  # as high, but beside the other one
        ({"a": (0.5, -0.1, HALF_A), "b": (0.5, -0.1, 2 * HALF_A + HALF_B)}, 0),  # the other way round
    ],
)
def test_the_stage_of_a_state(world, stage):
    assert STACK.stage(state(**world)).tolist() == [stage]
    assert STACK.success(state(**world)).tolist() == [stage == 6]


def test_progress_grows_along_a_good_episode_and_falls_when_the_cube_is_dropped():
    steps = (
        {},
        {"tool": (0.5, 0.1, 0.1)},
        {"tool": A},
        {"tool": A, "width": 0.06},
        {"tool": A, "width": ON_CUBE},
        held(0.5, 0.1, 0.05),
        held(0.5, 0.1, 0.1),
        held(0.5, 0.0, 0.1),
        held(*on_b(z=0.03)),
        held(*on_b(z=0.01)),
        held(*on_b()),
        {"a": on_b(), "tool": on_b(), "width": 0.047},
        {"a": on_b(), "tool": on_b(z=0.03)},
        {"a": on_b(), "tool": on_b(z=0.1)},
    )
    values = [task_progress(STACK.stages, s, STACK.stage(s))[0] for s in (state(**step) for step in steps)]
    assert (np.diff(values) > 0).all()
    assert values[-1] == 1.0
    dropped = state(tool=(0.5, 0.0, 0.1), a=(0.5, 0.0, HALF_A))
    assert task_progress(STACK.stages, dropped, STACK.stage(dropped))[0] < values[2]


def test_larger_cubes_are_judged_by_their_own_size():
    bodies = {"cube_a": (0.5, -0.1, 3 * 0.03), "cube_b": (0.5, -0.1, 0.03)}
    large = make_state(tool=FAR, width=OPEN, bodies=bodies, half=dict.fromkeys(bodies, (0.03,) * 3))
    assert STACK.success(large).all()
    assert not STACK.success(make_state(tool=FAR, width=OPEN, bodies=bodies, half=HALF)).any()


@pytest.mark.parametrize("robot", ROBOTS)
@given(seed=st.integers(0, 2**32))
def test_the_cubes_lie_in_the_area_with_room_for_fingers_between_them(robot, seed):
    area = Area.of(get_robot(robot))
    start = STACK.place(np.random.default_rng(seed), area)
    a, b = (start.poses[name][0] for name in STACK.bodies)
    for at, half in ((a, HALF_A), (b, HALF_B)):
        assert ((at[:2] >= area.low) & (at[:2] <= area.high)).all()
        assert at[2] == half
    assert np.linalg.norm(a[:2] - b[:2]) >= APART


def test_the_clean_expert_succeeds_stage_by_stage():
    for episode in demonstrate("stack", 10):
        assert episode.success
        assert first_seen(episode) == list(range(6))


def test_chance_does_not_stack():
    assert succeed_by_chance("stack", 20) == 0


def test_a_cube_that_slips_is_picked_up_again():
    env = MujocoVecEnv("stack", autoreset=False, max_episode_steps=200)
    expert = ScriptedExpert("stack", env.schema, 1)
    expert.reset([0])
    observation, _ = env.reset(seed=[0])
    stages, lifted, slipped = [], False, False
    for _ in range(200):
        action = expert.act(observation)
        lifted |= observation["observation.environment_state"][0, 2] > 2 * HALF_A
        slipped |= lifted and stages[-1] == 0
        if lifted and not slipped:
            action[:, -1] = OPEN  # something opens the gripper until the cube has fallen
        observation, _, terminated, _, info = env.step(action)
        stages.append(int(info["stage"][0]))
        if terminated[0]:
            break
    env.close()
    assert slipped
    assert stages[-1] == 6
