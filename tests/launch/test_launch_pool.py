"""The pool of Ray workers, on a Ray of the tests' own: order, losses, bounds."""

import pytest
from fake_ray import FakeRay
from hypothesis import given
from hypothesis import strategies as st
from launch_jobs import Broken, Squares, squares

from robolearn.errors import UserError
from robolearn.launch.on_ray import AHEAD, TRIES, _Pool


def blocks(number):
    return (range(2 * k, 2 * k + 2) for k in range(number))


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6), room=st.integers(1, 6), number=st.integers(0, 25))
def test_every_block_comes_once_and_in_order(seed, workers, room, number):
    ray = FakeRay(seed=seed, room=room)
    results = _Pool(ray, Squares(), workers=workers, cpus=1).run(blocks(number))
    assert squares(results) == [k * k for k in range(2 * number)]
    assert ray.most <= AHEAD * workers


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6))
def test_lost_workers_are_replaced_and_their_blocks_done_again(seed, workers):
    ray = FakeRay(seed=seed, loses=0.05)
    pool = _Pool(ray, Squares(), workers=workers, cpus=1)
    given_up = ""
    try:
        assert squares(pool.run(blocks(25))) == [k * k for k in range(50)]
    except RuntimeError as error:  # bad luck again and again for one block
        given_up = str(error)
    if given_up:
        assert "the actor died" in given_up
        assert sum(not actor.alive for actor in ray.actors) > TRIES
    assert sum(actor.alive for actor in ray.actors) <= workers
    assert ray.most <= AHEAD * workers


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6), taken=st.integers(1, 9))
def test_no_more_is_begun_than_what_is_taken_and_two_blocks_per_worker(seed, workers, taken):
    asked = []

    def endless():
        while True:
            asked.append(len(asked))
            yield range(asked[-1], asked[-1] + 1)

    results = _Pool(FakeRay(seed=seed), Squares(), workers=workers, cpus=1).run(endless())
    assert squares(next(results) for _ in range(taken)) == [k * k for k in range(taken)]
    assert len(asked) < taken + AHEAD * workers


@given(seed=st.integers(0, 10**6), workers=st.integers(1, 6), deadly=st.integers(0, 19))
def test_the_block_that_kills_is_told_from_those_that_wait_behind_it(seed, workers, deadly):
    ray = FakeRay(seed=seed, deadly=2 * deadly)
    with pytest.raises(RuntimeError, match=rf"seeds range\({2 * deadly}, {2 * deadly + 2}\) end every worker"):
        list(_Pool(ray, Squares(), workers=workers, cpus=1).run(blocks(20)))


def test_what_never_works_is_given_up():
    pool = _Pool(FakeRay(seed=0, loses=1.0), Squares(), workers=2, cpus=1)
    with pytest.raises(RuntimeError, match="workers end before they begin: the actor died"):
        list(pool.run(blocks(3)))


@pytest.mark.parametrize(
    ("job", "words"), [(Squares(wrong=3), "seed 3 is unlucky: take another"), (Broken(), "there is no such task")]
)
def test_the_error_of_a_job_is_raised_as_it_is(job, words):
    with pytest.raises(UserError, match=words):
        list(_Pool(FakeRay(seed=0), job, workers=2, cpus=1).run(blocks(5)))


def test_closing_kills_every_worker():
    ray = FakeRay(seed=0)
    pool = _Pool(ray, Squares(), workers=3, cpus=1)
    next(pool.run(blocks(5)))
    pool.close()
    assert not any(actor.alive for actor in ray.actors)
