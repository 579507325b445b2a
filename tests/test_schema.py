import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robolearn.schema import ROLES, ActionChunk, Feature, Schema, SchemaError

STATE = Feature("float32", (3,), ("a", "b", "c"), ("rad", "rad", "m"), "observation")
SPEED = Feature("float32", (2,), ("u", "v"), ("m/s", "m/s"), "observation")
FORCE = Feature("float32", (1,), ("f",), ("N",), "privileged")
IMAGE = Feature("video", (64, 64, 3), ("height", "width", "channel"), ("1", "1", "1"), "observation")
ACTION = Feature("float32", (2,), ("x", "g"), ("m", "m"), "action", (-1.0, 0.0), (1.0, 0.08))
FEATURES = {
    "observation.state": STATE,
    "observation.speed": SPEED,
    "observation.images.top": IMAGE,
    "action": ACTION,
    "privileged.force": FORCE,
}
SCHEMA = Schema(FEATURES, 20)


def changed(**features: Feature) -> Schema:
    return Schema(FEATURES | {key.replace("__", "."): feature for key, feature in features.items()}, 20)


names = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=5, unique=True)


@given(names, names, st.sampled_from(ROLES), st.integers(1, 1000))
def test_a_schema_survives_json(keys, parts, role, fps):
    bounds = tuple(float(i) for i in range(len(parts)))
    feature = Feature("float32", (len(parts),), tuple(parts), ("1",) * len(parts), role, bounds, None)
    schema = Schema(dict.fromkeys(keys, feature), fps)
    read = Schema.from_dict(json.loads(json.dumps(schema.to_dict())))
    assert read == schema
    assert list(read) == list(schema)


def test_a_schema_survives_a_file(tmp_path):
    SCHEMA.save(tmp_path / "schema.json")
    assert Schema.load(tmp_path / "schema.json") == SCHEMA


def test_roles_and_selection_keep_the_order():
    assert SCHEMA.observation_keys == ("observation.state", "observation.speed", "observation.images.top")
    assert list(SCHEMA.select(["action", "observation.state"])) == ["observation.state", "action"]
    assert list(SCHEMA.with_role("privileged", "action")) == ["action", "privileged.force"]
    assert SCHEMA.action is ACTION


def test_lerobot_features_have_its_three_fields():
    assert SCHEMA.to_lerobot()["action"] == {"dtype": "float32", "shape": [2], "names": ["x", "g"]}


def test_a_frame_that_fits_is_accepted_with_any_leading_axes():
    frame = {key: np.zeros((4, 5, *f.shape)) for key, f in FEATURES.items()}
    SCHEMA.validate(frame, lead=2)


def frame_without(key):
    return {k: np.zeros(f.shape) for k, f in FEATURES.items() if k != key}


def test_a_missing_channel_is_named():
    with pytest.raises(SchemaError, match=r"'observation.speed' is missing"):
        SCHEMA.validate(frame_without("observation.speed"))


def test_an_extra_channel_is_named():
    with pytest.raises(SchemaError, match=r"'observation.smell' .* not in the schema"):
        SCHEMA.validate(frame_without(None) | {"observation.smell": np.zeros(1)})


def test_reordered_channels_are_refused():
    frame = frame_without(None)
    frame["observation.state"] = frame.pop("observation.state")
    with pytest.raises(SchemaError, match=r"'observation.state' is in another place"):
        SCHEMA.validate(frame)


def test_a_wrong_shape_is_named():
    frame = frame_without(None)
    frame["action"] = np.zeros(3)
    with pytest.raises(SchemaError, match=r"'action' has shape \(3,\)"):
        SCHEMA.validate(frame)


@pytest.mark.parametrize(
    ("other", "channel", "words"),
    [
        (changed(action=replace(ACTION, names=("x", "grip"))), "action", "names is 'g' at place 1, but 'grip'"),
        (changed(action=replace(ACTION, unit=("mm", "m"))), "action", "unit is 'm' at place 0, but 'mm'"),
        (changed(action=replace(ACTION, dtype="float64")), "action", "dtype is float32, but float64"),
        (
            changed(observation__state=Feature("float32", (1,), ("a",), ("rad",), "observation")),
            "observation.state",
            "shape",
        ),
    ],
)
def test_a_difference_between_schemas_names_channel_and_component(other, channel, words):
    with pytest.raises(SchemaError, match=f"'{channel}'") as error:
        SCHEMA.require_same(other, what="the robot")
    assert words in str(error.value)
    assert "the robot" in str(error.value)


def test_another_rate_is_refused():
    with pytest.raises(SchemaError, match="fps is 20, but 30 on the robot"):
        SCHEMA.require_same(replace(SCHEMA, fps=30), what="the robot")


def test_schemas_with_other_channels_are_refused():
    with pytest.raises(SchemaError, match=r"'privileged.force' is missing"):
        SCHEMA.require_same(SCHEMA.select(k for k in SCHEMA if k != "privileged.force"))


def test_bounds_may_differ_between_sides():
    SCHEMA.require_same(changed(action=replace(ACTION, high=(2.0, 0.08))))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"role": "sensor"}, "role 'sensor'"),
        ({"unit": ("m",)}, "2 names but 1 units"),
        ({"shape": (3,)}, r"shape \(3,\) but 2 names"),
        ({"low": (0.0,)}, "2 names but 1 bounds"),
    ],
)
def test_a_feature_that_contradicts_itself_is_refused(fields, message):
    with pytest.raises(SchemaError, match=message):
        replace(ACTION, **fields)


def test_horizon_is_the_time_axis():
    assert ActionChunk(np.zeros((4, 16, 5), np.float32), 0.0, 0.05).horizon == 16
