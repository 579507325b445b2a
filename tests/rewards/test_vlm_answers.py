"""Questions to vision-language models, and their answers read strictly."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.rewards.vlm.answers import (
    COMPLETED,
    CONTRAST,
    PROGRESS,
    MalformedAnswerError,
    parse_answer,
    reward,
    schema,
)
from robolearn.rewards.vlm.prompts import Scene, corrected, requests_about

FACETS = (CONTRAST, PROGRESS, COMPLETED)
DONE = '{"completed": true}'


@pytest.mark.parametrize(
    ("text", "facet", "value"),
    [
        ('{"contrast": -1}', CONTRAST, -1.0),
        (' {"contrast":0}\n', CONTRAST, 0.0),
        ('{"progress": 0.25}', PROGRESS, 0.25),
        ('{"progress": 1}', PROGRESS, 1.0),
        ('{"progress": 1e-3}', PROGRESS, 0.001),
        (DONE, COMPLETED, 1.0),
        ('{"completed": false}', COMPLETED, 0.0),
    ],
)
def test_a_good_answer_is_a_number(text, facet, value):
    assert parse_answer(text, facet) == value


@pytest.mark.parametrize(
    ("text", "facet", "complaint"),
    [
        ("", PROGRESS, "JSON"),
        ("about half", PROGRESS, "JSON"),
        ('Sure! {"progress": 0.5}', PROGRESS, "JSON"),
        ('```json\n{"progress": 0.5}\n```', PROGRESS, "JSON"),
        ('{"progress": 0.5} {"progress": 0.6}', PROGRESS, "JSON"),
        ('{"progress": 0.5', PROGRESS, "JSON"),
        ("{'progress': 0.5}", PROGRESS, "JSON"),
        ('{"progress": NaN}', PROGRESS, "JSON"),
        ('{"progress": Infinity}', PROGRESS, "JSON"),
        ('{"progress": 0.5, "progress": 0.6}', PROGRESS, "JSON"),
        ("[" * 100_000, PROGRESS, "JSON"),
        ('{"progress": ' + "9" * 10_000 + "}", PROGRESS, "JSON"),
        ('{"progress": 1e999}', PROGRESS, "0 to 1"),
        ('{"progress": 1.01}', PROGRESS, "0 to 1"),
        ('{"progress": -0.01}', PROGRESS, "0 to 1"),
        ('{"progress": "0.5"}', PROGRESS, "no number"),
        ('{"progress": true}', PROGRESS, "no number"),
        ('{"progress": null}', PROGRESS, "no number"),
        ('{"progress": [0.5]}', PROGRESS, "no number"),
        ('{"progress": 0.5, "reason": "so"}', PROGRESS, "one key"),
        ('{"value": 0.5}', PROGRESS, "one key"),
        ("{}", PROGRESS, "one key"),
        ("0.5", PROGRESS, "one key"),
        ('["progress"]', PROGRESS, "one key"),
        ('{"contrast": 0.5}', CONTRAST, "no integer"),
        ('{"contrast": 1.0}', CONTRAST, "no integer"),
        ('{"contrast": true}', CONTRAST, "no integer"),
        ('{"contrast": 2}', CONTRAST, "-1 to 1"),
        ('{"completed": 1}', COMPLETED, "no boolean"),
        ('{"completed": "yes"}', COMPLETED, "no boolean"),
        (DONE, PROGRESS, "one key"),
    ],
)
def test_anything_else_is_malformed_and_says_why(text, facet, complaint):
    with pytest.raises(MalformedAnswerError, match=complaint):
        parse_answer(text, facet)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
of_a_facet = st.tuples(st.sampled_from([f.key for f in FACETS]), json_values).map(lambda pair: dict([pair]))


@given(text=(of_a_facet | json_values).map(json.dumps) | st.text(), facet=st.sampled_from(FACETS))
def test_a_text_gives_a_value_in_range_or_an_error(text, facet):
    try:
        value = parse_answer(text, facet)
    except MalformedAnswerError:
        return
    assert facet.low <= value <= facet.high
    assert json.loads(text) == {facet.key: value}


def test_a_schema_names_the_one_key_and_its_range():
    assert schema(CONTRAST) == {
        "type": "object",
        "properties": {"contrast": {"type": "integer", "minimum": -1, "maximum": 1}},
        "required": ["contrast"],
        "additionalProperties": False,
    }
    assert schema(COMPLETED)["properties"] == {"completed": {"type": "boolean"}}


def test_the_reward_is_the_mean_of_the_three():
    contrast, progress, completed = np.array([[-1, 0, 1, 1], [0, 0.5, 0.8, 1], [0, 0, 0, 1]])
    np.testing.assert_allclose(reward(contrast, progress, completed), [0, 1 / 3, 0.6, 1])


def scene():
    frames = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    return Scene(frames[0], frames[1], "put the cube into the bin")


def test_only_contrast_is_asked_of_two_frames():
    asked = requests_about(scene())
    assert [r.prompt.facet for r in asked] == [CONTRAST, PROGRESS, COMPLETED]
    assert [len(r.frames) for r in asked] == [2, 1, 1]
    assert asked[0].frames[0] is not asked[0].frames[1]
    for request in asked[1:]:
        np.testing.assert_array_equal(request.frames[0], asked[0].frames[1])
    for request in asked:
        assert "put the cube into the bin" in request.prompt.text
        assert f'{{"{request.prompt.facet.key}": x}}' in request.prompt.text


def test_stages_are_told_in_order():
    asked = requests_about(scene(), ["grasp the cube", "drop it"])
    assert all("1. grasp the cube\n2. drop it\n" in request.prompt.text for request in asked)


def test_a_question_asked_again_says_what_was_wrong():
    first = requests_about(scene())[1]
    second = corrected(first, "'progress' is no number")
    assert second.prompt.text.startswith(first.prompt.text)
    assert "'progress' is no number" in second.prompt.text
    assert (second.frames, second.prompt.facet) == (first.frames, first.prompt.facet)
