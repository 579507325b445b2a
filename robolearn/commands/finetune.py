"""`robolearn finetune`: improve a trained policy by RL, in simulation, on an arm or from a dataset."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robolearn.commands.actors import ALONE, Exploration, exploring, launcher_of, make_algorithm
from robolearn.commands.arm import ROS2, arm_schema, running_arm
from robolearn.commands.common import (
    SELECT_SEED,
    claim,
    console,
    evaluate,
    load_base,
    policy_actor,
    policy_folder,
    progress,
    success_rate,
    use_one_thread,
)
from robolearn.commands.demonstrations import episodes_of, load_demonstrations, require_memory
from robolearn.commands.shaping import UNSHAPED, Potential, potential_of
from robolearn.commands.worlds import make_any_env
from robolearn.config import (
    AlgoConfig,
    ArmConfig,
    EnvConfig,
    FinetuneConfig,
    OfflineConfig,
    OffPolicyConfig,
    OnPolicyConfig,
    RobotConfig,
    ShapingConfig,
    TaskConfig,
    TuningConfig,
)
from robolearn.errors import UserError
from robolearn.launch.launcher import Launcher

if TYPE_CHECKING:
    from robolearn.acting import Acting
    from robolearn.data.replay import Trajectory
    from robolearn.policies.serving import TorchPolicy
    from robolearn.protocols import VecEnv
    from robolearn.rl.online import Algorithm, Trainer
    from robolearn.rl.units import Units
    from robolearn.schema import Schema

EXTENDABLE = ("total_steps", "stop_at", "updates")


def run(config: FinetuneConfig) -> None:
    """Fine-tune, and say what was written."""
    curve = finetune(
        config.task,
        config.robot,
        config.env,
        config.algo,
        checkpoint=Path(config.checkpoint),
        dataset=None if config.dataset is None else Path(config.dataset),
        seed=config.seed,
        out=Path(config.out),
        launcher=launcher_of(config),
        arm=config.arm if config.env.backend == ROS2 else None,
        shaping=config.shaping,
    )
    best = max(point["success"] for point in curve)
    told = f"best success {best:.2f} within {curve[-1]['steps']:.0f} control steps"
    if isinstance(config.algo, OfflineConfig):
        told = f"success {curve[-1]['success']:.2f} after {config.algo.updates} updates without control steps"
    console.print(f"{told}; policy in {config.out}/policy")


def finetune(
    task: TaskConfig,
    robot: RobotConfig,
    env_config: EnvConfig,
    algo: TuningConfig,
    *,
    checkpoint: Path,
    dataset: Path | None,
    seed: int,
    out: Path,
    launcher: Launcher = ALONE,
    arm: ArmConfig | None = None,
    shaping: ShapingConfig = UNSHAPED,
) -> list[dict[str, float]]:
    """Run the algorithm on top of the policy in `checkpoint` and save both in `out / "policy"`; resumes from `out`.

    `launcher` says who explores: as many actors as it has workers, or worlds in this process. With an `arm` an actor
    explores there instead, and nobody evaluates: what counts is the success of the newest exploring episodes. What
    `shaping` adds to the reward changes neither what is evaluated nor what is written.

    Returns:
        The learning curve: control steps and success rate, on seeds kept for choosing when to stop.
    """
    from robolearn.rl.refinement import refinement_kind

    use_one_thread()
    assert isinstance(algo, AlgoConfig | OfflineConfig)
    potential = potential_of(shaping, task=task, env=env_config, algo=algo, launcher=launcher)
    judge: Judge
    if arm is None:
        judge = _Judge(make_any_env(task, robot, env_config), algo.eval_episodes)
    else:
        judge = _Exploring(arm_schema(task, robot))
    policy = load_base(checkpoint, judge.schema)
    if refinement_kind(policy_folder(checkpoint)) is not None:
        raise UserError(f"{checkpoint} is fine-tuned already: give its base policy; the same `out` goes on with a run")
    kept = {key: value for key, value in asdict(algo).items() if key not in EXTENDABLE}
    added = None if potential is None else asdict(shaping)
    claim(out, {"algo": kept, "checkpoint": str(checkpoint), "dataset": str(dataset), "seed": seed, "shaping": added})
    judge.require_fit(policy)
    if potential is not None:
        potential.require_fit(judge.schema)
    algorithm, units = make_algorithm(algo, policy, seed=seed)
    if isinstance(algo, OnPolicyConfig):
        worlds: VecEnv = make_any_env(task, robot, env_config, num_envs=algo.num_envs)
        worlds = worlds if potential is None else potential.on(worlds)
        curve = _learn_on_policy(algorithm, units, worlds, algo, judge, potential, seed=seed, out=out)
        worlds.close()
    elif isinstance(algo, OfflineConfig):
        shown = _demonstrations(algorithm, policy, units, dataset, seed=seed)
        curve = _learn_offline(algorithm, algo, shown, judge, seed=seed, out=out)
    else:
        assert isinstance(algo, OffPolicyConfig)
        own = min(algo.replay_steps, algo.total_steps)
        shown = _demonstrations(algorithm, policy, units, dataset, potential, seed=seed, kept=own)
        base = launcher.folder(policy_folder(checkpoint))
        exploration = Exploration(task, robot, env_config, algo, base, seed, potential=potential)
        with ExitStack() as stack:
            if arm is not None:
                there = stack.enter_context(running_arm(arm, task, robot, log=out / "log" / "arm.txt"))
                exploration = replace(exploration, arm=there)
            curve = _learn_online(algorithm, units, exploration, algo, shown, judge, launcher=launcher, out=out)
    shutil.copytree(policy_folder(checkpoint), out / "policy", dirs_exist_ok=True)
    policy.schema.save(out / "policy" / "schema.json")  # LeRobot's trainer keeps none
    algorithm.save(out / "policy")
    judge.close()
    return curve


class _Judge:
    """Success rate of who acts, on seeds kept for that; `last` is the newest."""

    def __init__(self, env: VecEnv, episodes: int) -> None:
        self.env, self.schema, self.episodes, self.last = env, env.schema, episodes, 0.0

    def __call__(self, acting: Acting) -> float:
        actor = policy_actor(self.env, acting.policy, acting.correction)
        self.last = success_rate(evaluate(self.env, actor, first_seed=SELECT_SEED, episodes=self.episodes)).rate
        return self.last

    def require_fit(self, policy: TorchPolicy) -> None:
        """Say which channel of a policy does not fit."""
        policy_actor(self.env, policy)

    def explored(self, recent: float) -> None:
        """Success while exploring does not count."""

    def close(self) -> None:
        self.env.close()


class _Exploring:
    """Success rate of the newest exploring episodes, on an arm that has no time for others; `last` is the newest."""

    def __init__(self, schema: Schema) -> None:
        self.schema, self.last = schema, 0.0

    def __call__(self, acting: Acting) -> float:
        return self.last

    def require_fit(self, policy: TorchPolicy) -> None:
        """Say which channel of a policy does not fit."""
        policy.schema.require_same(self.schema.select(policy.schema), what="the arm")

    def explored(self, recent: float) -> None:
        """Take the success rate of the last episodes."""
        self.last = recent

    def close(self) -> None:
        """There is nothing to close."""


type Judge = _Judge | _Exploring


def _demonstrations(
    algorithm: Algorithm,
    policy: TorchPolicy,
    units: Units,
    dataset: Path | None,
    potential: Potential | None = None,
    *,
    seed: int,
    kept: int = 0,
) -> list[Trajectory]:
    """Those of a dataset, beside so many control steps of the algorithm's own."""
    from robolearn.rl.experience import relabelled
    from robolearn.rl.online import completion

    if dataset is None:
        raise UserError("the algorithm learns from demonstrations too: give dataset=FOLDER, or an on-policy algorithm")
    data = load_demonstrations(dataset, policy.schema)
    require_memory(policy.schema, shown=data.num_frames, kept=kept)
    return relabelled(
        episodes_of(data) if potential is None else potential.told(data),
        policy,
        units,
        seed=seed,
        successes=data.columns.get("success"),
        reads=completion(algorithm) is not None,
    )


@contextmanager
def _shown(trainer: Trainer[Any, Any], judge: Judge) -> Iterator[Callable[[int, float, dict[str, float]], None]]:
    """A bar of control steps and success, as `run` of an online trainer takes it."""
    with progress("fine-tune", trainer.config.total_steps) as advance:
        advance(trainer.clock.steps)
        before = trainer.clock.steps
        if trainer.curve:
            judge.last = trainer.curve[-1]["success"]

        def on_progress(steps: int, recent: float, _: dict[str, float]) -> None:
            nonlocal before
            judge.explored(recent)
            advance(steps - before, f"success {judge.last:.2f}, exploring {recent:.2f}")
            before = steps

        yield on_progress


def _learn_on_policy(
    algorithm: Any,
    units: Units,
    worlds: VecEnv,
    algo: OnPolicyConfig,
    judge: Judge,
    potential: Potential | None,
    *,
    seed: int,
    out: Path,
) -> list[dict[str, float]]:
    from robolearn.rl.on_policy import OnPolicyTrainer

    added = None if potential is None else potential.shaping
    trainer = OnPolicyTrainer(algorithm, algo, seed=seed, out=out, shaping=added)
    with _shown(trainer, judge) as on_progress:
        return trainer.run(trainer.source(worlds, units), evaluate=judge, on_progress=on_progress)


def _learn_online(
    algorithm: Algorithm,
    units: Units,
    exploration: Exploration,
    algo: OffPolicyConfig,
    demonstrations: list[Trajectory],
    judge: Judge,
    *,
    launcher: Launcher,
    out: Path,
) -> list[dict[str, float]]:
    from robolearn.rl.online import OnlineTrainer

    added = None if exploration.potential is None else exploration.potential.shaping
    trainer = OnlineTrainer(algorithm, algo, seed=exploration.seed, out=out, shaping=added)
    with (
        exploring(exploration, algorithm, units, launcher=launcher, seed=trainer.seed) as source,
        _shown(trainer, judge) as on_progress,
    ):
        return trainer.run(source, demonstrations, evaluate=judge, on_progress=on_progress)


def _learn_offline(
    algorithm: Algorithm,
    algo: OfflineConfig,
    demonstrations: list[Trajectory],
    judge: Judge,
    *,
    seed: int,
    out: Path,
) -> list[dict[str, float]]:
    from robolearn.rl.offline import OfflineTrainer

    trainer = OfflineTrainer(algorithm, algo, seed=seed, out=out)
    with progress("fine-tune", algo.updates) as advance:
        advance(trainer.clock.updates)
        return trainer.run(
            demonstrations, evaluate=judge, on_progress=lambda _: advance(1, f"success {judge.last:.2f}")
        )
