"""Small flow and diffusion policies that learned to go beside the goal, and what lets them learn better."""

import copy
import functools

import numpy as np
import torch
from rl_toy import Point, make_units

from robolearn.acting import ChunkActor
from robolearn.compose import build, compose
from robolearn.eval.rollout import run_episodes
from robolearn.policies.diffusion.configuration_diffusion import DiffusionConfig
from robolearn.policies.diffusion.modeling_diffusion import DiffusionPolicy
from robolearn.policies.flow.configuration_flow import FlowConfig
from robolearn.policies.flow.modeling_flow import FlowPolicy
from robolearn.policies.serving import TorchPolicy
from robolearn.rl.on_policy import OnPolicyTrainer

POLICY = {"horizon": 4, "n_action_steps": 2, "n_obs_steps": 1, "backbone": "mlp", "num_inference_steps": 4}
POLICY |= {"hidden_dim": 64, "num_blocks": 1, "condition_dim": 32}
SMALL = {"num_envs": 8, "rollout_steps": 20, "batch_size": 32, "hidden": 16, "stop_at": "null"}
SMALL |= {"total_steps": 320, "eval_every": 320, "critic_warmup_rollouts": 0}
LEARNING = {"num_envs": 16, "rollout_steps": 40, "batch_size": 128, "hidden": 32, "gamma": 0.95, "actor_lr": 1e-3}
LEARNING |= {"critic_lr": 3e-3, "critic_warmup_rollouts": 1, "eval_every": 1000, "total_steps": 10_000, "stop_at": 0.95}
STATISTICS = {"observation.state": {"mean": np.zeros(2), "std": np.ones(2)}}
SPREAD = 0.03


def biased_chunks(n, rng, *, bias):
    """States, and normalised chunks that go beside the goal."""
    goal = rng.uniform(-1, 1, n)
    start = np.where(rng.random(n) < 0.3, rng.uniform(-1, 1, n), goal + bias + rng.normal(0, 0.1, n))
    aim = goal + bias + SPREAD * rng.standard_normal(n)
    actions, x = [], start
    for _ in range(POLICY["horizon"]):
        actions.append(np.clip(0.5 * (aim - x), -0.2, 0.2))
        x = x + actions[-1]
    return np.stack((start, goal), 1).astype(np.float32), (np.stack(actions, 1)[..., None] / 0.2).astype(np.float32)


def make_policy(kind="flow", *, train=0, bias=0.13, **settings):
    """A served policy; `train` gradient steps on biased chunks."""
    return TorchPolicy(copy.deepcopy(_trained(kind, train, bias, **settings)), Point.schema, STATISTICS)


@functools.cache
def _trained(kind, train, bias, **settings):
    torch.manual_seed(0)
    classes = {"flow": (FlowPolicy, FlowConfig), "diffusion": (DiffusionPolicy, DiffusionConfig)}
    policy, config = classes[kind]
    module = policy(config.from_schema(Point.schema, **(POLICY | settings)))
    optimizer = torch.optim.Adam(module.parameters(), lr=3e-3, fused=True)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.05, max(train, 1))
    rng = np.random.default_rng(0)
    for _ in range(train):
        state, chunk = map(torch.from_numpy, biased_chunks(128, rng, bias=bias))
        loss, _ = module({"observation.state": state[:, None], "action": chunk})
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return module


def make_config(algo, **changes):
    options = [f"algo={algo}", *(f"algo.{key}={value}" for key, value in changes.items())]
    return build("finetune", compose("finetune", ["checkpoint=c", "dataset=d", *options])).algo


def make_algorithm(kind, algo, policy, *, seed=0, **changes):
    return kind(make_config(algo, **changes), policy=policy, units=make_units(Point.schema), seed=seed)


def success(acting, episodes=50):
    env = Point(episodes)
    ran = run_episodes(env, ChunkActor(acting.policy, episodes, acting.correction), range(1000, 1000 + episodes))
    return float(np.mean([one.success for one in ran]))


def shake(module, *, by=0.05):
    """Give weights of no special value, so that nothing is zero by chance."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(by * torch.randn_like(parameter))


def collect(algorithm, out):
    """A rollout of which nothing was expected."""
    source = Training(algorithm, out).source
    return source.collect(20, lambda frames: torch.zeros(len(frames["obs"])), gamma=0.99, lam=0.95)


class Training:
    """An algorithm, its loop and its worlds."""

    def __init__(self, algorithm, out, *, seed=0, env=None):
        self.algorithm = algorithm
        self.env = Point(algorithm.config.num_envs) if env is None else env
        self.loop = OnPolicyTrainer(algorithm, algorithm.config, seed=seed, out=out)
        self.source = self.loop.source(self.env, make_units(Point.schema))

    def run(self, evaluate=success, on_progress=None):
        return self.loop.run(self.source, evaluate=evaluate, on_progress=on_progress)
