"""What a policy is told in an evaluation."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.errors import UserError
from robolearn.eval.instructions import teller

SEEN = (("left", "to the left"), ("right", "to the right"), ("up", "upwards"))
HELD_OUT = (("leftwards",), ("rightwards", "starboard"), ("skywards",))
BOTH = {"seen": SEEN, "held_out": HELD_OUT}


def test_by_default_the_scene_speaks_for_itself():
    assert teller("seen", **BOTH) is None
    assert teller("seen") is None


@given(st.integers(0, 2**63), st.sampled_from([(k, phrase) for k, phrases in enumerate(SEEN) for phrase in phrases]))
def test_other_words_mean_the_same(seed, asked):
    variant, phrase = asked
    tell = teller("held_out", **BOTH)
    assert tell(seed, phrase) in HELD_OUT[variant]
    assert tell(seed, phrase) == tell(seed, phrase)


def test_shuffled_instructions_are_drawn_apart_from_what_is_asked():
    tell = teller("shuffled", **BOTH)
    variant = {phrase: k for k, phrases in enumerate(SEEN) for phrase in phrases}
    told = [tell(seed, "left") for seed in range(3000)]
    assert told == [tell(seed, "right") for seed in range(3000)]
    assert set(told) == set(variant)
    share = Counter(variant[phrase] for phrase in told)
    assert all(900 < count < 1100 for count in share.values())


def test_one_instruction_for_all():
    tell = teller("seen", instruction="stay", **BOTH)
    assert {tell(seed, "left") for seed in range(5)} == {"stay"}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"phrasings": "held_ou"}, "unknown phrasings 'held_ou'; did you mean 'held_out'?"),
        ({"phrasings": "held_out", "seen": SEEN, "held_out": ()}, "no phrasings that are held out"),
        ({"phrasings": "shuffled", "seen": SEEN[:1]}, "one thing only"),
        ({"phrasings": "shuffled"}, "one thing only"),
        ({"phrasings": "shuffled", "instruction": "stay", "seen": SEEN}, "leave phrasings=shuffled out"),
    ],
)
def test_what_cannot_be_told_is_refused(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        teller(**arguments)
