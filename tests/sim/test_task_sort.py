"""Sort: who is judged, stages on states made by hand, starts, and the expert."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from world_states import make_state

from robolearn.eval.rollout import run_episodes
from robolearn.language import words_of
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.experts.scripted import ScriptedExpert
from robolearn.sim.stages import task_progress
from robolearn.sim.tasks.bins import OUTER
from robolearn.sim.tasks.sort import APART, BINS, BLOCK, CUBE, CYLINDER, OBJECTS, SORT
from robolearn.sim.tasks.task import Area

AREA = Area((0.42, -0.18), (0.66, 0.18))
HALF = {"cube": CUBE, "cylinder": (*CYLINDER, 0.0), "block": BLOCK}
LYING = {
    "cube": (0.45, 0.1, 0.02),
    "cylinder": (0.45, 0.0, 0.024),
    "block": (0.45, -0.1, 0.02),
    "left_bin": (0.6, 0.1, 0.0),
    "right_bin": (0.6, -0.1, 0.0),
}
IN_LEFT, IN_RIGHT = (0.61, 0.09, 0.024), (0.6, -0.1, 0.024)
FAR = (0.5, 0.0, 0.3)
OPEN = 0.08


def state(*, tool=FAR, width=OPEN, variant=0, **bodies):
    return make_state(tool=tool, width=width, bodies={**LYING, **bodies}, half=HALF, variant=variant)


def stage(**kwargs):
    return SORT.stage(state(**kwargs)).tolist()


def over(z):
    return (0.6, 0.1, z)


@pytest.mark.parametrize(
    ("world", "expected"),
    [
        ({}, 0),
        ({"tool": LYING["cube"]}, 1),
        ({"tool": LYING["cube"], "width": 0.04}, 2),
        ({"tool": LYING["cube"], "width": 0.0}, 1),
        ({"tool": (0.5, 0.1, 0.1), "width": 0.04, "cube": (0.5, 0.1, 0.1)}, 2),
        ({"tool": over(0.1), "width": 0.04, "cube": over(0.1)}, 3),
        ({"tool": over(0.03), "width": 0.04, "cube": over(0.03)}, 3),
        ({"tool": over(0.03), "cube": over(0.024)}, 3),
        ({"cube": over(0.1)}, 3),  # falls in from high up
        ({"cube": IN_LEFT}, 4),
        ({"cube": (0.6, 0.152, 0.05)}, 0),  # leans on the rim outside
        ({"cube": over(0.06)}, 3),  # lies across the rim
    ],
)
def test_the_stage_of_a_state(world, expected):
    assert stage(**world) == [expected]
    assert SORT.success(state(**world)).tolist() == [expected == 4]


def test_only_the_object_and_the_bin_that_are_asked_for_count():
    for variant in range(SORT.n_variants):
        for thing in OBJECTS:
            for target, inside in zip(BINS, (IN_LEFT, IN_RIGHT), strict=True):
                asked = (thing, target) == (OBJECTS[variant // 2], BINS[variant % 2])
                assert (stage(variant=variant, **{thing: inside}) == [4]) == asked
                assert stage(variant=variant, tool=LYING[thing], width=0.04)[0] == 2 * (thing == OBJECTS[variant // 2])


def test_worlds_with_different_variants_are_judged_one_by_one():
    s = state(tool=[FAR] * 4, width=[OPEN] * 4, cube=IN_LEFT, variant=[0, 1, 2, 3])
    assert SORT.success(s).tolist() == [True, False, False, False]


def test_a_turned_bin_is_judged_in_its_own_frame():
    corner = (0.6 + 0.043, 0.1 + 0.043, 0.024)
    turned = make_state(
        tool=FAR,
        width=OPEN,
        bodies={**LYING, "cube": corner},
        half=HALF,
        quats={"left_bin": (np.cos(np.pi / 8), 0, 0, np.sin(np.pi / 8))},
    )
    assert SORT.success(state(cube=corner)).all()
    assert not SORT.success(turned).any()


def test_progress_grows_along_a_good_episode_and_falls_when_the_object_is_dropped():
    steps = (
        {"tool": (0.5, 0.1, 0.2)},
        {"tool": (0.45, 0.1, 0.08)},
        {"tool": LYING["cube"]},
        {"tool": LYING["cube"], "width": 0.06},
        {"tool": LYING["cube"], "width": 0.04},
        {"tool": (0.45, 0.1, 0.1), "width": 0.04, "cube": (0.45, 0.1, 0.1)},
        {"tool": (0.53, 0.1, 0.1), "width": 0.04, "cube": (0.53, 0.1, 0.1)},
        {"tool": over(0.11), "width": 0.04, "cube": over(0.11)},
        {"tool": over(0.05), "width": 0.04, "cube": over(0.05)},
        {"tool": over(0.05), "cube": over(0.024)},
        {"tool": over(0.065), "cube": over(0.024)},
        {"tool": over(0.1), "cube": over(0.024)},
    )
    values = [task_progress(SORT.stages, s, SORT.stage(s))[0] for s in (state(**step) for step in steps)]
    assert (np.diff(values) > 0).all()
    assert values[-1] == 1.0
    dropped = state(tool=(0.53, 0.1, 0.1), cube=(0.53, 0.1, 0.02))
    assert task_progress(SORT.stages, dropped, SORT.stage(dropped))[0] < values[4]


@given(st.integers(0, 2**32))
def test_everything_starts_in_the_area_with_room_for_the_fingers(seed):
    start = SORT.place(np.random.default_rng(seed), AREA)
    at = {name: pos[:2] for name, (pos, _) in start.poses.items()}
    assert set(at) == set(SORT.bodies)
    assert 0 <= start.variant < SORT.n_variants
    for xy in at.values():
        assert (xy >= AREA.low).all()
        assert (xy <= AREA.high).all()
    pairs = [(a, b) for a in OBJECTS for b in OBJECTS if a < b]
    assert all(np.linalg.norm(at[a] - at[b]) > APART for a, b in pairs)
    turned = 1.15 * OUTER  # half the extent of a bin that is turned
    assert at["left_bin"][1] - at["right_bin"][1] > 2 * turned
    fingers = 0.05  # m that open fingers reach forward of the tool at the largest turn
    assert all(at[b][0] - turned > at[a][0] + fingers for a in OBJECTS for b in BINS)


def test_each_variant_has_its_own_words():
    for variant, phrases in enumerate(SORT.instructions):
        thing, target = OBJECTS[variant // 2], BINS[variant % 2]
        assert len(set(phrases)) >= 3
        assert all(thing in phrase and target.replace("_", " ") in phrase for phrase in phrases)


def test_every_phrase_says_one_thing_only():
    said = [phrase for phrases in (*SORT.instructions, *SORT.held_out) for phrase in phrases]
    assert len(set(said)) == len(said)


def test_phrasings_that_are_held_out_are_never_drawn_and_have_words_of_their_own():
    assert len(SORT.held_out) == SORT.n_variants
    known = {word for phrases in SORT.instructions for phrase in phrases for word in words_of(phrase)}
    for variant, phrases in enumerate(SORT.held_out):
        thing, target = OBJECTS[variant // 2], BINS[variant % 2]
        for phrase in phrases:
            assert {thing, target.partition("_")[0]} <= set(words_of(phrase))
            assert set(words_of(phrase)) - known
    env = MujocoVecEnv("sort", num_envs=64, autoreset=False)
    env.reset(seed=0)
    drawn = set(env.instructions)
    env.close()
    assert drawn <= {phrase for phrases in SORT.instructions for phrase in phrases}
    assert not drawn & {phrase for phrases in SORT.held_out for phrase in phrases}


def test_the_clean_expert_does_what_it_is_asked_stage_by_stage():
    env = MujocoVecEnv("sort", num_envs=12, autoreset=False)
    expert = ScriptedExpert("sort", env.schema, 12)
    episodes = run_episodes(env, expert, range(12), record=True)
    env.close()
    assert all(episode.success for episode in episodes)
    assert len({episode.instruction for episode in episodes}) > 6
    for episode in episodes:
        seen = episode.frames["observation.stage"]
        assert seen[0] == 0
        first = [int(np.argmax(seen == k)) for k in range(4)]
        assert first == sorted(first)
        assert set(seen.tolist()) == {0, 1, 2, 3}
