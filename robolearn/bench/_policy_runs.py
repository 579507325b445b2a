"""Trainings of `robolearn bench policies`, each in a process of its own: data, policy, evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from robolearn.bench import _lerobot as lerobot
from robolearn.bench._pool import RECORDS, kept, origin
from robolearn.bench._verbs import collect, options, told_to

if TYPE_CHECKING:
    from robolearn.data.dataset import EpisodeDataset

DEMONSTRATIONS = 100
EPISODES = 100
STEPS, BATCH_SIZE, SAVE_EVERY = 3000, 32, 500
HORIZON, N_ACTION_STEPS = 16, 8
OUT = Path("outputs/bench/policies")


@dataclass(frozen=True)
class Way:
    """How a trained policy is executed.

    Attributes:
        n_action_steps: of a chunk, or None for what the policy says.
        folder: where it is kept.
    """

    n_action_steps: int | None = None
    folder: str = "policy"


@dataclass(frozen=True)
class Training:
    """What is trained, and how it is then executed.

    Attributes:
        words: options of `robolearn train`; of those for LeRobot's policies, only the learning rate counts.
        ways: by the name of the row in the table.
        lerobot: LeRobot's type of policy, or None for ours.
    """

    words: tuple[str, ...]
    ways: Mapping[str, Way]
    lerobot: str | None = None


TRAININGS = {
    "diffusion": Training(("policy=diffusion",), {"diffusion": Way()}),
    "flow": Training(("policy=flow_dit",), {"flow": Way(), "flow.execute_4": Way(4), "flow.execute_16": Way(16)}),
    "flow_1_step": Training(("policy=flow_shortcut",), {"flow_1_step": Way()}),
    "flow_moh": Training(("policy=flow_moh",), {"flow_moh": Way(), "flow_moh.execute_8": Way(8)}),
    "flow_horizon_4": Training(
        ("policy=flow_dit", "policy.horizon=4", "policy.n_action_steps=4"), {"flow_horizon_4": Way()}
    ),
    "flow_horizon_8": Training(
        ("policy=flow_dit", "policy.horizon=8"), {"flow_horizon_8": Way(), "flow_horizon_8.execute_4": Way(4)}
    ),
    "lerobot_diffusion": Training(
        (),
        {"lerobot_diffusion": Way(), "lerobot_diffusion.ddim_10": Way(folder="policy_ddim")},
        lerobot="diffusion",
    ),
    # with the others' 1e-3 its transformer, whose norms follow the layers, may not learn
    "lerobot_act": Training(
        ("train.learning_rate=3e-4",), {"lerobot_act": Way(), "lerobot_act.execute_16": Way(16)}, lerobot="act"
    ),
}


class Run(NamedTuple):
    """One training."""

    task: str
    training: str
    seed: int

    @property
    def folder(self) -> Path:
        """Where its training is kept."""
        return OUT / "runs" / f"{self.task}-{self.training}-seed{self.seed}"

    @property
    def record(self) -> Path:
        """Where its result is kept."""
        return RECORDS / "policies" / f"{self.folder.name}.json"

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        one = TRAININGS[self.training]
        return {
            "words": [*_words(one), f"task={self.task}", f"seed={self.seed}"],
            "policy": None if one.lerobot else _composed(one.words),
            "lerobot": one.lerobot,
            "demonstrations": DEMONSTRATIONS,
            "episodes": EPISODES,
        }


def _words(one: Training) -> tuple[str, ...]:
    budget = (f"train.steps={STEPS}", f"train.batch_size={BATCH_SIZE}", f"train.save_every={SAVE_EVERY}")
    return (*budget, "train.device=cpu", "train.threads=1", "train.tensorboard=false", *one.words)


def _composed(words: tuple[str, ...]) -> dict[str, Any]:
    """The policy's options by these words."""
    policy: dict[str, Any] = asdict(options("train", ("dataset=none", *words)).policy)
    return policy


def demonstrations(task: str) -> Path:
    """Collect a task's demonstrations unless they are there; return their folder."""
    out = OUT / "data" / task
    words = (f"task={task}", "expert=scripted", "expert.noise=0")
    collect(words, num_episodes=DEMONSTRATIONS, seed=0, out=out)
    return out


def finish(one: Run) -> tuple[Run, dict[str, Any]]:
    """Train, or go on training, and evaluate; return the run and its result.

    Raises:
        UserError: the folder is of a run with other settings.
    """
    from robolearn.commands.common import claim, save_result, use_one_thread

    if (result := kept(one)) is not None:
        return one, result
    use_one_thread()
    one.folder.mkdir(parents=True, exist_ok=True)
    claim(one.folder, one.settings)
    with told_to(one.folder / "log.txt"):
        trained = _train(one)
        outcomes = _evaluate(one)
    result = {
        "settings": one.settings,
        **origin(),
        "training": {key: trained[key] for key in ("seconds", "steps", "loss", "curve")},
        "outcomes": outcomes,
    }
    save_result(one.record, result)
    return one, result


def _train(one: Run) -> dict[str, Any]:
    from robolearn.commands.train import train
    from robolearn.compose import build, compose

    training = TRAININGS[one.training]
    data, out = OUT / "data" / one.task, one.folder / "training"
    config = build("train", compose("train", [*_words(training), f"dataset={data}"]))
    if training.lerobot is not None:
        return train_lerobot(training.lerobot, config.train, data, seed=one.seed, out=out)
    return train(config.policy, config.train, dataset=data, seed=one.seed, out=out)


def train_lerobot(kind: str, settings: Any, root: Path, *, seed: int, out: Path) -> dict[str, Any]:
    """Train LeRobot's policy with our trainer and loader; only its normalisation is its own, as it belongs to it."""
    import torch

    from robolearn.data.dataset import EpisodeDataset
    from robolearn.train.trainer import train

    data = EpisodeDataset.load(root)
    torch.manual_seed(seed)
    built = lerobot.make(_lerobot_config(kind, data), root)
    result = train(
        built.policy,
        _their_batches(built, data, batch_size=settings.batch_size, seed=seed),
        steps=settings.steps,
        out=out,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        ema_decay=settings.ema_decay,
        seed=seed,
        save_every=settings.save_every,
    )
    _save_lerobot(built, data, out / "policy")
    if kind == "diffusion":
        for name, value in lerobot.DDIM.items():
            setattr(built.policy.config, name, value)
        _save_lerobot(built, data, out / "policy_ddim")
    return result


def _lerobot_config(kind: str, data: EpisodeDataset) -> Any:
    if kind == "act":
        return lerobot.act_config(data.schema, horizon=HORIZON, n_action_steps=N_ACTION_STEPS)
    return lerobot.diffusion_config(
        data.schema,
        n_obs_steps=1,
        horizon=HORIZON,
        n_action_steps=N_ACTION_STEPS,
        do_mask_loss_for_padding=True,  # as ours does, for our loader leaves no frame of an episode's end out
    )


def _their_batches(built: lerobot.Built, data: EpisodeDataset, *, batch_size: int, seed: int) -> Any:
    """Our loader's windows, in physical units, through LeRobot's pre-processor."""
    from robolearn.train.feed import Host, to_tensors

    draw = data.windows(1, HORIZON).shuffled(batch_size, seed=seed)
    with_history = built.policy.config.observation_delta_indices is not None

    def batch_of(step: int) -> Host:
        batch = to_tensors(draw(step))
        if not with_history:
            batch = {key: x[:, 0] if key.startswith("observation.") else x for key, x in batch.items()}
        prepared = built.before(batch)
        return {key: prepared[key] for key in batch}

    return batch_of


def _save_lerobot(built: lerobot.Built, data: EpisodeDataset, folder: Path) -> None:
    """Write what LeRobot's trainer does, with the names of the channels beside it."""
    from robolearn.policies.serving import SCHEMA

    built.policy.save_pretrained(folder)
    built.before.save_pretrained(folder)
    built.after.save_pretrained(folder)
    data.schema.save(folder / SCHEMA)


def _evaluate(one: Run) -> dict[str, list[bool]]:
    from robolearn.commands.common import REPORT_SEED, evaluate, policy_actor
    from robolearn.commands.worlds import make_env
    from robolearn.compose import build, compose
    from robolearn.policies.serving import load_policy

    # one world for each episode: all plan at once, which is what takes the time
    words = [f"task={one.task}", f"env.num_envs={EPISODES}", "env.threads=1", "checkpoint=none"]
    config = build("eval", compose("eval", words))
    env = make_env(config.task, config.robot, config.env)
    outcomes = {}
    try:
        for name, way in TRAININGS[one.training].ways.items():
            policy = load_policy(one.folder / "training" / way.folder)
            if way.n_action_steps is not None:
                policy.n_action_steps, policy.consensus = way.n_action_steps, None
            episodes = evaluate(env, policy_actor(env, policy), first_seed=REPORT_SEED, episodes=EPISODES)
            outcomes[name] = [episode.success for episode in episodes]
    finally:
        env.close()
    return outcomes
