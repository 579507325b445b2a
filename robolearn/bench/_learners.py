"""Learners of off-policy RL that `robolearn bench learner` times: ours, and LeRobot's soft actor-critic."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from robolearn.schema import Feature, Schema

if TYPE_CHECKING:
    from robolearn.data.replay import Trajectory

OBS_DIM, ACTION_DIM = 39, 4  # of Meta-World's tasks
EPISODE, EPISODES, DEMONSTRATIONS = 200, 50, 10  # steps; episodes in the replay, and those of demonstrations
Update = Callable[[], int]
STATE = "observation.state"


class Size(NamedTuple):
    """What all sides have in common.

    Attributes:
        critics: in the ensemble.
        hidden: units of both hidden layers, of critics and actor.
        batch: samples of an update.
    """

    critics: int
    hidden: int
    batch: int


class Channels:
    """What a learner uses of a policy, where that does not act."""

    schema = Schema(
        {
            STATE: Feature(
                "float32", (OBS_DIM,), tuple(f"x{i}" for i in range(OBS_DIM)), ("1",) * OBS_DIM, "observation"
            ),
            "action": Feature(
                "float32",
                (ACTION_DIM,),
                tuple(f"a{i}" for i in range(ACTION_DIM)),
                ("1",) * ACTION_DIM,
                "action",
                (-1.0,) * ACTION_DIM,
                (1.0,) * ACTION_DIM,
            ),
        },
        fps=20,
    )


def ours(algo: str, size: Size, *, actor_every: int, seed: int) -> tuple[Any, Update]:
    """A learner of ours and its update, drawing included; half of a batch are demonstrations.

    Args:
        algo: "residual" or "rlpd".
        size: of its networks and batches.
        actor_every: critic updates per actor update.
        seed: of weights and data.
    """
    from hydra.utils import get_class

    from robolearn.compose import build, compose
    from robolearn.normalize import Normalizer
    from robolearn.rl.experience import Experience
    from robolearn.rl.units import Units

    settings = {
        "num_critics": size.critics,
        "hidden": size.hidden,
        "batch_size": size.batch,
        "actor_every": actor_every,
        "critic_warmup_updates": 0,
    }
    words = [f"algo={algo}", *(f"algo.{key}={value}" for key, value in settings.items())]
    config: Any = build("finetune", compose("finetune", ["checkpoint=none", "dataset=none", *words])).algo
    statistics = {STATE: {"mean": np.zeros(OBS_DIM), "std": np.ones(OBS_DIM)}}
    units = Units(Normalizer(Channels.schema, statistics), Channels.schema)
    learner: Any = get_class(config._target_)(config, policy=Channels(), units=units, seed=seed)
    experience = Experience(capacity=EPISODES * (EPISODE + 1), demo_ratio=0.5, gamma=0.99, seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(EPISODES):
        experience.online.add(_episode(rng))
    experience.show([_episode(rng) for _ in range(DEMONSTRATIONS)])

    def update() -> int:
        learner.clock.updates += 1
        learner.update(experience)
        return 1

    return learner, update


def _episode(rng: np.random.Generator) -> Trajectory:
    from robolearn.data.replay import Trajectory
    from robolearn.rl.interaction import BASE
    from robolearn.rl.units import VECTOR

    frames = {
        VECTOR: rng.standard_normal((EPISODE + 1, OBS_DIM), np.float32),
        BASE: rng.uniform(-1, 1, (EPISODE + 1, ACTION_DIM)).astype(np.float32),
    }
    reward = np.zeros(EPISODE, np.float32)
    reward[-1] = 1.0
    return Trajectory(
        frames, rng.uniform(-1, 1, (EPISODE, ACTION_DIM)).astype(np.float32), reward, terminated=True, success=True
    )


def lerobot(size: Size, *, seed: int) -> tuple[Any, Update]:
    """LeRobot's soft actor-critic and its update, drawing from its own two replays included.

    It encodes a state before critics and actor read it; its code has as many numbers as the state, so that all networks
    have the sizes of ours.
    """
    import torch
    from lerobot.configs import FeatureType, PolicyFeature
    from lerobot.policies.gaussian_actor.configuration_gaussian_actor import (
        ActorNetworkConfig,
        CriticNetworkConfig,
        GaussianActorConfig,
    )
    from lerobot.policies.gaussian_actor.modeling_gaussian_actor import GaussianActorPolicy
    from lerobot.rl.algorithms.sac import SACAlgorithm, SACAlgorithmConfig
    from lerobot.rl.data_sources.data_mixer import OnlineOfflineMixer

    torch.manual_seed(seed)
    layers = [size.hidden, size.hidden]
    policy = GaussianActorConfig(
        input_features={STATE: PolicyFeature(FeatureType.STATE, (OBS_DIM,))},
        output_features={"action": PolicyFeature(FeatureType.ACTION, (ACTION_DIM,))},
        device="cpu",
        push_to_hub=False,
        latent_dim=OBS_DIM,
        actor_network_kwargs=ActorNetworkConfig(hidden_dims=layers),
    )
    config = SACAlgorithmConfig(
        policy_config=policy,
        num_critics=size.critics,
        critic_network_kwargs=CriticNetworkConfig(hidden_dims=layers),
    )
    algorithm: Any = SACAlgorithm(GaussianActorPolicy(policy), config)
    algorithm.make_optimizers_and_scheduler()
    rng = np.random.default_rng(seed)
    mixer = OnlineOfflineMixer(_their_replay(EPISODES, rng), _their_replay(DEMONSTRATIONS, rng), online_ratio=0.5)
    batches = mixer.get_iterator(size.batch, async_prefetch=False)

    def update() -> int:
        algorithm.update(batches)
        return 1

    return algorithm, update


def _their_replay(episodes: int, rng: np.random.Generator) -> Any:
    import torch
    from lerobot.rl.buffer import ReplayBuffer

    from robolearn.rl.units import VECTOR

    replay = ReplayBuffer(episodes * EPISODE, device="cpu", state_keys=[STATE])
    for _ in range(episodes):
        frames, action, reward, *_ = _episode(rng)
        states = torch.from_numpy(frames[VECTOR])
        for t in range(EPISODE):
            last = t == EPISODE - 1
            before, after = {STATE: states[t : t + 1]}, {STATE: states[t + 1 : t + 2]}
            replay.add(before, torch.from_numpy(action[t : t + 1]), float(reward[t]), after, last, False)
    return replay


def critic_weights(learner: Any) -> int:
    """Numbers in the matrices of a learner's critics, without their targets."""
    critics = learner.critic if hasattr(learner, "critic") else learner.critic_ensemble.critics
    return sum(p.numel() for name, p in critics.named_parameters() if "weight" in name and p.dim() > 1)
