"""The options of every verb: one dataclass each, from which types, limits and `--help` are taken.

The values live in `configs/*.yaml`. A field without a value there is one that the user must give.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def option(text: str, *, low: float | None = None, high: float | None = None) -> Any:
    """Field with the help text and the inclusive limits of its value."""
    return field(metadata={"help": text, "low": low, "high": high})


# ---------------------------------------------------------------- groups


@dataclass(kw_only=True)
class TaskConfig:
    """What is to be done, and how time is cut."""

    name: str = option("task of the simulator")
    action_space: str = option("ee_delta, ee_delta_6d or joint_delta")
    fps: int = option("control steps per second", low=1)
    max_episode_steps: int = option("control steps until an episode is truncated", low=1)
    timestep: float = option("physics step in s", low=1e-4, high=0.05)


@dataclass(kw_only=True)
class RobotConfig:
    """The arm."""

    name: str = option("robot description")


@dataclass(kw_only=True)
class EnvConfig:
    """The batch of simulated worlds."""

    num_envs: int = option("worlds stepped together", low=1)
    threads: int = option("threads of physics and cameras", low=1)
    backend: str = option("mujoco, warp or isaacgym; robosuite or gymnasium for tasks of theirs")
    device: str | None = option("of warp or isaacgym, e.g. cuda:0; null lets them choose")
    cameras: list[str] = option("cameras whose pictures are observed: external, wrist")
    image_size: int = option("width and height of their pictures in pixels", low=1)


@dataclass(kw_only=True)
class ExpertConfig:
    """Who demonstrates."""

    kind: str = option("expert that demonstrates")
    noise: float = option("deviation of the noise on its actions, as a share of their bounds", low=0)
    failure: str | None = option("how it fails on purpose: no_grasp, slip, translation, ... or mix; null does not")
    checkpoint: str | None = option("folder of the teacher, for kind=teacher: the `out` of `robolearn teach`")


@dataclass(kw_only=True)
class RandomizationConfig:
    """What every episode draws anew, uniformly from [low, high]; null leaves a thing as it is."""

    mass: list[float] | None = option("factor on the mass of objects")
    size: list[float] | None = option("factor on the size of objects")
    friction: list[float] | None = option("factor on all friction")
    joint_damping: list[float] | None = option("factor on the passive damping of the robot's joints")
    actuator_gain: list[float] | None = option("factor on stiffness and damping of the robot's servos")
    latency: list[int] | None = option("control steps by which actions come late")
    joint_noise: list[float] | None = option("deviation of the measured joint angles, rad")
    position_noise: list[float] | None = option("deviation of the measured positions of objects, m")
    rotation_noise: list[float] | None = option("deviation of the measured orientations of objects, rad")
    colour: list[float] | None = option("red, green and blue of bodies whose colour means nothing")
    camera_shift: list[float] | None = option("displacement of the cameras along their axes, m")
    camera_turn: list[float] | None = option("turn of the cameras about their axes, rad")
    light: list[float] | None = option("factor on the strength of the light")
    light_tilt: list[float] | None = option("angle by which the lamp stands elsewhere, rad")


@dataclass(kw_only=True)
class PolicyConfig:
    """What every policy has: `_target_` is called with this configuration."""

    _target_: str = option("builder of the policy")
    horizon: int = option("actions in a predicted chunk", low=1)
    n_action_steps: int = option("actions executed before re-planning", low=1)
    n_obs_steps: int = option("frames of history read", low=1)


@dataclass(kw_only=True)
class ChunkPolicyConfig(PolicyConfig):
    """What all policies have that sample action chunks, on state and image observations."""

    backbone: str = option("network: mlp, unet or dit")
    hidden_dim: int = option("width of the blocks of mlp and dit", low=1)
    num_blocks: int = option("blocks of mlp and dit", low=1)
    condition_dim: int = option("width of mlp's embedding of observation and time", low=1)
    num_heads: int = option("attention heads of dit", low=1)
    down_dims: list[int] = option("channels of unet, one for each of its resolutions")
    kernel_size: int = option("kernel of unet's convolutions, odd", low=1)
    n_groups: int = option("groups of unet's normalisation", low=1)
    diffusion_step_embed_dim: int = option("width of unet's embedding of time", low=2)
    use_film_scale_modulation: bool = option("whether unet's FiLM scales, besides shifting")
    vision: str = option("network for pictures: cnn, vit, resnet18 or resnet34")
    vision_dim: int = option("width of an encoded picture", low=1)
    crop_ratio: float = option("side of the crop that is encoded, as a share of the picture's", low=0, high=1)
    horizons: list[int] = option("lengths of a mixture of horizons, rising to horizon; [] for one. Needs dit")
    individual_weight: float = option("weight of the horizons' own losses", low=0)
    balance_weight: float = option("weight of the loss that keeps the gate from preferring few horizons", low=0)
    dynamic_horizon: bool = option("execute as many actions as the horizons agree on, not n_action_steps")
    consensus_ratio: float = option("disagreement that ends execution, relative to that of the first actions", low=0)
    consensus_steps: int = option("these first actions, which are always executed", low=1)
    consensus_horizons: int = option("horizons that must reach an action for it to be executed", low=1)
    num_inference_steps: int = option("steps from noise to actions", low=1)


@dataclass(kw_only=True)
class FlowConfig(ChunkPolicyConfig):
    """Flow-matching policy."""

    variant: str = option("rectified, or shortcut, which samples well in one step")
    sampler: str = option("of rectified flows: euler or heun")
    time_distribution: str = option("of the flow's time in training: beta or logit_normal")
    time_alpha: float = option("exponent of the beta distribution", low=0)
    shortcut_share: float = option("share of the samples that learn self-consistency of shortcuts", low=0, high=1)
    shortcut_steps: int = option("steps of the finest grid of shortcuts, a power of two", low=2)


@dataclass(kw_only=True)
class VLAConfig(FlowConfig):
    """Flow-matching policy that is told what to do in words."""

    max_words: int = option("words of an instruction that are read", low=1)
    max_pieces: int = option("ids of a word: its own, then those of its character n-grams", low=1)
    buckets: int = option("number of ids that words and n-grams are hashed to", low=1)
    ngram: int = option("characters of an n-gram", low=1)
    language_dim: int = option("width of the sentence encoder", low=1)
    language_blocks: int = option("its transformer blocks", low=1)
    language_heads: int = option("its attention heads", low=1)
    state_dim: int = option("width of the features of the state that the instruction moves", low=1)
    word_dropout: float = option("share of the words left out in training", low=0, high=0.9)
    piece_dropout: float = option("share of the ids left out in training", low=0, high=0.9)


@dataclass(kw_only=True)
class DiffusionConfig(ChunkPolicyConfig):
    """Diffusion policy: DDPM training, DDIM sampling."""

    num_train_timesteps: int = option("steps of the noise schedule", low=1)
    beta_schedule: str = option("squaredcos_cap_v2, linear or scaled_linear")
    beta_start: float = option("first beta of the linear schedules", low=0)
    beta_end: float = option("last beta of the linear schedules", low=0)
    prediction_type: str = option("what the network predicts: epsilon (the noise) or sample (the clean chunk)")
    clip_sample: bool = option("whether the sampler cuts each estimate of the clean chunk")
    clip_sample_range: float = option("where, in units of the action's half range", low=0)


@dataclass(kw_only=True)
class VlaFinetuneConfig(PolicyConfig):
    """One of LeRobot's vision-language-action policies, which goes on learning."""

    pretrained: str = option("the policy: a pretrained_model folder of LeRobot, or a name on the hub")
    vlm: str | None = option("folder of its language model's tokeniser and config.json; null finds or downloads it")
    train_expert_only: bool = option("freeze the vision-language model; only the action expert learns")
    freeze_vision_encoder: bool = option("freeze the vision encoder, which train_expert_only does too")
    lora_rank: int | None = option("rank of adapters in the action expert, all else frozen; null for none", low=1)
    lora_alpha: int = option("the adapters are added times lora_alpha / lora_rank", low=1)


@dataclass(kw_only=True)
class TrainingConfig:
    """Supervised learning."""

    steps: int = option("gradient steps", low=1)
    batch_size: int = option("samples per step", low=1)
    learning_rate: float = option("peak learning rate", low=0)
    warmup: int = option("steps of linear warm-up", low=0)
    weight_decay: float = option("AdamW's weight decay", low=0)
    ema_decay: float = option("decay of the averaged weights", low=0, high=1)
    save_every: int = option("steps between checkpoints", low=1)
    device: str = option("auto (a GPU where there is one), cpu, cuda, cuda:1, mps")
    threads: int = option("threads of a computation on the CPU", low=1)
    precision: str = option("fp32, or bf16 or fp16 for mixed precision")
    compile: bool = option("compile the policy with torch.compile")
    accumulate: int = option("parts into which a batch is cut to save memory; the result is the same", low=1)
    eval_every: int | None = option("steps between evaluations in simulation; null never", low=1)
    eval_episodes: int = option("episodes of an evaluation in simulation", low=1)
    tensorboard: bool | None = option("write logs to `tensorboard` in `out`; null where the package is installed")
    wandb: str | None = option("project of Weights & Biases to log to; null does not")


@dataclass(kw_only=True)
class InteractionConfig:
    """How long to learn in simulation; steps are control steps, summed over the worlds."""

    total_steps: int = option("control steps of interaction", low=1)
    eval_every: int = option("control steps between evaluations", low=1)
    eval_episodes: int = option("episodes of an evaluation while learning", low=1)
    stop_at: float | None = option("success rate in two evaluations that ends learning early; null never", low=0)


@dataclass(kw_only=True)
class AlgoConfig(InteractionConfig):
    """What every online RL algorithm on top of a policy has."""

    _target_: str = option("algorithm")


@dataclass(kw_only=True)
class ResidualConfig(AlgoConfig):
    """Residual off-policy RL on a frozen base policy."""

    num_envs: int = option("worlds stepped together", low=1)
    warmup_steps: int = option("control steps of base policy plus noise before learning", low=0)
    critic_warmup_updates: int = option("updates of the critics before the first of the actor", low=0)
    utd: float = option("critic updates per control step", low=0)
    batch_size: int = option("transitions per update", low=2)
    n_step: int = option("steps of the n-step return", low=1)
    gamma: float = option("discount per control step", low=0, high=1)
    tau: float = option("rate of the target networks", low=0, high=1)
    num_critics: int = option("critics, of which two random ones give the target", low=2)
    hidden: int = option("units of a layer", low=1)
    actor_lr: float = option("learning rate of the actor", low=0)
    critic_lr: float = option("learning rate of the critics", low=0)
    residual_scale: dict[str, float] = option(
        "largest residual as a share of the bounds, by component of the action; 'default' for the rest"
    )
    residual_penalty_start: float = option("weight of the squared residual at the beginning", low=0)
    residual_penalty_end: float = option("weight of the squared residual at the end", low=0)
    residual_penalty_steps: int = option("control steps over which that weight falls", low=1)
    target_noise: float = option("deviation of the noise on the target's action, normalised units", low=0)
    actor_every: int = option("critic updates per actor update", low=1)
    exploration_noise: float = option("deviation of the noise on actions, normalised units", low=0)
    demo_ratio: float = option("share of a batch that comes from demonstrations", low=0, high=1)


@dataclass(kw_only=True)
class PPOConfig(InteractionConfig):
    """Proximal policy optimisation of a teacher in simulation."""

    num_envs: int = option("worlds stepped together", low=1)
    rollout_steps: int = option("decisions of each world between updates", low=1)
    action_repeat: int = option("control steps for which a decision holds", low=1)
    epochs: int = option("passes over a rollout", low=1)
    minibatches: int = option("minibatches of a pass", low=1)
    gamma: float = option("discount per decision", low=0, high=1)
    gae_lambda: float = option("lambda of the generalised advantage estimate", low=0, high=1)
    clip: float = option("how far the ratio of densities may leave 1", low=0)
    learning_rate: float = option("first learning rate; it then follows target_kl", low=0)
    target_kl: float = option("divergence that a minibatch's step aims at", low=0)
    value_weight: float = option("weight of the critic's loss", low=0)
    entropy_weight: float = option("weight of the entropy", low=0)
    max_grad_norm: float = option("largest norm of a gradient", low=0)
    hidden: int = option("units of a layer", low=1)
    initial_std: float = option("first deviation of actions, as a share of their bounds", low=0)
    final_std: float = option("largest deviation of actions at the end", low=0)
    std_decay: float = option("last share of the training, over which it falls to the final one", low=0.01, high=1)
    reward: str = option("stages: 1/K for each of K stages; dense: what progress gains; sparse: success alone")


@dataclass(kw_only=True)
class DeploymentConfig:
    """The control node."""

    control_rate: float = option("commands per second", low=1)
    inference_deadline: float = option("s into a control step until which its action is still used", low=0)
    chunk_timeout: float = option("s without a new chunk until the arm holds", low=0)
    stale_limit: float = option("age in s at which an observation is too old to act on", low=0)
    domain_id: int | None = option("ROS domain; null takes a free one", low=0, high=232)
    episodes: int = option("episodes to run", low=1)


@dataclass(kw_only=True)
class PrivilegeConfig:
    """What only the simulator permits a learner, and the curriculum that takes it away."""

    enabled: bool = option("whether there is any privilege")
    force: float = option("largest virtual force on an object, as a multiple of its weight", low=0)
    torque: float = option("largest virtual torque, as a share of what that force makes at its radius", low=0)
    reach: float = option("distance in m between tool and object up to which it acts", low=0)
    damping: float = option("damping of the objects' motion at level 1, 1/s", low=0)
    friction: float = option("friction of everything but the arm at level 1, as a share of the nominal", low=0, high=1)
    margin: float = option("distance in m at which finger pads begin to touch at level 1", low=0)
    speed: float = option("joint and gripper speed at level 1, as a multiple of the robot's", low=1)
    joint_slack: float = option("widening of the joint limits at level 1, rad", low=0)
    effort_penalty: float = option("reward lost per control step at the largest wrench and level 1", low=0)
    level: float = option("first level", low=0, high=1)
    step: float = option("change of the level", low=0, high=1)
    lower_at: float = option("success rate at the level from which it is lowered", low=0, high=1)
    raise_at: float = option("success rate below which it is raised again", low=0, high=1)
    window: int = option("episodes at the level over which success is counted", low=1)
    below_share: float = option("share of the episodes at levels drawn from 0 to the present one", low=0, high=1)


@dataclass(kw_only=True)
class RayConfig:
    """The cluster of launcher=ray."""

    address: str = option("auto: the running cluster; local: a new one on this machine; or HOST:PORT")
    cpus: float = option("CPUs that each worker reserves", low=0)


# ---------------------------------------------------------------- verbs


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
class FinetuneConfig:
    """Improve a trained policy by online RL in simulation."""

    task: TaskConfig
    robot: RobotConfig
    env: EnvConfig
    algo: AlgoConfig
    checkpoint: str = option("folder of the base policy")
    dataset: str = option("folder of the demonstrations")
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
    out: str | None = option("folder of results and film strips; null only prints")
    video: bool = option("also write a video of the first successful and the first failed episode to `out`")


@dataclass(kw_only=True)
class ExportConfig:
    """Export a policy as a bundle (ONNX, schema, statistics) and check it against the policy."""

    task: TaskConfig
    robot: RobotConfig
    checkpoint: str = option("folder of the policy")
    out: str = option("folder of the bundle")


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


@dataclass(kw_only=True)
class BenchConfig:
    """Run a comparison and write its result file."""

    name: str = option("benchmark; `robolearn bench --list` names them")
    out: str | None = option("result file; null means benchmarks/results/<name>.json here")
    tasks: list[str] | None = option("of `policies`: do the runs of these tasks only; null means all")
    seeds: list[int] | None = option("of `policies`: do the runs of these seeds only")
    policies: list[str] | None = option("of `policies`: do these trainings only")


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
    algo: AlgoConfig
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


@dataclass(kw_only=True)
class DataInfoConfig:
    """Say what is in a dataset: episodes, channels, instructions, success, size."""

    dataset: str = option("folder of a LeRobot v3 dataset")


@dataclass(kw_only=True)
class DataCheckConfig:
    """Look for faults in a dataset, also in one that nothing else opens; status 1 if there are any."""

    dataset: str = option("folder of a LeRobot v3 dataset")
    min_seconds: float = option("shorter episodes are faults", low=0)
    jump: float = option("a step so many times larger than 99.5 % of the steps of its component is named", low=1)
    strict: bool = option("hints count as faults: jumps, channels that never change")


@dataclass(kw_only=True)
class DataViewConfig:
    """Write an HTML page of a dataset: film strips, channel plots, stages, histograms."""

    dataset: str = option("folder of a LeRobot v3 dataset")
    out: str | None = option("the page; null means <dataset>.html beside the dataset")
    episodes: int = option("episodes shown, spread evenly over the dataset", low=1)
    only: list[int] | None = option("numbers of the episodes to show instead")
    strips: bool = option("draw film strips; simulated episodes without pictures are simulated again for them")


@dataclass(kw_only=True)
class DataMergeConfig:
    """Put several datasets of the same schema into one."""

    datasets: list[str] = option("folders of LeRobot v3 datasets, in order")
    out: str = option("folder of the new dataset")


@dataclass(kw_only=True)
class DataSplitConfig:
    """Split a dataset in two: by a share, a list of episodes, or what a column says."""

    dataset: str = option("folder of a LeRobot v3 dataset")
    share: float | None = option("share of the episodes in the first part, drawn at random", low=0, high=1)
    episodes: list[str] | None = option("episodes of the first part: numbers, and ranges such as 10-19")
    column: str | None = option("column that decides, e.g. success, failure, task; the first part has the value")
    value: str | None = option("its value, e.g. true")
    names: list[str] = option("names of the two parts")
    seed: int = option("seed of the draw", low=0)
    out: str = option("folder of both parts")


@dataclass(kw_only=True)
class DataImportConfig:
    """Import recordings into a dataset: robomimic HDF5, LeRobot v3 with other names, rosbag2."""

    source: str = option("HDF5 file, folder of a LeRobot v3 dataset, or rosbag2 folder (or a folder of several)")
    format: str | None = option("hdf5, lerobot or rosbag; null finds out")
    contract: str | None = option("YAML file that says what becomes which channel; rosbag needs one")
    task: str | None = option("instruction; null takes what the source or the contract says")
    video: bool = option("store pictures as videos, else as PNG files in the data")
    out: str = option("folder of the new dataset")


VERBS: dict[str, type] = {
    "quickstart": QuickstartConfig,
    "collect": CollectConfig,
    "train": TrainConfig,
    "teach": TeachConfig,
    "finetune": FinetuneConfig,
    "eval": EvalConfig,
    "export": ExportConfig,
    "deploy": DeployConfig,
    "sim-arm": SimArmConfig,
    "view": ViewConfig,
    "data info": DataInfoConfig,
    "data check": DataCheckConfig,
    "data view": DataViewConfig,
    "data merge": DataMergeConfig,
    "data split": DataSplitConfig,
    "data import": DataImportConfig,
    "bench": BenchConfig,
}
# types of group options that add fields to their group's own
VARIANTS: dict[str, type] = {
    "diffusion": DiffusionConfig,
    "flow": FlowConfig,
    "residual": ResidualConfig,
    "vla": VLAConfig,
    "vla_finetune": VlaFinetuneConfig,
}
