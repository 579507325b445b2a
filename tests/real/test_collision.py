"""The collision model: what it says, what it must not hold, and an arm that never meets itself or the table."""

import logging
import re
import sys
from dataclasses import replace

import mujoco
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_real_controller import HOME, PERIOD, Bench, FakeInference, require_within_limits

from robolearn.action_space import make_action_space
from robolearn.errors import UserError
from robolearn.real.collision import CollisionCheck, collision_check
from robolearn.real.collision_file import LONGEST, MOST, require_primitives
from robolearn.real.safety import Limits, SafetyFilter
from robolearn.real.state_machine import Event, State
from robolearn.safety_settings import SafetySettings
from robolearn.sim.collision import collision_model
from robolearn.sim.robots import ROBOTS, get_robot

PANDA = get_robot("panda")
TEXT = collision_model(PANDA)
LIMITS = Limits.of(PANDA, period=PERIOD)
WIDE = SafetySettings(collision_margin=0.1, table_margin=0.1)
DOWN = (0.0, 1.3, 0.0, -1.2, 0.0, 2.3, 0.8)  # the hand is deep in the table
FOLDED = (0.0, -1.7, 0.0, -3.0, 0.0, 0.0, 0.8)  # the hand is near the shoulder


def check(robot=PANDA, safety=None, text=None):
    text = collision_model(robot) if text is None else text
    return CollisionCheck(text, robot=robot, safety=SafetySettings() if safety is None else safety)


def smallest(checked, position):
    """The smallest distance at a position, 0.1 m where nothing is nearer."""
    return min(checked.near(position).values(), default=0.1)


# ------------------------------------------------------------ the model


@pytest.mark.parametrize("name", ROBOTS)
def test_the_distances_are_those_between_the_geoms_of_the_scene(name):
    """Between all parts that no joint connects, by MuJoCo's own distances, geom by geom."""
    robot = get_robot(name)
    checked, model = check(robot, WIDE), mujoco.MjModel.from_xml_string(collision_model(robot))
    data, rng, compared = mujoco.MjData(model), np.random.default_rng(0), 0
    fingers = {model.joint(finger).bodyid[0] for finger in robot.gripper_joints}
    excluded = {tuple(sorted((s >> 16, s & 0xFFFF))) for s in model.exclude_signature.tolist()}
    pairs = [
        (i, j)
        for i in range(model.ngeom)
        for j in range(i + 1, model.ngeom)
        if (one := model.geom_bodyid[i]) != (other := model.geom_bodyid[j])
        and tuple(sorted((one, other))) not in excluded
        and not ({one, other} & fingers and 0 in (one, other))  # fingers may touch the table
        and model.body_weldid[one] | model.body_weldid[other]  # the base stands on it
    ]
    for q in rng.uniform(robot.lower, robot.upper, (30, robot.n_joints)):
        position = np.append(q, robot.gripper_width)
        for joint, value in zip(robot.joint_names, q, strict=True):
            data.qpos[model.joint(joint).qposadr[0]] = value
        for joint in robot.gripper_joints:
            data.qpos[model.joint(joint).qposadr[0]] = robot.gripper_width / 2
        mujoco.mj_kinematics(model, data)
        near = checked.near(position)
        for pair in pairs:
            distance = mujoco.mj_geomDistance(model, data, *pair, 0.2, None)
            if distance > 0.1 + 1e-4:
                assert pair not in near
            elif distance < 0.1 - 1e-4:
                assert near[pair] == pytest.approx(distance, abs=1e-4) if distance > 0 else near[pair] < 0
                compared += 1
    assert compared > 50


@pytest.mark.parametrize("name", ROBOTS)
def test_every_robot_is_free_at_home(name):
    robot = get_robot(name)
    assert check(robot).near(np.array((*robot.home, robot.gripper_width))) == {}


def test_a_model_of_another_arm_is_refused():
    with pytest.raises(UserError, match=r"has the joints panda_joint1.* the robot shoulder_pan_joint"):
        check(get_robot("ur5e"), text=TEXT)
    moved = replace(PANDA, chain=replace(PANDA.chain, pos=((0.0, 0.0, 0.3), *PANDA.chain.pos[1:])))
    with pytest.raises(UserError, match=r"joints are 0\.033 m from those of robot 'panda'"):
        check(moved, text=TEXT)


def test_a_check_is_off_only_if_somebody_says_so_and_then_it_is_told(caplog):
    off = SafetySettings(collision_check=False)
    with caplog.at_level(logging.WARNING):
        assert collision_check(TEXT, robot=PANDA, safety=off, where="bundle b") is None
    assert "the collision check is off" in caplog.text
    with pytest.raises(UserError, match=r"bundle b has no collision model: .* or set collision_check=false"):
        collision_check(None, robot=PANDA, safety=SafetySettings(), where="bundle b")
    assert collision_check(TEXT, robot=PANDA, safety=SafetySettings(), where="bundle b") is not None


def test_without_mujoco_it_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "mujoco", None)
    with pytest.raises(UserError, match=r"needs MuJoCo .* or set collision_check=false"):
        check(text=TEXT)


def put(inside, what):
    return TEXT.replace(f"<{inside}>", f"<{inside}>{what}", 1)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (put("worldbody", '<include file="/etc/passwd"/>'), "<include> in <worldbody>"),
        (put("contact", '</contact><asset><mesh file="arm.stl"/></asset><contact>'), "<asset> in <mujoco>"),
        (put("contact", '</contact><extension><plugin plugin="x"/></extension><contact>'), "<extension> in"),
        (put("contact", "</contact><default/><contact>"), "<default> in"),
        (put("worldbody", '<geom name="m" type="mesh" size="1" mesh="arm"/>'), "of <geom>"),
        (put("worldbody", '<geom name="m" type="sphere" size="1" material="x"/>'), "'material' of <geom>"),
        (put("worldbody", '<geom name="m" type="sphere" size="nan"/>'), 'size="nan" of <geom>'),
        (put("worldbody", '<geom name="m" type="sphere" size="-1"/>'), 'size="-1" of <geom>'),
        (put("worldbody", '<geom name="m" type="box" size="1 1"/>'), 'size="1 1" of <geom>'),
        (put("worldbody", '<geom name="../m" type="sphere" size="1"/>'), "of <geom>"),
        (put("worldbody", '<geom type="sphere" size="1"/>'), "without name or type"),
        (put("worldbody", '<geom name="m" type="sphere"/>'), "a <geom> without size"),
        (put("worldbody", '<body name="b"><freejoint/></body>'), "<freejoint> in <body>"),
        (put("worldbody", "text"), "text in or after"),
        (TEXT.replace('angle="radian"', 'meshdir="/"'), "'meshdir' of <compiler>"),
        ('<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + TEXT, "a declaration, an entity"),
        ("<robot/>", "<robot> as its root"),
        (TEXT[:-20], "no XML"),
        (put("worldbody", '<geom name="m" type="sphere" size="1"/>' * (MOST + 1)), "elements, more than"),
        (TEXT + " " * LONGEST, "characters, more than"),
    ],
)
def test_what_could_make_mujoco_read_or_run_something_is_refused(text, named):
    with pytest.raises(UserError, match=f"collision model holds .*{named}.*, which is refused"):
        require_primitives(text)


def test_what_mujoco_does_not_take_is_a_sentence():
    twice = put("worldbody", '<geom name="table" type="sphere" size="1"/>')
    with pytest.raises(UserError, match="MuJoCo does not take the collision model"):
        check(text=twice)


# ------------------------------------------------------------ the check


def test_what_would_meet_is_named():
    checked = check()
    checked.reset(HOME)
    assert re.match(
        "table and panda_(link7|hand)_0 would come within 0 mm", checked.threat(HOME, np.array((*DOWN, 0.04)))
    )
    assert "panda_link" in checked.threat(np.array((*FOLDED, 0.04)), HOME)
    assert checked.threat(HOME, HOME) == ""


def lowered(height):
    """A pose with the fingertips `height` m above the table, gripper down."""
    space, here = make_action_space("ee_delta", robot=PANDA, dt=0.05), HOME.copy()
    low = replace(PANDA, workspace=((0.25, -0.35, -0.1), PANDA.workspace[1]))
    space = replace(space, robot=low)
    for _ in range(100):
        tip = PANDA.chain.forward(here[:-1]).tool_pos[2] - 0.0095  # beyond the tool's point
        here = space.command(here, here, np.array((0.0, 0.0, np.clip(height - tip, -0.02, 0.02), 0.0, 0.06)))
    return here


def test_fingers_may_touch_the_table_unless_they_may_not():
    above, on = lowered(0.02), lowered(0.004)
    assert check().near(on) == {}
    strict = check(safety=SafetySettings(fingers_touch_table=False))
    strict.reset(above)
    assert strict.threat(above, above) == ""
    assert re.match(r"table and panda_finger_joint\d_1 would come within 4 mm", strict.threat(on, on))


def test_fingers_may_touch_the_table_and_nothing_else_that_stands_there():
    hand = PANDA.chain.forward(HOME[:-1]).tool_pos
    wall = f'<geom name="wall" type="box" size="0.05 0.2 0.02" pos="{hand[0]} {hand[1]} {hand[2]}"/>'
    text = collision_model(PANDA).replace("<worldbody>", f"<worldbody>{wall}")
    met = CollisionCheck(text, robot=PANDA, safety=SafetySettings()).touching(HOME)
    assert "wall" in met


def test_many_small_steps_bring_nothing_nearer():
    strict = SafetySettings(fingers_touch_table=False)
    checked, path = check(safety=strict), np.linspace(lowered(0.008), lowered(0.004), 6000)
    checked.reset(path[0])
    begin = min(checked.near(path[0]).values())
    told = next(i for i, command in enumerate(path) if checked.threat(command, command))
    assert min(checked.near(path[told]).values()) > begin - 1e-5


def test_pairs_that_may_touch_are_left_aside_and_an_unknown_one_is_named():
    down = np.array((*DOWN, 0.04))
    names = [geom for geom in ("panda_hand_0", "panda_link7_0", "panda_link6_0", "panda_link6_1", "panda_link5_1")]
    everything = SafetySettings(allowed_contacts=tuple(f"{name}/table" for name in names))
    assert {check()._names(pair) for pair in check().near(down)} <= {f"table and {name}" for name in names}
    assert check(safety=everything).near(down) == {}
    with pytest.raises(UserError, match="no geom 'panda_hand'; did you mean 'panda_hand_0'"):
        check(safety=SafetySettings(allowed_contacts=("panda_hand/table",)))


def test_what_begins_too_near_may_move_apart_but_not_together():
    strict = SafetySettings(fingers_touch_table=False)
    checked, near = check(safety=strict), lowered(0.005)
    checked.reset(near)
    assert checked.threat(lowered(0.007), lowered(0.008)) == ""
    checked.reset(near)
    assert "4 mm" in checked.threat(near, lowered(0.004))
    assert checked.touching(near) == ""
    assert "touch: move the arm apart first" in checked.touching(lowered(-0.002))


jumps = st.lists(st.tuples(*[st.floats(-1, 1)] * 7, st.integers(10, 80)), min_size=1, max_size=6)


@settings(max_examples=25)
@given(jumps)
def test_whatever_targets_come_nothing_ever_meets(shares):
    """Targets anywhere in the joints' range; the filter is reset after each danger, as a new start would."""
    filtered, probe = SafetyFilter(LIMITS, collisions=check()), check(safety=WIDE)
    filtered.reset(HOME)
    path = [HOME]
    for *share, count in shares:
        middle, half = (LIMITS.upper + LIMITS.lower) / 2, (LIMITS.upper - LIMITS.lower) / 2
        target = np.append((middle + half * np.array((*share, 0.0)))[:-1], 0.04)
        for _ in range(count):
            path.append(filtered.follow(target))
            if filtered.danger:
                break
        while not filtered.at_rest:
            path.append(filtered.brake())
        filtered.reset(filtered.position)
    assert min(smallest(probe, position) for position in path[::2]) > 0.0
    velocity = np.diff(np.stack(path), axis=0, prepend=path[:1]) / PERIOD
    assert (np.abs(np.diff(velocity, axis=0)) <= PERIOD * LIMITS.acceleration * (1 + 1e-6) + 1e-9).all()


# ------------------------------------------------------------ in the controller


def leaning(action, **options):
    """A controller whose policy moves joints, with the arm of `Bench`."""
    space = make_action_space("joint_delta", robot=PANDA, dt=0.05)
    inference = FakeInference(action=np.array((*action, 0.04), np.float32))
    safety = SafetySettings(workspace_margin=float("inf"))
    return Bench(inference=inference, space=space, safety=safety, collisions=check(), **options)


@pytest.mark.parametrize(
    ("action", "named"),
    [((0, 0.09, 0, 0.03, 0, 0, 0), "table and panda_"), ((0, -0.05, 0, -0.09, 0, -0.09, 0), "panda_link")],
)
def test_a_policy_that_drives_into_something_is_stopped_before_it_and_told_what(action, named):
    bench = leaning(action).start().run(700)
    assert bench.state is State.FAULT
    assert named in bench.controller.machine.reason
    assert "would come within" in bench.controller.machine.reason
    probe = check(safety=WIDE)
    distances = [smallest(probe, position) for position in bench.arm.sent]
    assert 0.008 < min(distances) < 0.05  # before it, but not long before
    require_within_limits(bench.arm.sent)
    assert bench.ask(Event.STOP) == ""
    bench.run(2)
    assert bench.ask(Event.START) == ""  # away from there it may go


def test_an_arm_that_touches_something_does_not_start():
    bench = leaning(np.zeros(7))
    bench.arm.pose = lowered(-0.002)
    bench.controller.safety.collisions = check(safety=SafetySettings(fingers_touch_table=False))
    bench.run(2)
    assert "touch: move the arm apart first" in bench.ask(Event.START)
    assert bench.arm.sent == []
