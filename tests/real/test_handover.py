"""Between the control thread and whoever decides on actions."""

import numpy as np
from test_real_controller import FORWARD

from robolearn.real.handover import Done, Handover


def acting():
    handover = Handover(deadline=0.02, person=lambda: None, clock=lambda: 0.0)
    handover.reset(epoch=1, seed=0)
    return handover


def test_the_handover_gives_an_action_once_and_only_for_its_observation():
    handover = acting()
    handover.ask(0, {})
    handover.offer(FORWARD)
    assert handover.poll() is None  # nobody has taken the observation yet
    handover.take()
    handover.offer(FORWARD)
    answer = handover.poll()
    assert (answer.epoch, answer.tick) == (1, 0)
    assert handover.poll() is None
    handover.ask(1, {})
    np.testing.assert_array_equal(handover.take().done.action, FORWARD)
    handover.ask(2, {})
    assert handover.take().done == Done()


def test_observations_wait_in_their_order_with_what_was_done_before_each():
    handover = acting()
    handover.ask(0, {"tick": 0})
    handover.take()
    handover.offer(FORWARD)
    handover.poll()
    handover.poll()
    handover.ask(1, {"tick": 1})
    handover.ask(2, {"tick": 2})
    handover.offer(FORWARD)
    assert handover.poll() is None
    assert handover.waiting == 2
    first, second = handover.take(), handover.take()
    assert (first.observation["tick"], second.observation["tick"]) == (1, 2)
    np.testing.assert_array_equal(first.done.action, FORWARD)
    assert second.done == Done()
    assert handover.take() is None


def test_an_activation_begins_without_the_observations_of_the_last():
    handover = acting()
    handover.ask(0, {})
    handover.reset(epoch=2, seed=0)
    assert handover.waiting == 0
