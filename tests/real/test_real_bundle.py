import json

import numpy as np
import pytest
from bundle_factory import make_schema, write_bundle

from robolearn.acting import ChunkActor
from robolearn.errors import UserError
from robolearn.protocols import Policy
from robolearn.real.bundle import load_bundle
from robolearn.real.offer import offered_schema
from robolearn.sim.robots import get_robot

ACTION = np.array((0.5, -0.5, 0.0, 1.0, -1.0))
JOINTS = (*get_robot("panda").joint_names, *get_robot("panda").gripper_joints)


def observation(schema, lead):
    return {key: np.zeros((*lead, *schema[key].shape), np.float32) for key in schema.observation_keys}


def test_policy_gives_what_the_graph_says_in_physical_units(tmp_path):
    bundle = load_bundle(write_bundle(tmp_path / "b", action=ACTION))
    chunk = bundle.policy.predict_chunk(observation(bundle.schema, (3, 2)))
    low, high = np.array(bundle.schema.action.low), np.array(bundle.schema.action.high)
    assert isinstance(bundle.policy, Policy)
    assert chunk.values.shape == (3, 4, 5)
    np.testing.assert_allclose(chunk.values[2, 3], (high + low) / 2 + ACTION * (high - low) / 2, atol=1e-6)
    assert bundle.action_space.dt == pytest.approx(0.05)
    assert bundle.correction is None


def test_samples_have_an_axis_of_their_own_and_stay_in_bounds(tmp_path):
    bundle = load_bundle(write_bundle(tmp_path / "b", action=4 * ACTION))
    chunk = bundle.policy.predict_chunk(observation(bundle.schema, (3, 2)), n_samples=2)
    assert chunk.values.shape == (3, 2, 4, 5)
    assert chunk.values.max() <= max(bundle.schema.action.high)
    np.testing.assert_allclose(chunk.values[0, 0, 0, 0], bundle.schema.action.high[0])


def test_correction_adds_the_scaled_residual_and_clips(tmp_path):
    residual = np.array((1.0, -1.0, 0.5, 1.0, 0.0))
    bundle = load_bundle(write_bundle(tmp_path / "b", action=ACTION, residual=residual, scale=0.5))
    actor = ChunkActor(bundle.policy, 1, bundle.correction)
    actor.reset([0])
    chunk = actor.act_chunk(observation(bundle.schema, (1,)))
    high = np.array(bundle.schema.action.high)
    expected = np.array((1.0, -1.0, 0.25, 1.0)) * high[:4]
    np.testing.assert_allclose(chunk[0, 0, :4], expected, atol=1e-6)
    np.testing.assert_allclose(chunk[0, 1, :4], ACTION[:4] * high[:4], atol=1e-6)


@pytest.mark.parametrize(
    "file",
    ["encoder.onnx", "denoiser.onnx", "schema.json", "robot.json", "stats.json", "config.yaml", "collision.xml"],
)
def test_a_truncated_changed_or_missing_file_is_named(tmp_path, file):
    path = write_bundle(tmp_path / "b")
    content = (path / file).read_bytes()
    (path / file).write_bytes(content[:-1])
    with pytest.raises(UserError, match=f"{file} is changed or truncated"):
        load_bundle(path)
    (path / file).write_bytes(content[:-1] + b"#")
    with pytest.raises(UserError, match=f"{file} is changed or truncated"):
        load_bundle(path)
    (path / file).unlink()
    with pytest.raises(UserError, match=f"lacks .*{file}"):
        load_bundle(path)


def test_a_collision_model_that_could_read_other_files_is_refused(tmp_path):
    path = write_bundle(tmp_path / "b")
    text = (path / "collision.xml").read_text()
    (path / "collision.xml").write_text(text.replace("<contact>", '<include file="x.xml"/><contact>'))
    with pytest.raises(UserError, match="holds <include> in <mujoco>, which is refused"):
        load_bundle(path, verify=False)


def test_a_bundle_without_a_collision_model_says_so(tmp_path):
    path = write_bundle(tmp_path / "b")
    manifest = json.loads((path / "manifest.json").read_text())
    del manifest["files"]["collision.xml"]  # as of an older version; the file itself was never checked
    (path / "manifest.json").write_text(json.dumps(manifest))
    assert load_bundle(path).collision is None


def test_a_damaged_manifest_is_refused(tmp_path):
    path = write_bundle(tmp_path / "b")
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, "format": 99}))
    with pytest.raises(UserError, match="format 3"):
        load_bundle(path)
    (path / "manifest.json").write_text("{")
    with pytest.raises(UserError, match="truncated"):
        load_bundle(path)
    del manifest["files"]["denoiser.onnx"]
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match=r"denoiser\.onnx"):
        load_bundle(path)
    with pytest.raises(UserError, match="no bundle"):
        load_bundle(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("part", "message"), [("sampler", "verlet"), ("graph", "open"), ("input", "input 'base_action'")]
)
def test_an_unusable_graph_is_refused(tmp_path, part, message):
    path = write_bundle(tmp_path / "b")
    manifest = json.loads((path / "manifest.json").read_text())
    if part == "sampler":
        manifest["policy"]["sampler"]["name"] = "verlet"
        (path / "manifest.json").write_text(json.dumps(manifest))
    elif part == "graph":
        (path / "denoiser.onnx").write_bytes(b"nonsense")
    else:
        other = write_bundle(tmp_path / "other", residual=ACTION)
        (path / "denoiser.onnx").write_bytes((other / "correction.onnx").read_bytes())
    with pytest.raises(UserError, match=message):
        load_bundle(path, verify=False)


def test_the_offered_schema_ignores_order_and_extra_names(tmp_path):
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    schema = offered_schema(bundle, joints=("base_joint", *reversed(JOINTS)), objects=("ball", "cube"))
    bundle.require_robot(schema)


def test_a_missing_joint_or_object_is_named_with_its_channel(tmp_path):
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    with pytest.raises(UserError, match=r"observation\.state.*panda_finger_joint2"):
        offered_schema(bundle, joints=JOINTS[:-1], objects=("cube",))
    with pytest.raises(UserError, match=r"observation\.environment_state.*cube"):
        offered_schema(bundle, joints=JOINTS, objects=("ball",))


def test_a_channel_that_the_robot_lacks_is_named(tmp_path):
    bundle = load_bundle(write_bundle(tmp_path / "b"))
    with pytest.raises(UserError, match=r"observation\.environment_state.*cube_x.*ball_x"):
        bundle.require_robot(make_schema(get_robot("panda"), objects=("ball",)))
    with pytest.raises(UserError, match=r"observation\.environment_state.*missing"):
        bundle.require_robot(bundle.schema.select(("observation.state", "action")))


def test_a_camera_that_nobody_publishes_is_named_and_others_are_left_aside(tmp_path):
    bundle = load_bundle(write_bundle(tmp_path / "b", camera=(6, 8)))
    with pytest.raises(UserError, match=r"observation\.images\.wrist.*camera 'wrist'.*camera_topics"):
        offered_schema(bundle, joints=JOINTS, objects=("cube",), cameras=("external",))
    bundle.require_robot(offered_schema(bundle, joints=JOINTS, objects=("cube",), cameras=("external", "wrist")))
