"""A model beside a simulation: never waited for, and its answers held for the right worlds and episodes."""

import threading
import time
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vlm_toys import Gate, Scripted, by_brightness, good

from robolearn.errors import UserError
from robolearn.protocols import ProgressEstimator
from robolearn.rewards.vlm.answers import AnswerError
from robolearn.rewards.vlm.asynchronous import AsyncProgress
from robolearn.rewards.vlm.judge import Judge
from robolearn.rewards.vlm.progress import VlmProgress, stage_at
from robolearn.schema import Progress

CHANNEL = "observation.images.external"


def seen(*reds):
    """What worlds observe whose pictures are so red."""
    pictures = np.zeros((len(reds), 4, 4, 3), np.uint8)
    pictures[..., 0] = np.array(reds)[:, None, None]
    return {CHANNEL: pictures}


@contextmanager
def asking(say=by_brightness, **options):
    with AsyncProgress(Judge(Scripted(say)), **options) as progress:
        progress.reset()
        yield progress


def feed(progress, *frames):
    """Show frames, each the reds of all worlds, and wait for what is asked about them."""
    for reds in frames:
        progress.update(seen(*reds), ["lift"] * len(reds))
        held = progress.wait(10)
    return held


def test_nothing_is_known_before_the_first_answer():
    with asking(every=2) as progress:
        held = feed(progress, [10], [20])
    assert held.step.tolist() == [-1]
    assert np.isnan([held.contrast, held.progress, held.completed, held.reward]).all()
    assert progress.counters.asked == 0
    assert np.isnan(progress.counters.latency_p50)


def test_every_kth_frame_is_judged_against_the_one_before_and_held():
    with asking(every=3) as progress:
        feed(progress, [10], [90], [90])
        found = [feed(progress, [red]) for red in (40, 90, 90, 20, 90, 90, 100)]
    assert [held.step[0] for held in found] == [3, 3, 3, 6, 6, 6, 9]
    assert [held.progress[0] for held in found] == [0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 1.0]
    assert [held.contrast[0] for held in found] == [1, 1, 1, -1, -1, -1, 1]
    assert [held.completed[0] for held in found] == [0, 0, 0, 0, 0, 0, 1]
    assert found[0].reward[0] == pytest.approx((1 + 0.4 + 0) / 3)
    assert found[-1].reward[0] == 1.0


def test_worlds_do_not_mix_and_are_asked_about_together():
    with asking(every=1, num_envs=3) as progress:
        held = feed(progress, [0, 50, 7], [10, 40, 7])
        model = progress._judge._backend
    assert held.progress.tolist() == [0.1, 0.4, 0.07]
    assert held.contrast.tolist() == [1, -1, 0]
    assert [len(batch) for batch in model.asked] == [9]


def test_each_world_has_its_instruction():
    def say(request):
        return good(request) if "push" in request.prompt.text else "rubbish"

    with asking(say, every=1, num_envs=2) as progress:
        for _ in range(2):
            progress.update(seen(1, 2), ["lift", "push"])
        assert progress.wait(10).step.tolist() == [-1, 1]
    assert progress.counters.failed == 1


def test_what_a_caller_does_to_its_pictures_later_changes_nothing():
    with asking(every=1) as progress:
        observation = seen(10)
        for red in (10, 30, 20):
            observation[CHANNEL][..., 0] = red
            progress.update(observation, ["lift"])
            observation[CHANNEL][:] = 255
            held = progress.wait(10)
    assert (held.progress[0], held.contrast[0]) == (0.2, -1)


def test_an_update_never_waits_and_its_answer_says_of_which_step_it_is():
    gate = Gate()

    def say(request):
        gate.pass_through()
        return by_brightness(request)

    with asking(say, every=2) as progress:
        start = time.monotonic()
        for red in range(10, 15):
            held = progress.update(seen(red), ["lift"])
        gate.wait_for(1)
        assert time.monotonic() - start < 5  # the gate would hold it for 10 s
        assert held.step.tolist() == [-1]
        gate.open(6)
        held = progress.wait(10)
    assert held.step.tolist() == [4]


def test_a_later_frame_takes_the_place_of_one_that_waits():
    gate = Gate()

    def say(request):
        gate.pass_through()
        return by_brightness(request)

    with asking(say, every=1) as progress:
        progress.update(seen(0), ["lift"])
        progress.update(seen(1), ["lift"])
        gate.wait_for(1)  # step 1 is being judged
        for red in (2, 3, 4):
            progress.update(seen(red), ["lift"])
        gate.open(6)
        held = progress.wait(10)
        counters = progress.counters
    assert (held.step[0], held.progress[0], held.contrast[0]) == (4, 0.04, 1)
    assert (counters.asked, counters.answered, counters.replaced) == (4, 2, 2)


def test_a_judgement_that_comes_after_a_later_one_is_dropped():
    slow = Gate()

    def say(request):
        if request.frames[-1][0, 0, 0] == 1:
            slow.pass_through()
        return by_brightness(request)

    with asking(say, every=1, workers=2) as progress:
        progress.update(seen(0), ["lift"])
        progress.update(seen(1), ["lift"])
        slow.wait_for(1)
        progress.update(seen(2), ["lift"])
        deadline = time.monotonic() + 10
        while progress.counters.answered < 1 and time.monotonic() < deadline:
            time.sleep(0.001)
        slow.open(3)
        held = progress.wait(10)
        counters = progress.counters
    assert (held.step[0], held.progress[0]) == (2, 0.02)
    assert (counters.answered, counters.stale) == (1, 1)


def test_answers_about_an_episode_that_is_over_are_dropped():
    gate = Gate()

    def say(request):
        gate.pass_through()
        return by_brightness(request)

    with asking(say, every=1, num_envs=2, batch=1) as progress:
        for red in (1, 2):
            progress.update(seen(red, red), ["lift"] * 2)
        gate.wait_for(1)  # world 0 is being judged, world 1 waits
        progress.reset(np.array([True, False]))
        progress.update(seen(50, 3), ["lift"] * 2)
        gate.open(6)
        held = progress.wait(10)
        counters = progress.counters
    assert held.step.tolist() == [-1, 2]
    assert np.isnan(held.progress[0])
    assert (counters.stale, counters.replaced, counters.answered) == (1, 1, 1)


def test_a_reset_drops_what_waits_and_forgets_the_earlier_frame():
    gate = Gate()

    def say(request):
        gate.pass_through()
        return by_brightness(request)

    with asking(say, every=1) as progress:
        for red in (1, 2):
            progress.update(seen(red), ["lift"])
        gate.wait_for(1)
        progress.update(seen(3), ["lift"])
        progress.reset()
        gate.open(3)
        assert progress.wait(10).step.tolist() == [-1]
        assert progress.counters.stale == 2
        gate.open(3)
        held = feed(progress, [60], [50])
    assert (held.step[0], held.contrast[0]) == (1, -1)  # not against the 3 of the episode before


def test_a_failure_leaves_the_last_judgement_in_place_and_is_counted():
    def say(request):
        return "rubbish" if request.frames[-1][0, 0, 0] == 66 else by_brightness(request)

    with asking(say, every=1) as progress:
        found = [feed(progress, [red]) for red in (10, 20, 66, 30)]
    assert [held.step[0] for held in found] == [-1, 1, 1, 3]
    assert [held.progress[0] for held in found[1:]] == [0.2, 0.2, 0.3]
    counters = progress.counters
    assert (counters.asked, counters.answered, counters.failed, counters.malformed) == (3, 2, 1, 9)


def test_a_network_that_is_down_is_a_failure_too():
    with asking(lambda request: AnswerError("no network"), every=1) as progress:
        held = feed(progress, [10], [20])
    assert held.step.tolist() == [-1]
    assert (progress.counters.failed, progress.counters.malformed) == (1, 0)


@pytest.mark.parametrize("error", [UserError("no key"), RuntimeError("out of memory")])
def test_what_ends_the_thread_is_raised_where_the_caller_sees_it(error):
    def say(request):
        raise error

    with asking(say, every=1) as progress:
        progress.update(seen(1), ["lift"])
        progress.update(seen(2), ["lift"])
        with pytest.raises(type(error), match=str(error)):
            progress.wait(10)
        with pytest.raises(type(error), match=str(error)):
            progress.update(seen(3), ["lift"])


def test_a_camera_that_is_not_there_is_a_mistake_of_the_user():
    with asking(num_envs=2) as progress:
        with pytest.raises(UserError, match=r"observation\.images\.external"):
            progress.update({"observation.state": np.zeros((2, 3))}, ["lift"] * 2)
        with pytest.raises(UserError, match=r"give uint8 \[2, H, W, 3\]"):
            progress.update(seen(1), ["lift"])
        with pytest.raises(UserError, match="float64"):
            progress.update({CHANNEL: seen(1, 2)[CHANNEL] / 255}, ["lift"] * 2)


def test_threads_end_when_it_is_closed_and_the_last_closes_the_model():
    before = set(threading.enumerate())
    with asking(workers=3) as progress:
        model = progress._judge._backend
        ours = [t for t in threading.enumerate() if t.name == "robolearn-vlm" and t not in before]
        assert len(ours) == 3
    for thread in ours:
        thread.join(10)
        assert not thread.is_alive()
    assert model.closed == 1


def test_what_is_being_asked_is_asked_to_its_end_before_the_model_is_closed():
    gate, order, before = Gate(), [], set(threading.enumerate())

    def say(request):
        gate.pass_through()
        order.append((request.prompt.facet.key, model.closed))
        return good(request)

    with asking(say, every=1) as progress:
        model = progress._judge._backend
        for red in (1, 2):
            progress.update(seen(red), ["lift"])
        gate.wait_for(1)
        (thread,) = [t for t in threading.enumerate() if t.name == "robolearn-vlm" and t not in before]
    gate.open(3)
    thread.join(10)
    assert order == [("contrast", 0), ("progress", 0), ("completed", 0)]
    assert model.closed == 1


def test_latencies_are_from_the_question_to_the_judgement():
    def say(request):
        time.sleep(0.02)
        return good(request)

    with asking(say, every=1) as progress:
        feed(progress, [1], [2], [3])
    assert 0.06 <= progress.counters.latency_p50 <= progress.counters.latency_p99 < 5


events = st.lists(st.one_of(st.just("step"), st.just("answer"), st.integers(0, 3)), max_size=25)


@settings(max_examples=30)
@given(events=events, fails=st.sets(st.integers(0, 200)), batch=st.integers(1, 3))
def test_nothing_that_was_asked_is_lost(events, fails, batch):
    """Whatever happens in whichever order, every frame is accounted for, and what is held is of the present episode."""
    gate, count = Gate(), iter(range(10**6))

    def say(request):
        if request.prompt.facet.key == "contrast":
            gate.pass_through()
        return AnswerError("no") if next(count) in fails else by_brightness(request)

    with asking(say, every=1, num_envs=2, batch=batch) as progress:
        steps = np.zeros(2, int)
        for event in events:
            if event == "step":
                held = progress.update(seen(*steps.tolist()), ["lift"] * 2)
                steps += 1
                assert (held.step < steps).all()
                known = held.step >= 0
                np.testing.assert_allclose(held.progress[known], held.step[known] / 100)
                assert (np.isnan(held.progress) == ~known).all()
            elif event == "answer":
                gate.open()
            else:
                mask = np.array([event & 1, event & 2], bool)
                progress.reset(mask)
                steps[mask] = 0
        gate.open(10**6)
        progress.wait(10)
        c = progress.counters
    assert c.asked == c.answered + c.failed + c.replaced + c.stale


def estimator(world, **options):
    one = VlmProgress(world, **options)
    assert isinstance(one, ProgressEstimator)
    return one


def test_one_world_satisfies_the_protocol_and_begins_at_nothing():
    with asking(every=2) as world:
        one = estimator(world, blocking=True)
        one.reset()
        observations = [
            {CHANNEL: seen(red)[CHANNEL][0], "observation.state": np.zeros(3)} for red in (5, 6, 40, 41, 100)
        ]
        found = [one.update(observation, "lift") for observation in observations]
        one.reset()
        assert one.update(observations[0], "lift") == Progress(0, 0.0, 0.0)
    assert [p.value for p in found] == [0.0, 0.0, 0.4, 0.4, 1.0]
    assert [p.success for p in found] == [0, 0, 0, 0, 1]
    assert [p.stage for p in found] == [0, 0, 0, 0, 0]


def test_stages_follow_from_progress():
    judge = Judge(Scripted(by_brightness), stages=["reach", "grasp", "lift", "carry", "place"])
    with AsyncProgress(judge, every=1) as world:
        one = estimator(world, blocking=True)
        one.reset()
        found = [one.update({CHANNEL: seen(red)[CHANNEL][0]}, "lift").stage for red in (0, 19, 20, 60, 99, 100)]
    assert found == [0, 0, 1, 3, 4, 5]


@given(num_stages=st.integers(1, 50), data=st.data())
def test_a_stage_begins_at_its_share_of_progress(num_stages, data):
    stage = data.draw(st.integers(0, num_stages))
    assert stage_at(stage / num_stages, num_stages) == stage
    within = data.draw(st.floats(0, 0.999))
    assert stage_at(min((stage + within) / num_stages, 1.0), num_stages) == stage


def test_without_blocking_the_protocol_does_not_wait():
    gate = Gate()

    def say(request):
        gate.pass_through()
        return by_brightness(request)

    with asking(say, every=1) as world:
        one = estimator(world)
        for red in (10, 20):
            assert one.update({CHANNEL: seen(red)[CHANNEL][0]}, "lift") == Progress(0, 0.0, 0.0)
        gate.open(9)
        world.wait(10)
        assert one.update({CHANNEL: seen(30)[CHANNEL][0]}, "lift").value == 0.2
