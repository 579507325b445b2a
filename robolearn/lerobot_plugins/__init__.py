"""What LeRobot's own commands find of this package: environment, policies and a simulated arm.

LeRobot imports every module here when a command gets `--env.discover_packages_path=robolearn.lerobot_plugins` (the
word before the first dot does not matter), and each registers what it has:

- `environment`: `--env.type=robolearn`, our tasks for `lerobot-train` and `lerobot-eval`;
- `policies`: `--policy.type=robolearn_flow` and `robolearn_diffusion`;
- `config_arm`: `--robot.type=robolearn_arm`, a simulated arm for `lerobot-rollout`.
"""
