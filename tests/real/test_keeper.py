"""When recordings begin and end, and what they hold."""

from pathlib import Path

import hypothesis.strategies as st
import pytest
from hypothesis import given

from robolearn.errors import UserError
from robolearn.real.bag_messages import SECOND, Message
from robolearn.real.keeper import Keeper, Ring
from robolearn.real.record_settings import RecordSettings


def message(seconds, size=10):
    return Message("/t", "std_msgs/msg/String", round(seconds * SECOND), bytes(size))


class FakeBag:
    def __init__(self, name, continues):
        self.path, self.continues = Path(name), continues
        self.times, self.size, self.closed, self.flushes = [], 0, False, 0

    def write(self, message):
        assert not self.closed
        self.times.append(message.time / SECOND)
        self.size += len(message.data)

    def flush(self):
        self.flushes += 1

    def close(self):
        self.closed = True


class Bench:
    def __init__(self, mode, **options):
        self.bags = []
        self.keeper = Keeper(RecordSettings(mode=mode, **options), self.new_bag)

    def new_bag(self, continues):
        self.bags.append(FakeBag(f"bag{len(self.bags)}", continues))
        return self.bags[-1]

    def feed(self, begin, end, size=10):
        for second in range(begin, end):
            self.keeper.add(message(second, size))
            self.keeper.flush(second * SECOND)


def test_each_activation_is_a_recording_that_goes_on_for_a_while():
    bench = Bench("all", after_seconds=3)
    bench.feed(0, 5)
    bench.keeper.begin()
    bench.feed(5, 10)
    bench.keeper.end(9 * SECOND)
    bench.feed(10, 20)
    bench.keeper.begin()
    bench.feed(20, 22)
    bench.keeper.begin()  # the one before has not ended
    bench.feed(22, 24)
    bench.keeper.close()
    assert [bag.times for bag in bench.bags] == [[*map(float, range(5, 13))], [20.0, 21.0], [22.0, 23.0]]
    assert all(bag.closed for bag in bench.bags)
    assert bench.keeper.bags == 3
    assert bench.keeper.messages == 12


def test_an_incident_is_recorded_with_what_came_before_and_after():
    bench = Bench("incidents", ring_seconds=4, after_seconds=2)
    bench.keeper.begin()
    bench.feed(0, 10)
    assert not bench.bags
    bench.keeper.incident(9 * SECOND)
    bench.feed(10, 11)
    bench.keeper.incident(10 * SECOND)  # another goes into the same
    bench.feed(11, 20)
    (bag,) = bench.bags
    assert bag.times == [5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0]
    assert bag.closed
    bench.keeper.incident(19 * SECOND)
    assert bench.bags[1].times == [15.0, 16.0, 17.0, 18.0, 19.0]


def test_incidents_are_nothing_special_where_everything_is_recorded():
    bench = Bench("all")
    bench.keeper.incident(SECOND)
    assert not bench.bags


def test_a_large_recording_goes_on_in_another():
    bench = Bench("all", megabytes=0.001)
    bench.keeper.begin()
    bench.feed(0, 10, size=400)
    assert [bag.times for bag in bench.bags] == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9]]
    assert [bag.continues for bag in bench.bags] == ["", "bag0", "bag1", "bag2"]
    bench.keeper.renew()
    bench.feed(10, 11)
    bench.keeper.begin()
    assert [bag.continues for bag in bench.bags[4:]] == ["", ""]


@given(
    times=st.lists(st.floats(0, 100), min_size=1, max_size=60).map(sorted),
    sizes=st.lists(st.integers(0, 50), min_size=60, max_size=60),
    span=st.floats(0.5, 50),
    limit=st.integers(50, 500),
)
def test_the_ring_holds_the_newest_within_its_limits(times, sizes, span, limit):
    ring = Ring(span, limit)
    messages = [message(time, size) for time, size in zip(times, sizes, strict=False)]
    for each in messages:
        ring.add(each)
    size, kept = ring.size, ring.take()
    assert kept == messages[len(messages) - len(kept) :]
    assert size == sum(len(each.data) for each in kept) <= limit
    assert all(each.time >= messages[-1].time - round(span * SECOND) for each in kept)
    rest = messages[: len(messages) - len(kept)]
    if rest:  # nothing was forgotten without need
        too_old = rest[-1].time < messages[-1].time - round(span * SECOND)
        assert too_old or size + len(rest[-1].data) > limit or any(len(m.data) for m in kept)
    assert ring.take() == []


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"mode": "al"}, "record=al is unknown; did you mean 'all'"),
        ({"ring_seconds": 0.0}, "ring_seconds must be positive"),
        ({"after_seconds": float("inf")}, "after_seconds"),
        ({"mode": "all", "folder": ""}, "record_folder"),
    ],
)
def test_settings_that_cannot_be_are_told(options, text):
    with pytest.raises(UserError, match=text):
        RecordSettings(**options)
