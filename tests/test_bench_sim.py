"""`robolearn bench sim`: who is timed does what it is said to do; never how fast."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.bench import _cameras, _lift, _turns, sim
from robolearn.errors import UserError
from robolearn.eval.rollout import run_episodes
from robolearn.sim.experts.scripted import ScriptedExpert

LENGTHS = st.integers(1, 10_000).map(lambda n: n / 1024)  # s, whose sums are exact


class Clock:
    """A clock that stands still until it is told how much time passed."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


@given(pieces=st.lists(st.tuples(LENGTHS, st.integers(1, 100)), min_size=1), idle=LENGTHS, seconds=LENGTHS)
def test_a_turn_counts_its_work_and_nothing_else(pieces, idle, seconds):
    clock, done = Clock(), []

    def work():
        spent, units = pieces[len(done) % len(pieces)]
        clock.advance(spent)
        done.append((spent, units))
        return units

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_turns, "time", clock)
        rate = _turns.turn(work, prepare=lambda: clock.advance(idle))(seconds)
    spent = sum(s for s, _ in done)
    assert rate == pytest.approx(sum(units for _, units in done) / spent)
    assert spent - done[-1][0] < seconds <= spent


@given(st.lists(st.tuples(LENGTHS, LENGTHS), min_size=1, max_size=9))
def test_ratios_are_taken_within_a_round(rounds):
    ours, others = zip(*rounds, strict=True)
    measure = _turns.ratio("speedup.x", ours, others)
    low, high = measure.interval
    assert low <= measure.value <= high
    assert low == pytest.approx(min(np.divide(ours, others)))
    drift = np.geomspace(1.0, 0.1, len(rounds))  # a machine that slows down changes no ratio
    assert _turns.ratio("speedup.x", ours * drift, others * drift).value == pytest.approx(measure.value)


def test_contenders_take_turns():
    calls = []
    turns = {name: lambda seconds, name=name: calls.append(name) or 1.0 for name in "ab"}
    rates = _turns.in_turns(turns, rounds=2, seconds=1.0, progress=lambda line: None)
    assert calls == ["a", "b"] * 3
    assert rates == {"a": [1.0, 1.0], "b": [1.0, 1.0]}


def test_the_limit_runs_the_very_episode_that_ours_runs():
    worlds = _lift.panda_worlds(3)
    start, commands = _lift.commands_of_episode(worlds)
    assert commands.shape == (3, _lift.EPISODE_STEPS * 10, 8)
    assert np.abs(worlds.qpos - start).max() > 0.1
    replay = _lift.Replay(worlds.model, start, _lift.Layout(worlds.model, worlds.task, worlds.robot).controls(commands))
    assert replay() == 3 * _lift.EPISODE_STEPS
    np.testing.assert_array_equal(replay.qpos, worlds.qpos)


def test_the_arm_moves_between_pictures(monkeypatch):
    pictures = []
    render = _cameras.RayCamera.render
    monkeypatch.setattr(_cameras, "NUM_WORLDS", 2)
    monkeypatch.setattr(
        _cameras.RayCamera, "render", lambda *args, **kwargs: pictures.append(render(*args, **kwargs)) or pictures[-1]
    )
    turn = _cameras.ray_camera()
    turn(1e-9)
    turn(1e-9)
    first, second = (images.rgb for images in pictures)
    assert first.shape == (2, 84, 84, 3)
    assert (first != second).any(axis=(1, 2, 3)).all()


def test_a_machine_without_opengl_is_told_what_to_install(monkeypatch):
    def make_lift(camera):
        raise AttributeError("'NoneType' object has no attribute 'eglQueryString'")

    monkeypatch.setattr(_cameras, "make_lift", make_lift)
    with pytest.raises(UserError, match=r"eglQueryString.*apt install libegl1.*MUJOCO_GL=osmesa"):
        _cameras.robosuite_camera()


@pytest.fixture(scope="module")
def source():
    pytest.importorskip("robosuite")
    from robolearn.bench._robosuite import make_lift

    env = make_lift()
    env.reset()
    return env.sim.model._model


def test_only_the_motors_of_robosuites_model_are_changed(source):
    from robolearn.bench._robosuite import with_servos

    model = with_servos(source)
    assert model.opt.timestep == 0.002
    same, other = [], []
    for name in dir(source):
        values = getattr(source, name)
        if isinstance(values, int | float | np.ndarray) and not name.startswith("_"):
            (same if np.array_equal(values, getattr(model, name)) else other).append(name)
    assert {"nv", "ngeom", "body_mass", "geom_size", "mesh_vert", "dof_armature"} <= set(same)
    assert all(name.startswith("actuator_") for name in other)
    assert {"actuator_gainprm", "actuator_biasprm"} <= set(other)


def test_ours_runs_on_robosuites_model_as_on_its_own(source):
    """The tool is where the chain says, and the expert lifts robosuite's cube: observations and commands fit."""
    from robolearn.bench._robosuite import RobosuiteWorlds

    worlds = RobosuiteWorlds(source, 4)
    env = _lift.environment(worlds)
    episodes = run_episodes(env, ScriptedExpert("lift", env.schema, 4), range(4))
    assert all(episode.success for episode in episodes)
    state = worlds.state
    tool = worlds.robot.chain.forward(state.joints)
    np.testing.assert_allclose(state.tool_pos, tool.tool_pos, atol=1e-9)
    np.testing.assert_allclose(state.tool_rot, tool.tool_rot, atol=1e-9)


def test_the_limit_of_robosuites_model_runs_the_same_episode_too(source):
    from robolearn.bench._robosuite import RobosuiteWorlds

    worlds = RobosuiteWorlds(source, 2)
    start, commands = _lift.commands_of_episode(worlds)
    replay = _lift.Replay(worlds.model, start, worlds.controls(commands))
    replay()
    np.testing.assert_array_equal(replay.qpos, worlds.qpos)


@pytest.mark.slow
def test_bench_sim_measures_all_sides(monkeypatch):
    pytest.importorskip("robosuite")
    for name, value in {"WORLDS": (1, 2), "MANY": 2, "ROUNDS": 1, "SECONDS": 0.01}.items():
        monkeypatch.setattr(sim, name, value)
    try:
        measures = {m.id: m for m in sim.run(lambda line: None)}
    except UserError as error:
        if "OpenGL" not in str(error):
            raise
        pytest.skip(str(error))
    assert all(m.value > 0 for m in measures.values())
    for speed, ratio in (
        ("control_steps_per_s.lift.2_worlds", "speedup_per_core.lift.2_worlds"),
        ("control_steps_per_s.lift.2_worlds.2ms", "speedup_per_core.lift.2_worlds.2ms"),
        ("control_steps_per_s.robosuite_model", "speedup_per_core.robosuite_model"),
        ("images_per_s.rgb", "speedup_per_core.rgb"),
    ):
        assert measures[ratio].value == pytest.approx(measures[speed].ratio)
    assert "share_of_physics_limit.lift.2_worlds.2_threads" in measures
