"""Learning from two cameras, for `robolearn bench images` and `robolearn bench language`: data, policy, evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robolearn.eval.metrics import SuccessRate

STATE = "observation.state"
CAMERAS = ("observation.images.external", "observation.images.wrist")


@dataclass(frozen=True)
class Plan:
    """What is learned, and how.

    Attributes:
        task: name.
        policy: name of its configuration.
        demonstrations: successful episodes of the script.
        noise: of the script, so that it also shows how to recover.
        steps: updates of the policy.
        batch_size: windows of an update.
        n_action_steps: actions executed of a chunk; fewer let the policy look again before the fingers close.
        episodes: of an evaluation.
        folder: where data and policy are kept.
    """

    task: str
    policy: str
    demonstrations: int
    noise: float
    steps: int
    batch_size: int
    n_action_steps: int
    episodes: int
    folder: Path

    def __str__(self) -> str:
        return (
            f"{self.demonstrations} demonstrations of {self.task}, {self.steps:,} steps of policy={self.policy} with "
            f"batches of {self.batch_size}"
        )


def learn(plan: Plan, progress: Callable[[str], None]) -> dict[str, Any]:
    """Collect and train, or go on with what is in the folder; return what `robolearn.train.trainer.train` does.

    The policy sees pictures and the arm's own state, never the poses of objects.
    """
    from robolearn.commands.attempts import Scenario
    from robolearn.commands.collect import collect
    from robolearn.commands.common import use_one_thread
    from robolearn.commands.train import train
    from robolearn.compose import build, compose

    use_one_thread()
    data = plan.folder / "data"
    words = [f"task={plan.task}", "env=images", "env.threads=1", "expert=scripted", f"expert.noise={plan.noise}"]
    config = build("collect", compose("collect", words))
    scenario = Scenario(config.task, config.robot, config.env, config.expert)
    progress(str(plan))
    collect(scenario, num_episodes=plan.demonstrations, seed=0, out=data)
    words = [f"policy={plan.policy}", f"train.steps={plan.steps}", f"train.batch_size={plan.batch_size}"]
    words += ["train.device=cpu", "train.threads=1", "train.save_every=500", "train.tensorboard=false"]
    config = build("train", compose("train", [*words, f"dataset={data}"]))
    out = plan.folder / "training"
    return train(config.policy, config.train, dataset=data, seed=0, out=out, observations=(STATE, *CAMERAS))


def judge(plan: Plan, *, phrasings: str = "seen", n_action_steps: int | None = None) -> SuccessRate:
    """Success of the policy on seeds that no training saw, told what to do in these phrasings.

    `n_action_steps` of each chunk are executed, the plan's number when None.
    """
    from robolearn.commands.common import REPORT_SEED, evaluate, policy_actor, success_rate
    from robolearn.commands.worlds import make_env
    from robolearn.compose import build, compose
    from robolearn.eval.instructions import teller
    from robolearn.policies.serving import load_policy

    config = build("eval", compose("eval", [f"task={plan.task}", "env=images", "env.threads=1", "checkpoint=none"]))
    env = make_env(config.task, config.robot, config.env)
    try:
        policy = load_policy(plan.folder / "training" / "policy")
        policy.n_action_steps = plan.n_action_steps if n_action_steps is None else n_action_steps
        actor = policy_actor(env, policy)
        tell = teller(phrasings, seen=env.task.instructions, held_out=env.task.held_out)
        return success_rate(evaluate(env, actor, first_seed=REPORT_SEED, episodes=plan.episodes, tell=tell))
    finally:
        env.close()
