"""What `robolearn bench rl` compares: problems, each with its tasks, base policy, budget and algorithms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from robolearn.bench._pool import RECORDS
from robolearn.bench._verbs import options

if TYPE_CHECKING:
    from robolearn.bench._reward_runs import Run as RewardRun

SEEDS = (0, 1, 2)
EPISODES = 100  # of an evaluation: thirty mislead
STOP_AT = 0.98  # two evaluations in a row that end a run; the same for all
OUT = Path("outputs/bench/rl")


@dataclass(frozen=True)
class Base:
    """The policy that algorithms begin with.

    Attributes:
        demonstrations: successful episodes of the scripted expert that it learns from.
        noise: of the expert, as a share of the bounds of actions.
        name: of the policy.
        words: further options of `robolearn train`.
    """

    demonstrations: int
    noise: float
    name: str = "flow"
    words: tuple[str, ...] = ("policy=flow", "train.steps=2000")


@dataclass(frozen=True)
class Problem:
    """One comparison.

    Attributes:
        title: what it is about.
        bases: by task.
        budget: control steps of interaction.
        every: control steps between evaluations.
        algorithms: options of `robolearn finetune` of each row; the first is what the others are compared with.
        common: options of all rows.
        num_seeds: seeds of every task.
        others: bases, by algorithm, of those that cannot begin with the one of the rest.
        outside: options, by algorithm, of those that another library brings.
    """

    title: str
    bases: Mapping[str, Base]
    budget: int
    every: int
    algorithms: Mapping[str, tuple[str, ...]]
    common: tuple[str, ...] = ()
    num_seeds: int = 3
    others: Mapping[str, Base] = field(default_factory=dict)
    outside: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


LEARNED = "shaping.potential=sarm"  # stands for the folder of the reward model of `robolearn bench rewards`
ASSEMBLY, BOX_CLOSE = "metaworld_assembly", "metaworld_box_close"
NOISY = Base(10, 0.3)
# of the same demonstrations, with chunks as short as those for which on-policy tuning is published
CHUNK_4 = ("policy.horizon=4", "policy.n_action_steps=4")
NOISY_4 = replace(NOISY, name="flow-chunk4", words=(*NOISY.words, *CHUNK_4))
DIFFUSION_4 = replace(
    NOISY,
    name="diffusion-chunk4",
    words=("policy=diffusion", "policy.backbone=mlp", "train.steps=2000", *CHUNK_4),
)
FLOW = ("policy=flow", "train.steps=3000")
OWN, OWN_PRECISE = Base(50, 0.3, words=FLOW), Base(100, 0.2, words=FLOW)
# what a thread can do in a quarter of an hour, for everybody: half an update per control step, of two critics
SIZES = (
    "algo.num_envs=8",
    "algo.hidden=256",
    "algo.batch_size=256",
    "algo.num_critics=2",
    "algo.utd=0.5",
    "algo.gamma=0.99",
)
# published: an update of the actor for each step and four of ten critics; of these `SIZES` leaves half an update each
RESFIT = ("algo=resfit", "algo.actor_every=1")
# Stable-Baselines3's arguments; batches and updates per control step as `SIZES` has them
SAC_HER = {
    "learning_rate": 1e-3,
    "gamma": 0.95,
    "tau": 0.05,
    "batch_size": 256,
    "learning_starts": 1000,
    "steps_per_update": 2,
    "hidden": (256, 256, 256),
    "n_sampled_goal": 4,
}
PROBLEMS: dict[str, Problem] = {
    "P1": Problem(
        title="residual RL from ten noisy demonstrations, Meta-World",
        bases={ASSEMBLY: NOISY, BOX_CLOSE: NOISY},
        budget=200_000,
        every=10_000,
        common=SIZES,
        algorithms={
            "residual": ("algo=residual_free",),
            "rlpd": ("algo=rlpd",),
            "resfit": RESFIT,
            "policy_decorator": ("algo=policy_decorator",),
        },
    ),
    "P7": Problem(
        title="residual RL from noisy demonstrations, our tasks",
        bases={"pick_place": OWN, "stack": OWN, "peg_insert": OWN_PRECISE},
        budget=200_000,
        every=10_000,
        common=SIZES,
        algorithms={"residual": ("algo=residual",), "rlpd": ("algo=rlpd",)},
    ),
    "P7_on_policy": Problem(
        title="the same on-policy, in twenty times the steps, our tasks",
        bases={"stack": OWN},
        budget=2_400_000,
        every=100_000,
        num_seeds=1,
        algorithms={"ppo_residual": ("algo=ppo_residual",)},
    ),
    "P3": Problem(
        title="a frozen flow policy steered by its noise, Meta-World",
        bases={ASSEMBLY: NOISY},
        budget=200_000,
        every=10_000,
        algorithms={
            "noise_steering": ("algo=noise_steering",),
            "best_of_n": ("algo=chunked_td",),
            "fql": ("algo=fql",),
        },
    ),
    "P4": Problem(
        title="on-policy fine-tuning of the whole policy, Meta-World",
        bases={BOX_CLOSE: NOISY_4},
        budget=2_000_000,
        every=100_000,
        algorithms={
            "reinflow_4": ("algo=reinflow", "algo.denoising_steps=4"),
            "reinflow_1": ("algo=reinflow", "algo.denoising_steps=1"),
            "dppo": ("algo=dppo",),
            "ppo_residual": ("algo=ppo_residual",),
        },
        others={"dppo": DIFFUSION_4},
    ),
    "P6": Problem(
        title="residual RL from noisy demonstrations, robosuite",
        bases={"robosuite_lift": Base(10, 0.3), "robosuite_square": Base(20, 0.3)},
        budget=200_000,
        every=25_000,  # an evaluation takes up to 40 000 control steps of a slow simulation
        common=SIZES,
        num_seeds=1,
        algorithms={"residual": ("algo=residual",), "rlpd": ("algo=rlpd",)},
    ),
    "P5": Problem(
        title="residual RL from noisy demonstrations beside hindsight goals, Gymnasium-Robotics",
        bases={"fetch_pick_and_place": Base(20, 0.3)},
        budget=100_000,
        every=10_000,
        common=SIZES,
        num_seeds=1,
        algorithms={"residual": ("algo=residual",), "rlpd": ("algo=rlpd",), "sac_her": ()},
        outside={"sac_her": SAC_HER},
    ),
    "P2": Problem(
        title="residual RL on bases that seldom succeed, Meta-World",
        bases={"metaworld_stick_pull": NOISY, "metaworld_peg_insert_side": Base(20, 0.3)},
        budget=300_000,
        every=20_000,
        common=SIZES,
        num_seeds=1,
        algorithms={
            "residual": ("algo=residual",),
            "rlpd": ("algo=rlpd",),
            "resfit": RESFIT,
            "policy_decorator": ("algo=policy_decorator",),
            "ibrl": ("algo=ibrl",),
        },
    ),
    "shaping": Problem(
        title="what progress is worth to RL that is shown nothing, our easiest task",
        bases={"lift": OWN},
        budget=200_000,
        every=10_000,
        common=("algo=rlpd", "algo.demo_ratio=0", *SIZES),
        algorithms={
            "sparse": (),
            "shaped": (LEARNED,),
            "raw": (LEARNED, "shaping.kind=raw"),
            "shaped_by_simulator": ("shaping.potential=simulator",),
        },
    ),
    "ablation": Problem(
        title="what each part of the residual is worth",
        bases={"stack": OWN},
        budget=100_000,
        every=10_000,
        common=("algo=residual", *SIZES),
        num_seeds=2,
        algorithms={
            "residual": (),
            "no_demonstrations": ("algo.demo_ratio=0",),
            "no_layer_norm": ("algo.layer_norm=false",),
            "no_warm_up": ("algo.warmup_steps=0", "algo.critic_warmup_updates=0"),
            "no_q_normalisation": ("algo.normalise_q=false",),
            "no_penalty": ("algo.residual_penalty_start=0", "algo.residual_penalty_end=0"),
            "one_step": ("algo.n_step=1",),
            "twice_the_updates": ("algo.utd=1.0",),
        },
    ),
}


class Run(NamedTuple):
    """One training."""

    problem: str
    task: str
    algorithm: str
    seed: int
    budget: int

    @property
    def folder(self) -> Path:
        """Where its training is kept."""
        return OUT / "runs" / f"{self.problem}-{self.task}-{self.algorithm}-{self.budget}-seed{self.seed}"

    @property
    def record(self) -> Path:
        """Where its result is kept."""
        return RECORDS / "rl" / f"{self.folder.name}.json"

    @property
    def words(self) -> tuple[str, ...]:
        """Options of `robolearn finetune`."""
        problem = PROBLEMS[self.problem]
        return (
            f"task={self.task}",
            f"seed={self.seed}",
            *_in_order(problem.common, problem.algorithms[self.algorithm]),
            f"algo.total_steps={self.budget}",
            f"algo.eval_every={problem.every}",
            f"algo.eval_episodes={EPISODES}",
            f"algo.stop_at={STOP_AT}",
        )

    @property
    def outside(self) -> Mapping[str, Any] | None:
        """Options of an algorithm of another library; None for our own."""
        return PROBLEMS[self.problem].outside.get(self.algorithm)

    @property
    def estimator(self) -> RewardRun | None:
        """The reward model whose progress shapes its reward; None where none does."""
        if LEARNED not in self.words:
            return None
        from robolearn.bench._reward_runs import Run as RewardRun

        return RewardRun(self.task, "sarm", self.seed)

    @property
    def base(self) -> Base:
        """The policy that it begins with."""
        problem = PROBLEMS[self.problem]
        return problem.others.get(self.algorithm, problem.bases[self.task])

    @property
    def settings(self) -> dict[str, Any]:
        """What its result depends on."""
        base = {**asdict(self.base), "words": list(self.base.words)}
        if self.outside is not None:
            return {"task": self.task, "seed": self.seed, "budget": self.budget, "algo": self.outside, "base": base}
        learned = {} if self.estimator is None else {"estimator": self.estimator.settings}
        return {"words": list(self.words), "algo": _composed(self.words), "base": base, **learned}


def runs_of(problem: str, *, budget: int | None = None) -> list[Run]:
    """All runs of a problem, one seed after the other; `budget` replaces its own."""
    one = PROBLEMS[problem]
    steps = one.budget if budget is None else budget
    return [
        Run(problem, task, algorithm, seed, steps)
        for seed in SEEDS[: one.num_seeds]
        for task in one.bases
        for algorithm in one.algorithms
    ]


def _in_order(common: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """Options with those that choose an algorithm first; of two for the same key, the row's own one."""
    keys = {word.split("=")[0] for word in own}
    words = (*(word for word in common if word.split("=")[0] not in keys), *own)
    return tuple(sorted(words, key=lambda word: not word.startswith("algo=")))


def _composed(words: tuple[str, ...]) -> dict[str, Any]:
    """The algorithm's options by these words."""
    algo: dict[str, Any] = asdict(options("finetune", (*words, "checkpoint=none")).algo)
    return algo
