"""Options of the command line that make its verbs small enough for tests."""

ENV = ("env.num_envs=2", "env.threads=1")
POLICY = ("policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16")
# fine-tuning that learns off-policy: two evaluations after the first
SIZES = ("algo.eval_episodes=2", "algo.batch_size=16", "algo.hidden=16")
ONLINE = (
    "algo.num_envs=2",
    "algo.total_steps=64",
    "algo.eval_every=32",
    "algo.warmup_steps=16",
    "algo.critic_warmup_updates=4",
    "algo.stop_at=null",
)
ALGO = (*ONLINE, *SIZES)
# the same on LeRobot's checkpoints, whose networks take longer
LEROBOT_SHORT = (*ENV, "task.max_episode_steps=6")
LEROBOT_ALGO = (
    "algo.num_envs=2",
    "algo.total_steps=48",
    "algo.eval_every=24",
    "algo.eval_episodes=2",
    "algo.warmup_steps=16",
    "algo.critic_warmup_updates=2",
    "algo.batch_size=8",
    "algo.hidden=16",
)
