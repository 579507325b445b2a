"""The options on the command line are those of the policies."""

import dataclasses

import pytest
from hydra.utils import get_method
from toys import make_schema

from robolearn.compose import build, compose, group_options

LEROBOTS = ("smolvla", "pi0", "pi05")  # need a checkpoint
OPTIONS = [name for name in group_options("train")["policy"] if name not in LEROBOTS]


def make(*overrides):
    config = build("train", compose("train", ["dataset=d", *overrides])).policy
    settings = {key: value for key, value in dataclasses.asdict(config).items() if key != "_target_"}
    return config, get_method(config._target_)(make_schema(), **settings)


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_builds_its_policy_with_the_values_shown(option):
    config, policy = make(f"policy={option}")
    for key, value in dataclasses.asdict(config).items():
        if key != "_target_":
            found = getattr(policy.config, key)
            assert (list(found) if isinstance(found, tuple) else found) == value, key


def test_the_quickstarts_policy_is_the_flow_with_the_mlp():
    config = build("quickstart", compose("quickstart", [])).policy
    assert (config._target_, config.backbone) == ("robolearn.policies.flow.modeling_flow.build", "mlp")
    assert (config.variant, config.sampler, config.num_inference_steps, config.n_obs_steps) == (
        "rectified",
        "euler",
        10,
        1,
    )


def test_pictures_and_mixtures_are_options():
    _, policy = make("policy=diffusion_dit", "policy.horizons=[8,16]", "policy.vision=vit", "policy.crop_ratio=1")
    assert policy.config.horizons == (8, 16)
    assert policy.config.vision == "vit"
