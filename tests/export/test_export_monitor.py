"""A recurrent reward model as the monitor of a bundle, on ONNX Runtime."""

import dataclasses

import numpy as np
import pytest
import torch
from monitor_factory import RULES
from test_export_policies import CAMERA, ROBOT, STATISTICS, graphs_of, make

from robolearn.acting import Acting
from robolearn.commands.export_monitor import check_monitor, load_watching
from robolearn.errors import UserError
from robolearn.export.bundle import export_bundle
from robolearn.monitoring import FILE
from robolearn.real.bundle import load_bundle
from robolearn.rewards.recurrent.modeling_recurrent import build as build_recurrent
from robolearn.rewards.sarm.modeling_sarm import build as build_sarm
from robolearn.rewards.serving import TorchEstimator, save_estimator

STAGES = {"stage_names": ["reach", "lift"], "shares": [0.4, 0.6], "hidden_dim": 12, "language_dim": 8}


def saved(folder, schema, build=build_recurrent, **settings):
    """A reward model that says different things of different frames."""
    torch.manual_seed(0)
    model = build(schema, **STAGES, **settings)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    save_estimator(folder, TorchEstimator(model, schema, STATISTICS))
    dataclasses.replace(RULES, num_stages=2, stall_frames=(5, 5)).save(folder / FILE)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "kinds"),
    [("flow-shortcut-dit", []), ("flow-shortcut-dit", ["slip"]), ("vla-mlp-cnn", ["slip", "no_grasp"])],
)
def test_the_bundles_monitor_says_what_the_model_says(case, kinds, tmp_path):
    policy = make(case)
    watching = load_watching(saved(tmp_path / "model", policy.schema, kinds=kinds), policy.schema)
    export_bundle(
        tmp_path / "b",
        schema=policy.schema,
        robot=ROBOT,
        action_space="ee_delta",
        statistics=policy.statistics,
        task={"name": "lift", "instruction": "lift", "max_episode_steps": 80, "stage_names": ["reach", "lift"]},
        **graphs_of(policy, Acting(policy), rtc=False),
        config_yaml="",
        provenance={},
        monitor=watching.part,
    )
    loaded = load_bundle(tmp_path / "b").monitor
    assert loaded.settings == dataclasses.replace(RULES, num_stages=2, stall_frames=(5, 5))
    assert loaded.estimator.stage_names == ("reach", "lift")
    assert loaded.estimator.kinds == tuple(kinds)
    told = "lift the cube"
    assert check_monitor(watching.estimator, loaded.estimator, told, atol=1e-4) <= 1e-4
    assert watching.estimator.schema.observation_keys == policy.schema.observation_keys
    # it hears what it is told, and says different things of different frames
    frame = {key: np.zeros(policy.schema[key].shape, np.float32) for key in policy.schema.observation_keys}
    frame |= {CAMERA: np.zeros(policy.schema[CAMERA].shape, np.uint8)} if CAMERA in frame else {}
    said = []
    for instruction, place in ((told, 0.0), ("water the plants", 0.0), (told, 1.0)):
        loaded.estimator.reset()
        seen = {**frame, "observation.state": frame["observation.state"] + np.float32(place)}
        said.append(loaded.estimator.update(seen, instruction).value)
    assert len(set(said)) == 3
    # another model's graph is not taken for it
    other = saved(tmp_path / "other", policy.schema, kinds=kinds, snippet=3)
    with pytest.raises(UserError, match="differ by"):
        check_monitor(load_watching(other, policy.schema).estimator, loaded.estimator, told, atol=1e-4)


def test_what_cannot_watch_this_policy_is_refused(tmp_path):
    schema = make("flow-shortcut-dit").schema
    seeing = make("vla-mlp-cnn").schema
    with pytest.raises(UserError, match="reward=recurrent"):
        load_watching(saved(tmp_path / "sarm", schema, build_sarm), schema)
    with pytest.raises(UserError, match=r"reads 'observation\.images\.wrist'"):
        load_watching(saved(tmp_path / "seeing", seeing), schema)
    with pytest.raises(UserError, match="fps is 20, but 10"):
        load_watching(saved(tmp_path / "slow", schema), dataclasses.replace(schema, fps=10))
    folder = saved(tmp_path / "unwatched", schema)
    (folder / FILE).unlink()
    with pytest.raises(UserError, match=r"lacks monitor\.json"):
        load_watching(folder, schema)


def test_a_monitor_may_see_less_than_the_policy(tmp_path):
    seeing = make("vla-mlp-cnn").schema
    blind = seeing.select(["observation.state", "action"])
    assert load_watching(saved(tmp_path / "blind", blind), seeing).part[2]["channels"] == ["observation.state"]
