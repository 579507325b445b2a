"""The options of the other verbs."""

from __future__ import annotations

from dataclasses import dataclass, field

from robolearn.config.learning import FittingConfig, PPOConfig, TrainingConfig
from robolearn.config.online import ShapingConfig, TuningConfig
from robolearn.config.option import option
from robolearn.config.policies import PolicyConfig
from robolearn.config.rewards import AugmentConfig, RewardConfig
from robolearn.config.simulation import (
    EnvConfig,
    ExpertConfig,
    PrivilegeConfig,
    RandomizationConfig,
    RayConfig,
    RobotConfig,
    TaskConfig,
)
from robolearn.execution import Execution
from robolearn.imperfections import Imperfections
from robolearn.safety_settings import SafetySettings


@dataclass(kw_only=True)
class DeploymentConfig(Execution):
    """The control node."""

    control_rate: float = option("commands per second", low=1)
    inference_deadline: float = option("s into a control step until which its action is still used", low=0)
    chunk_timeout: float = option("s without a new chunk until the arm holds", low=0)
    stale_limit: float = option("age in s at which an observation is too old to act on", low=0)
    domain_id: int | None = option("ROS domain; null takes a free one", low=0, high=232)
    episodes: int = option("episodes to run", low=1)
    record: str = option("off; all: a recording per episode; incidents: around holds, faults, takeovers and failures")
    ring_seconds: float = option("s before an incident that its recording holds", low=0)
    record_after: float = option("s that a recording goes on after a stop or an incident", low=0)
    record_megabytes: float = option("size in MB, before compression, at which another recording goes on", low=1)
    safety: SafetySettings = field(default_factory=SafetySettings)


@dataclass(kw_only=True)
class ArmConfig:
    """The arm of env.backend=ros2."""

    simulated: bool = option("bring up a simulated arm; false is for an arm whose driver runs already")
    confirm: bool = option("ask a person before each episode, who arranges the scene; a simulated arm does it itself")
    domain_id: int | None = option("ROS domain; null: a free one, or ROS_DOMAIN_ID for a real arm", low=0, high=232)
    control_rate: float = option("commands per second", low=1)
    action_deadline: float = option("s into a control step until which its action is still executed", low=0)
    stale_limit: float = option("age in s at which an observation is too old: the arm stops, the episode ends", low=0)
    safety: SafetySettings = field(default_factory=SafetySettings)


@dataclass(kw_only=True)
class CollectConfig:
    """Collect demonstrations from an expert into a LeRobot v3 dataset."""

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    expert: ExpertConfig
    randomization: RandomizationConfig
    ray: RayConfig
    num_episodes: int = option("episodes to keep", low=1)
    success_only: bool = option("keep successful episodes only; else all")
    linger: int = option("control steps for which a success goes on, so that reward models learn what done is", low=0)
    workers: int = option("processes that simulate, each with env.num_envs worlds; the dataset is the same", low=1)
    launcher: str = option("who runs the workers: local, or ray for the machines of a Ray cluster")
    video: bool = option("store what env.cameras see as videos; else as PNG, without loss but larger")
    language: bool = option("write LeRobot's language columns too: what the robot is doing, said at each frame")
    seed: int = option("seed of the first episode", low=0)
    out: str = option("folder of the dataset")


@dataclass(kw_only=True)
class TrainConfig:
    """Train a policy on a dataset; task, robot and env say where it is evaluated if train.eval_every is given."""

    policy: PolicyConfig
    train: TrainingConfig
    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    dataset: str = option("folder of a LeRobot v3 dataset")
    observations: list[str] | None = option("channels that the policy reads; null means all that the dataset has")
    image_size: list[int] | None = option("[height, width] to which pictures are resized; null leaves them")
    seed: int = option("seed of weights and batches", low=0)
    out: str = option("folder of the checkpoint")


@dataclass(kw_only=True)
class TrainRewardConfig:
    """Train a reward model, which says how far a task is, on a dataset with stages."""

    reward: RewardConfig
    train: FittingConfig
    augment: AugmentConfig
    dataset: str = option("folder of a LeRobot v3 dataset; best with failures too (collect success_only=false)")
    observations: list[str] | None = option("channels that the model reads; null means all that the dataset has")
    image_size: list[int] | None = option("[height, width] to which pictures are resized; null leaves them")
    validation: float = option("share of the episodes that are kept for calibration", low=0.01, high=0.9)
    seed: int = option("seed of weights, batches and the choice of these episodes", low=0)
    out: str = option("folder of the checkpoint")


@dataclass(kw_only=True)
class FinetuneConfig:
    """Improve a trained policy by RL: online, in simulation or on an arm (env.backend=ros2), or from the dataset."""

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    algo: TuningConfig
    shaping: ShapingConfig
    ray: RayConfig
    arm: ArmConfig
    checkpoint: str = option("folder of the base policy")
    dataset: str | None = option("folder of the demonstrations; on-policy algorithms make no use of any: null")
    actors: int = option("processes that explore beside the learner, each in algo.num_envs worlds; 0: itself", low=0)
    launcher: str = option("who runs the actors: local for this machine, or ray for those of a Ray cluster")
    seed: int = option("seed of weights, batches and episodes", low=0)
    out: str = option("folder of the result")


@dataclass(kw_only=True)
class TeachConfig:
    """Train a teacher by PPO in simulation, with privileged actions that a curriculum takes away."""

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    ppo: PPOConfig
    privilege: PrivilegeConfig
    seed: int = option("seed of weights, noise and episodes", low=0)
    out: str = option("folder of the teacher")


@dataclass(kw_only=True)
class EvalConfig:
    """Measure the success rate of a policy in simulation, with its interval."""

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    ray: RayConfig
    checkpoint: str = option("folder of the policy")
    workers: int = option("processes that simulate, each with env.num_envs worlds", low=1)
    launcher: str = option("who runs the workers: local, or ray for the machines of a Ray cluster")
    episodes: int = option("episodes", low=1)
    seed: int = option("seed of the first episode; the same seeds make a paired comparison", low=0)
    phrasings: str = option("words told to the policy: seen, held_out (of no dataset) or shuffled (another episode's)")
    instruction: str | None = option("say this in every episode instead; null says what the scene asks for")
    candidates: int | None = option("chunks from which a critic chooses, where one does; null means as trained", low=1)
    out: str | None = option("folder of results and film strips; null only prints")
    video: bool = option("also write a video of the first successful and the first failed episode to `out`")


@dataclass(kw_only=True)
class ExportConfig:
    """Export a policy as a bundle (ONNX, schema, statistics) and check it against the policy."""

    task: TaskConfig
    robot: RobotConfig
    checkpoint: str = option("folder of the policy")
    out: str = option("folder of the bundle")
    rtc: bool = option("add the graph for real-time chunking with exact gradients, where the policy is a flow")
    monitor: str | None = option("folder of a recurrent reward model that watches the arm; by default none")


@dataclass(kw_only=True)
class DeployConfig:
    """Run a bundle on an arm through ROS 2; the simulated arm stands in where no other answers."""

    deploy: DeploymentConfig
    bundle: str = option("folder of the bundle")
    seed: int = option("seed of the first episode", low=0)
    out: str = option("folder of the log")


@dataclass(kw_only=True)
class SimArmConfig:
    """Play the arm's hardware: a MuJoCo arm that publishes and obeys ROS 2 topics."""

    task: TaskConfig
    robot: RobotConfig
    rate: float = option("joint states per second", low=1)
    domain_id: int | None = option("ROS domain; null takes ROS_DOMAIN_ID", low=0, high=232)
    seed: int = option("seed of the first episode", low=0)
    cameras: list[str] = option("cameras whose pictures are published at 30 Hz, e.g. [external,wrist]")
    image_size: int = option("width and height of their pictures in pixels", low=8)
    flaws: Imperfections = field(default_factory=Imperfections)


@dataclass(kw_only=True)
class BenchConfig:
    """Run a comparison and write its result file."""

    name: str = option("benchmark; `robolearn bench --list` names them")
    out: str | None = option("result file; null means benchmarks/results/<name>.json here")
    tasks: list[str] | None = option("of benchmarks with many runs: do those of these tasks only; null means all")
    seeds: list[int] | None = option("of the same: do those of these seeds only")
    policies: list[str] | None = option("of `policies`: do these trainings only")
    only: list[str] | None = option("of `rl`: do these problems only, e.g. [P1]")
    algorithms: list[str] | None = option("of `rl`, `rewards`, `rabc`: do these rows of their tables only")
    steps: int | None = option("of `rl`: control steps of a run, instead of the problem's", low=1)


@dataclass(kw_only=True)
class ViewConfig:
    """Look at a task: in a window where there is a display, else as a video and a film strip."""

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    expert: ExpertConfig
    actor: str = option("who acts: expert, random or hold")
    camera: str = option("camera of the video: external or wrist")
    window: bool = option("open a window where there is a display; false writes a video there too")
    episodes: int = option("episodes to draw; a window shows one after the other until it is closed", low=1)
    seed: int = option("seed of the first episode", low=0)
    out: str = option("folder of the video and the film strip")


@dataclass(kw_only=True)
class QuickstartConfig:
    """Do the whole job: simulate, learn, refine, export and control the arm through ROS 2."""

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    expert: ExpertConfig
    policy: PolicyConfig
    train: TrainingConfig
    algo: TuningConfig
    deploy: DeploymentConfig
    budget: str = option("full, or fast: toy budgets for a smoke test")
    num_demos: int = option("demonstrations to collect", low=1)
    eval_episodes: int = option("episodes of each evaluation", low=1)
    seed: int = option("seed of everything", low=0)
    out: str = option("folder of the runs")
    run: str | None = option("name of the run; null means <task>-seed<seed>")
    fresh: bool = option("begin anew instead of resuming")

    @property
    def fast(self) -> bool:
        """Whether the toy budgets of `--fast` are in force."""
        return self.budget == "fast"
