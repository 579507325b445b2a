"""An arm as an environment: what is executed, what is told, and what stops it; without threads, in virtual time."""

import threading

import numpy as np
import pytest
from test_real_controller import FORWARD, HOME, PERIOD, ROBOT, SCHEMA, SPACE, FakeArm, require_within_limits

from robolearn.errors import UserError
from robolearn.protocols import VecEnv
from robolearn.real.arm_env import ArmEnv, Predicate
from robolearn.real.controller import Settings
from robolearn.real.handover import Done, Handover
from robolearn.real.homing import HomingSpace
from robolearn.real.state_machine import State

BACK = np.array((-0.01, 0.0, 0.0, 0.0, 0.02), np.float32)
STEPS = round(0.05 / PERIOD)  # control periods, give or take one, of a control step


class Virtual:
    """Calls the periods while the environment waits; `hooks` are called at times, in control periods."""

    def __init__(self, controller, handover):
        self.controller, self.periods, self.hooks, self.closed = controller, 0, {}, False

    @property
    def now(self):
        return self.periods * PERIOD

    def wait(self, done, timeout):
        limit = self.now + timeout
        while not done():
            if self.now > limit:
                return False
            self.run(1)
        return True

    def run(self, periods):
        for _ in range(periods):
            if (hook := self.hooks.pop(self.periods, None)) is not None:
                hook()
            self.controller.period(self.now)
            self.periods += 1

    def close(self):
        self.closed = True


class Scene:
    def __init__(self, goes_home=False):
        self.goes_home, self.reasons, self.seeds, self.poses = goes_home, [], [], []
        self.arm = None

    def recover(self, reason):
        self.reasons.append(reason)
        self.arm.old = 0.0

    def arrange(self, seed):
        self.seeds.append(seed)
        self.poses.append(self.arm.pose.copy())


class Button:
    """A source of success that is pressed."""

    def __init__(self):
        self.said = None

    def clear(self):
        self.said = None

    def verdict(self, observation):
        return self.said


class Bench:
    def __init__(self, *, goes_home=False, success=None, max_episode_steps=100, deadline=0.02):
        self.arm, self.scene, self.button = FakeArm(), Scene(goes_home), Button()
        self.scene.arm, self.person = self.arm, None
        self.env = ArmEnv(
            robot=self.arm,
            scene=self.scene,
            success=success or self.button,
            person=lambda held: self.person,
            schema=SCHEMA,
            action_space=SPACE,
            settings=Settings(rate=1 / PERIOD, deadline=deadline),
            instruction="move",
            stage_names=("move",),
            max_episode_steps=max_episode_steps,
            drive=self.drive,
            clock=lambda: self.driven.now if hasattr(self, "driven") else 0.0,
        )

    def drive(self, controller, handover):
        self.driven = Virtual(controller, handover)
        self.driven.run(2)  # a thread may be ahead of who starts it
        return self.driven

    def step(self, action=FORWARD):
        return self.env.step(action[None])

    def later(self, periods, hook):
        self.driven.hooks[self.driven.periods + periods] = hook

    @property
    def tool(self):
        return ROBOT.chain.forward(self.arm.pose[:-1]).tool_pos


def started(**options):
    bench = Bench(**options)
    bench.env.reset(seed=[7])
    return bench


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
    assert bench.env._handover.count == bench.env._seen
    here = bench.arm.pose.copy()
    *_, info = bench.step(BACK)
    np.testing.assert_allclose(info["action"][0], (0, 0, 0, 0, FORWARD[-1]))
    assert np.abs(bench.arm.pose - here)[:-1].max() < 0.02  # it ends the motion that was under way
    *_, info = bench.step(BACK)
    np.testing.assert_array_equal(info["action"][0], BACK)


def test_steps_that_were_missed_altogether_hold_the_arm_and_the_newest_observation_follows():
    bench = started()
    bench.step()
    bench.driven.run(20 * STEPS)
    count, here = bench.env._handover.count, bench.arm.pose.copy()
    bench.driven.run(STEPS)
    np.testing.assert_allclose(bench.arm.pose, here, atol=1e-9)
    *_, truncated, info = bench.step(BACK)
    np.testing.assert_allclose(info["action"][0], (0, 0, 0, 0, FORWARD[-1]))
    assert not truncated[0]
    assert bench.env._seen == bench.env._handover.count > count


@pytest.mark.parametrize("delay", range(2 * STEPS + 2))
def test_what_is_reported_is_what_the_controller_was_given(delay):
    """Whenever an action comes, also at the very end of its step: reported as executed, or not executed."""
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


def grow_old(bench):
    bench.arm.old = 1.0


def hiccup(bench):
    bench.arm.old = 1.0
    bench.later(40, lambda: setattr(bench.arm, "old", 0.0))


def lose(bench):
    bench.arm.old = None


def stop(bench):
    bench.env.stop()


@pytest.mark.parametrize(
    ("event", "told"),
    [(grow_old, "1000 ms old"), (hiccup, "old"), (lose, "no observation"), (stop, "stopped by hand")],
)
def test_what_stops_the_arm_ends_the_episode_and_blocks_until_somebody_has_seen_to_it(event, told):
    bench = started()
    for _ in range(5):
        bench.step()
    bench.later(3, lambda: event(bench))
    _, reward, terminated, truncated, info = bench.step()
    assert (reward[0], terminated[0], truncated[0], info["success"][0]) == (0.0, False, True, False)
    sent = len(bench.arm.sent)
    bench.driven.run(100)
    assert len(bench.arm.sent) == sent
    assert bench.scene.reasons == []
    bench.env.reset(seed=[9])
    assert len(bench.scene.reasons) == 1
    assert told in bench.scene.reasons[0]
    assert bench.step()[3].tolist() == [False]
    require_within_limits(bench.arm.sent[: sent - 1])


def test_a_stop_between_episodes_counts_too():
    bench = started(max_episode_steps=1)
    bench.step()
    bench.env.stop()
    bench.driven.run(10)
    bench.env.reset(seed=[1])
    assert bench.scene.reasons == ["it was stopped by hand"]


def test_an_action_that_is_not_finite_moves_nothing_and_ends_the_episode():
    bench = started()
    bench.step()
    _, _, _, truncated, _ = bench.step(np.full(5, np.nan, np.float32))
    assert truncated[0]
    assert np.isfinite(np.stack(bench.arm.sent)).all()
    bench.env.reset(seed=[1])
    assert "not finite" in bench.scene.reasons[0]


def test_an_arm_that_does_not_start_is_told():
    bench = Bench()
    bench.arm.old = None
    with pytest.raises(UserError, match="does not start: cannot start while inactive"):
        bench.env.reset(seed=[0])


def test_the_arm_goes_home_slowly_before_the_scene_is_arranged():
    bench = Bench(goes_home=True)
    bench.arm.pose = HOME + np.array((0.4, -0.3, 0.2, 0.3, -0.2, 0.1, 0.5, -0.03))
    bench.person = BACK  # nobody may interfere: on this way actions are joint positions
    bench.env.reset(seed=[3])
    assert np.abs(bench.scene.poses[0] - HOME)[:-1].max() < 0.03
    path = np.stack(bench.arm.sent)
    speed = np.abs(np.diff(path, axis=0))[:, :-1] / PERIOD
    assert (speed <= 0.25 * np.array(ROBOT.max_velocity)).all()
    require_within_limits(bench.arm.sent)


def test_an_arm_that_is_held_on_its_way_home_is_told():
    class Stuck(FakeArm):
        def write(self, position):
            self.sent.append(position.copy())

    bench = Bench(goes_home=True)
    stuck = Stuck()
    stuck.pose = HOME + 0.2
    bench.arm = bench.scene.arm = bench.env._controller._robot = stuck
    with pytest.raises(UserError, match="rad from home"):
        bench.env.reset(seed=[0])
    assert bench.driven.controller.machine.state is not State.ACTIVE


def test_masked_out_it_goes_on():
    bench = started()
    bench.step()
    observation, _ = bench.env.reset(seed=[None], options={"reset_mask": np.array([False])})
    assert bench.scene.seeds == [7]
    assert observation["observation.state"].shape[0] == 1
    bench.step()


def test_closing_rests():
    bench = started()
    bench.step()
    bench.env.close()
    assert bench.driven.closed
    assert bench.driven.controller.machine.state is State.READY


def test_homing_needs_no_action_space_of_its_own():
    space = HomingSpace(SPACE)
    action = FORWARD.astype(float)
    np.testing.assert_array_equal(space.command(HOME, HOME, action), SPACE.command(HOME, HOME, action))
    assert (space.feature, space.dt, space.robot) == (SPACE.feature, SPACE.dt, ROBOT)


def test_the_handover_gives_an_action_once_and_only_for_its_observation():
    handover = Handover(deadline=0.02, person=lambda: None, clock=lambda: 0.0)
    handover.reset(epoch=1, seed=0)
    handover.ask(0, {})
    handover.offer(handover.count - 1, FORWARD)
    assert handover.poll() is None
    handover.offer(handover.count, FORWARD)
    answer = handover.poll()
    assert (answer.epoch, answer.tick) == (1, 0)
    assert handover.poll() is None
    handover.ask(1, {})
    np.testing.assert_array_equal(handover.done.action, FORWARD)
    handover.ask(2, {})
    assert handover.done == Done()


def threaded(arm):
    """With the real control thread; what is tested says nothing about punctuality."""
    scene = Scene()
    scene.arm = arm
    return ArmEnv(
        robot=arm,
        scene=scene,
        success=Button(),
        person=lambda held: None,
        schema=SCHEMA,
        action_space=SPACE,
        settings=Settings(deadline=0.05),
        instruction="move",
        stage_names=("move",),
        max_episode_steps=5,
    )


def test_it_runs_in_the_control_thread():
    arm = FakeArm()
    env = threaded(arm)
    for seed in (0, 1):
        env.reset(seed=[seed])
        while not env.step(FORWARD[None])[3][0]:
            pass
    env.close()
    assert len(arm.sent) > 20
    assert not any(thread.name == "control" for thread in threading.enumerate())


def test_a_control_thread_that_fails_is_told():
    class Broken(FakeArm):
        def write(self, position):
            raise OSError("the cable is out")

    def act():
        env.reset(seed=[0])
        env.step(FORWARD[None])

    env = threaded(Broken())
    with pytest.raises(RuntimeError, match=r"the control loop ended: (.|\n)*the cable is out"):
        act()
    with pytest.raises(RuntimeError, match="the control loop ended"):
        env.close()
