"""Between the control thread and whoever decides on actions."""

import numpy as np
from test_real_controller import FORWARD

from robolearn.real.handover import Done, Handover


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
