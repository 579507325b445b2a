"""Where `robolearn finetune` gets its episodes from: worlds in this process, or actors here or on a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from robolearn.commands.arm import ROS2, Arm
from robolearn.commands.common import load_base, use_one_thread
from robolearn.commands.shaping import Potential
from robolearn.commands.worlds import make_any_env
from robolearn.config import EnvConfig, FinetuneConfig, OffPolicyConfig, RobotConfig, TaskConfig, TuningConfig
from robolearn.errors import UserError
from robolearn.launch.job import Folder
from robolearn.launch.launcher import Launcher

if TYPE_CHECKING:
    from robolearn.policies.serving import TorchPolicy
    from robolearn.protocols import VecEnv
    from robolearn.rl.online import Algorithm, Source
    from robolearn.rl.units import Units

ALONE = Launcher(workers=0)  # no actors: who learns explores, too


@dataclass(frozen=True)
class Exploration:
    """Who explores where: all that a process needs to begin.

    Attributes:
        task, robot, env: the worlds, of which there are `algo.num_envs`.
        algo: the algorithm.
        checkpoint: of its base policy.
        seed: of its first weights.
        arm: in place of worlds.
        potential: that the worlds tell besides.
    """

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    algo: OffPolicyConfig
    checkpoint: Folder
    seed: int
    arm: Arm | None = None
    potential: Potential | None = None

    def worlds(self) -> VecEnv:
        """Make the worlds."""
        made: VecEnv
        if self.arm is not None:
            made = self.arm.open(self.task, self.robot)
        else:
            made = make_any_env(self.task, self.robot, self.env, num_envs=self.algo.num_envs)
        return made if self.potential is None else self.potential.on(made)

    @contextmanager
    def open(self) -> Iterator[tuple[VecEnv, Algorithm, Units]]:
        """See `robolearn.rl.remote.Recipe.open`."""
        use_one_thread()
        env = self.worlds()
        try:
            with self.checkpoint.here() as folder:
                policy = load_base(folder, env.schema)
            yield env, *make_algorithm(self.algo, policy, seed=self.seed)
        finally:
            env.close()


def make_algorithm(algo: TuningConfig, policy: TorchPolicy, *, seed: int) -> tuple[Algorithm, Units]:
    """The algorithm of a configuration on top of a policy, and its units."""
    from hydra.utils import get_class

    from robolearn.rl.units import Units

    units = Units(policy.normalizer, policy.schema)
    algorithm: Algorithm = get_class(algo._target_)(algo, policy=policy, units=units, seed=seed)
    return algorithm, units


def launcher_of(config: FinetuneConfig) -> Launcher:
    """Who explores.

    Raises:
        UserError: actors and their launcher do not fit each other, or the algorithm has no use for them.
    """
    launcher = Launcher(config.launcher, config.actors, config.ray.address, config.ray.cpus)
    if (config.actors or config.env.backend == ROS2) and not isinstance(config.algo, OffPolicyConfig):
        raise UserError(
            "actors and arms are for algorithms with a replay, e.g. algo=residual: leave actors, launcher and "
            "env.backend out"
        )
    if config.env.backend == ROS2:
        if config.actors > 1 or launcher.kind != "local":
            raise UserError("one actor moves an arm, from the computer that it hangs on: leave actors and launcher out")
        if config.env.cameras:
            raise UserError("an arm on ROS 2 gives no pictures yet: leave env.cameras out")
        return Launcher(workers=1)
    if launcher.kind != "local" and not config.actors:
        raise UserError(f"launcher={launcher.kind} has nothing to run: give actors=2, or leave launcher out")
    return launcher


@contextmanager
def exploring(
    exploration: Exploration, algorithm: Algorithm, units: Units, *, launcher: Launcher, seed: tuple[int, ...]
) -> Iterator[Source]:
    """Episodes of `algorithm`, the learner's, for the block.

    Args:
        exploration: what worlds and actors are made from.
        algorithm: whose weights act.
        units: normalisation.
        launcher: with as many actors as it has workers; without any, for worlds in this process.
        seed: of episodes and noise; resumed runs need another.
    """
    if not launcher.workers:
        from robolearn.rl.online import Local

        env = exploration.worlds()
        try:
            yield Local(env, algorithm, units, seed=seed)
        finally:
            env.close()
        return
    from robolearn.launch.processes import Processes
    from robolearn.rl.remote import ROUNDS, RemoteActors

    # actors fill the cores
    exploration = replace(exploration, env=replace(exploration.env, threads=1))
    with ExitStack() as stack:
        crew: Any = Processes
        if launcher.kind == "ray":
            from robolearn.launch.on_ray import connected

            crew = stack.enter_context(connected(launcher.address, room=launcher.workers * launcher.cpus))
        actors = RemoteActors(
            crew,
            exploration,
            algorithm,
            actors=launcher.workers,
            cpus=launcher.cpus,
            seed=seed,
            rounds=ROUNDS if exploration.arm is None else None,
        )
        stack.callback(actors.close)
        yield actors
