"""How old a driver's newest message is, by two clocks."""

import pytest

from robolearn.real.newest import CLOCKS_AGREE, Newest

WALL = 1.8e9  # our clock at monotonic time 0


def taken(*messages):
    """After messages (value, s between its stamp and our clock or None for no stamp, when it was received)."""
    newest = Newest()
    for value, delay, received in messages:
        wall = WALL + received
        stamp = 0.0 if delay is None else wall - delay
        newest.take(value, stamp=stamp, received=received, wall=wall)
    return newest


def test_nothing_is_known_before_the_first():
    assert Newest().value is None
    assert Newest().age(5.0) is None


@pytest.mark.parametrize(
    ("delay", "age"),
    [(None, 0.02), (0.01, 0.03), (-0.01, 0.02), (3600.0, 0.02), (-3600.0, 0.02)],
    ids=["no stamp", "late", "early", "another clock", "another clock ahead"],
)
def test_the_age_counts_what_the_stamp_says_where_the_clocks_agree(delay, age):
    assert taken(("a", delay, 1.0)).age(1.02) == pytest.approx(age, abs=1e-6)


def test_a_delay_that_grows_does_not_turn_into_another_clock():
    newest = taken(("a", 0.01, 1.0), ("b", 0.9, 3.0), ("c", 1.5, 6.0))
    assert newest.value == "c"
    assert newest.age(6.0) == pytest.approx(1.5, abs=1e-6)


def test_a_driver_that_repeats_itself_grows_old():
    newest = taken(*((k, 0.1 * k, 0.1 * k) for k in range(8)))
    assert newest.value == 0
    assert newest.age(0.8) == pytest.approx(0.8, abs=1e-6)


def test_what_comes_out_of_order_is_left_aside():
    assert taken(("a", 0.0, 1.0), ("b", 0.1, 1.05)).value == "a"


def test_without_stamps_every_message_counts():
    assert taken(("a", None, 1.0), ("b", None, 2.0)).age(2.0) == 0.0


def test_a_driver_that_begins_anew_counts_again():
    newest = Newest()
    newest.take("a", stamp=5000.0, received=1.0, wall=WALL)
    newest.take("b", stamp=5000.0 - 2 * CLOCKS_AGREE, received=2.0, wall=WALL + 1)
    assert newest.value == "b"
