"""What stops an arm, what it does between episodes, and that nobody moves it then."""

import numpy as np
import pytest
from arm_bench import BACK, STEPS, Bench, started
from test_real_controller import FORWARD, HOME, PERIOD, ROBOT, SPACE, FakeArm, require_within_limits

from robolearn.errors import UserError
from robolearn.real.homing import HomingSpace
from robolearn.real.requests import SILENT, outcome
from robolearn.real.state_machine import State


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


def test_nobody_acts_once_it_was_stopped():
    bench = started()
    bench.step()
    bench.person = BACK
    bench.env.stop()
    assert bench.env._handover.poll() is None  # whatever state the control thread is in by then


def test_nobody_is_asked_before_it_is_known_what_the_gripper_holds():
    """The first width is the measured one: neither that of the last episode nor nothing."""
    bench = started(max_episode_steps=1)
    bench.step()
    bench.arm.pose[-1] = 0.01
    bench.widths.clear()
    bench.person, wait = BACK, bench.driven.wait

    def slow(done, timeout):
        came = wait(done, timeout)
        bench.driven.run(2)  # until this thread goes on
        return came

    bench.driven.wait = slow
    bench.env.reset(seed=[8])
    bench.driven.run(2)
    np.testing.assert_allclose(bench.widths, 0.01, atol=1e-6)
    assert len(bench.widths) > 0


def test_nobody_acts_between_episodes():
    bench = started(max_episode_steps=1)
    bench.step()
    bench.widths.clear()
    bench.person = BACK
    bench.driven.run(3 * STEPS)
    assert bench.widths == []


def test_an_arm_that_does_not_start_is_told():
    bench = Bench()
    bench.arm.old = None
    with pytest.raises(UserError, match="does not start: cannot start while inactive"):
        bench.env.reset(seed=[0])


def test_an_arm_that_did_not_start_does_not_start_later():
    bench = Bench()
    bench.arm.old = None
    with pytest.raises(UserError, match="does not start"):
        bench.env.reset(seed=[0])
    bench.arm.old = 0.0
    bench.driven.run(5)
    assert bench.driven.controller.machine.state is State.READY


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
            self.pose[0] += 1e-6 * (-1) ** len(self.sent)  # as encoders do; what never changes is a frozen driver

    bench = Bench(goes_home=True)
    stuck = Stuck()
    stuck.pose = HOME + np.array((*[0.2] * 7, 0.0))
    bench.arm = bench.scene.arm = bench.env._controller._robot = stuck
    with pytest.raises(UserError, match="rad from home"):
        bench.env.reset(seed=[0])
    assert bench.driven.controller.machine.state is not State.ACTIVE


def test_an_arm_that_does_not_know_where_it_is_is_not_at_home():
    class Lost(FakeArm):
        def read(self):
            observation, age = super().read()
            if len(self.sent) > 40:
                observation["observation.state"][0] = np.nan
            return observation, age

    bench = Bench(goes_home=True)
    lost = Lost()
    lost.pose = HOME + np.array((0.4, 0, 0, 0, 0, 0, 0, 0))
    bench.arm = bench.scene.arm = bench.env._controller._robot = lost
    with pytest.raises(UserError, match="does not start"):
        bench.env.reset(seed=[0])
    assert bench.scene.seeds == []
    assert np.isfinite(np.stack(lost.sent)).all()


def test_a_new_process_does_not_move_an_arm_that_goes_home_before_somebody_is_ready():
    bench, sent = Bench(goes_home=True), []
    bench.arm.pose = HOME + np.array((0.4, 0, 0, 0, 0, 0, 0, 0))
    recover = bench.scene.recover
    bench.scene.recover = lambda reason: sent.append(len(bench.arm.sent)) or recover(reason)
    for seed in (3, 4):
        bench.env.reset(seed=[seed])
    assert bench.scene.reasons == ["a new process took over"]
    assert sent == [0]


def test_a_gripper_opens_although_the_arm_is_at_home():
    bench = Bench(goes_home=True)
    bench.arm.pose[-1] = 0.01
    bench.env.reset(seed=[3])
    assert bench.scene.poses[0][-1] > ROBOT.gripper_width - 0.011


def test_a_gripper_that_does_not_open_is_told():
    class Jammed(FakeArm):
        def write(self, position):
            super().write(position)
            self.pose[-1] = 0.01

    bench = Bench(goes_home=True)
    bench.arm = bench.scene.arm = bench.env._controller._robot = Jammed()
    with pytest.raises(UserError, match=r"the gripper's width is 0\.0[67]\d m from home"):
        bench.env.reset(seed=[0])


def test_an_arm_does_not_go_on_by_itself_when_its_observations_are_fresh_again():
    bench = started()
    bench.step()
    hiccup(bench)
    bench.driven.run(40)
    sent = len(bench.arm.sent)
    bench.driven.run(100)
    assert bench.driven.controller.machine.state is State.FAULT
    assert len(bench.arm.sent) == sent
    assert bench.step()[3].tolist() == [True]


def test_a_stop_while_the_scene_is_arranged_prevents_the_start():
    bench = Bench()
    arrange = bench.scene.arrange

    def stopped(seed):
        if not bench.scene.seeds:
            bench.env.stop()
            bench.driven.run(10)
        arrange(seed)

    bench.scene.arrange = stopped
    bench.env.reset(seed=[7])
    assert bench.scene.seeds == [7, 7]
    assert bench.scene.reasons == ["it was stopped by hand"]
    assert bench.env._handover._epoch == 1  # it began once


def test_a_stop_that_the_control_loop_does_not_answer_is_said():
    bench = started()
    assert outcome(bench.env.stop(), 0.0) == SILENT
    request = bench.env.stop()
    bench.driven.run(60)
    assert outcome(request, 0.0) == ""


def test_another_node_that_commands_the_arm_is_why_it_stopped():
    bench = started()
    bench.step()
    bench.later(3, lambda: bench.env.stop("another node commands it"))
    assert bench.step()[3].tolist() == [True]
    bench.env.reset(seed=[8])
    assert bench.scene.reasons == ["another node commands it"]


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
