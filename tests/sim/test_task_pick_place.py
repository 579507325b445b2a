"""Pick and place: stages on states made by hand, starts, and the expert."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_runs import demonstrate, first_seen, succeed_by_chance
from world_states import make_state

from robolearn.rotations import quat_about_z
from robolearn.sim.robots import ROBOTS, get_robot
from robolearn.sim.stages import task_progress
from robolearn.sim.tasks.bins import INNER, OUTER, RIM, WALL
from robolearn.sim.tasks.pick_place import APART, HALF, PICK_PLACE
from robolearn.sim.tasks.task import Area

SIZES = {"cube": (HALF, HALF, HALF), "bin": (OUTER, OUTER, WALL / 2)}
CUBE, BIN = (0.5, 0.1, HALF), (0.5, -0.1, 0.0)
FAR, OPEN, ON_CUBE = (0.5, 0.0, 0.3), 0.08, 2 * HALF


def state(*, tool=FAR, width=OPEN, cube=CUBE, turn=0.0):
    bodies = {"cube": cube, "bin": BIN}
    return make_state(tool=tool, width=width, bodies=bodies, half=SIZES, quats={"bin": quat_about_z(turn)})


def held(x, y, z):
    return {"tool": (x, y, z), "width": ON_CUBE, "cube": (x, y, z)}


def in_bin(x=0.0, y=0.0, z=WALL + HALF):
    return (BIN[0] + x, BIN[1] + y, z)


@pytest.mark.parametrize(
    ("world", "stage"),
    [
        ({}, 0),
        ({"tool": CUBE}, 1),
        ({"tool": CUBE, "width": 0.0}, 1),  # the fingers have closed beside it
        ({"tool": CUBE, "width": ON_CUBE}, 2),
        (held(0.5, 0.1, RIM), 2),
        (held(0.5, 0.1, 0.08), 3),
        ({"cube": (0.5, 0.1, 0.08)}, 0),  # thrown
        (held(*in_bin(z=0.08)), 4),
        (held(*in_bin(x=INNER, z=0.08)), 3),  # over the wall
        ({"cube": in_bin(z=0.08)}, 0),  # falls in
        (held(*in_bin()), 5),
        ({"cube": in_bin(), "tool": in_bin(z=0.08), "width": ON_CUBE}, 5),  # away, but not open
        ({"cube": in_bin(), "tool": in_bin(z=0.06)}, 5),  # open, but not away
        ({"cube": in_bin()}, 6),
        ({"cube": in_bin(x=OUTER + HALF, z=HALF)}, 0),  # beside the bin
        ({"cube": in_bin(x=INNER, z=RIM + HALF)}, 0),  # on the rim
    ],
)
def test_the_stage_of_a_state(world, stage):
    assert PICK_PLACE.stage(state(**world)).tolist() == [stage]
    assert PICK_PLACE.success(state(**world)).tolist() == [stage == 6]


def test_a_turned_bin_is_judged_in_its_own_frame():
    corner = in_bin(0.9 * INNER, 0.9 * INNER)
    assert PICK_PLACE.success(state(cube=corner)).all()
    assert not PICK_PLACE.success(state(cube=corner, turn=np.pi / 4)).any()


def test_progress_grows_along_a_good_episode_and_falls_when_the_cube_is_dropped():
    steps = (
        {},
        {"tool": (0.5, 0.1, 0.1)},
        {"tool": CUBE},
        {"tool": CUBE, "width": 0.06},
        {"tool": CUBE, "width": ON_CUBE},
        held(0.5, 0.1, 0.04),
        held(0.5, 0.1, 0.08),
        held(0.5, 0.0, 0.08),
        held(*in_bin(z=0.08)),
        held(*in_bin(z=0.06)),
        {"cube": in_bin(), "tool": in_bin(z=0.06), "width": 0.05},
        {"cube": in_bin(), "tool": in_bin(z=0.08)},
        {"cube": in_bin(), "tool": in_bin(z=0.12)},
    )
    values = [task_progress(PICK_PLACE.stages, s, PICK_PLACE.stage(s))[0] for s in (state(**w) for w in steps)]
    assert (np.diff(values) > 0).all()
    assert values[-1] == 1.0
    dropped = state(tool=(0.5, 0.0, 0.1), cube=(0.5, 0.0, HALF))
    assert task_progress(PICK_PLACE.stages, dropped, PICK_PLACE.stage(dropped))[0] < values[2]


@pytest.mark.parametrize("robot", ROBOTS)
@given(seed=st.integers(0, 2**32))
def test_cube_and_bin_stand_in_the_area_with_room_for_fingers_between_them(robot, seed):
    area = Area.of(get_robot(robot))
    start = PICK_PLACE.place(np.random.default_rng(seed), area)
    cube, bin_ = (start.poses[name][0] for name in PICK_PLACE.bodies)
    for at in (cube, bin_):
        assert ((at[:2] >= area.low) & (at[:2] <= area.high)).all()
    assert np.linalg.norm(cube[:2] - bin_[:2]) >= APART
    assert np.sqrt(2) * (OUTER + HALF) < APART


def test_the_clean_expert_succeeds_stage_by_stage():
    for episode in demonstrate("pick_place", 10):
        assert episode.success
        assert first_seen(episode) == list(range(6))


def test_chance_does_not_put_the_cube_into_the_bin():
    assert succeed_by_chance("pick_place", 20) == 0
