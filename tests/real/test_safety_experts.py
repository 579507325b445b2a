"""The safety filter in front of simulated arms: what the scripted experts do passes unchanged, and they succeed."""

import numpy as np
import pytest

from robolearn.eval.rollout import run_episodes
from robolearn.real.collision import CollisionCheck
from robolearn.real.safety import Limits, SafetyFilter
from robolearn.real.workspace import Workspace
from robolearn.safety_settings import SafetySettings
from robolearn.sim.backends.mujoco import MujocoVecEnv
from robolearn.sim.collision import collision_model
from robolearn.sim.experts.scripted import ScriptedExpert

EPISODES = 3
PERIOD = 0.005  # s, the simulator's
SAFETY = SafetySettings()
PANDA_TASKS = ("lift", "pick_place", "stack", "edge_grasp", "push", "drawer_place", "peg_insert", "wall_pivot", "sort")
PAIRS = [(task, "panda") for task in PANDA_TASKS]
PAIRS += [("lift", "ur5e"), ("edge_grasp", "ur5e"), ("push", "ur5e"), ("lift", "so101")]


@pytest.mark.parametrize(("task", "name"), PAIRS)
def test_no_expert_is_ever_held_back(task, name):
    """The commands of each physics step go through a filter with everything on, and what comes out is executed."""
    env = MujocoVecEnv(task, name, num_envs=EPISODES, timestep=PERIOD, autoreset=False)
    robot, follow_step = env.worlds.robot, env.worlds.follow_step
    text, box = collision_model(robot), Workspace(robot, margin=SAFETY.workspace_margin)
    limits = Limits.of(robot, period=PERIOD)
    filters = [
        SafetyFilter(limits, box=box, collisions=CollisionCheck(text, robot=robot, safety=SAFETY))
        for _ in range(EPISODES)
    ]
    for filtered in filters:
        filtered.reset(np.array((*robot.home, 0.0)))
    off = 0.0

    def through_filters(path):
        nonlocal off
        given = np.empty_like(path)
        for i, filtered in enumerate(filters):
            if np.abs(filtered.position - env._sent[i]).max() > 1e-6:  # an episode begins
                filtered.reset(env._sent[i])
            given[i] = [filtered.follow(position) for position in path[i]]
            assert filtered.danger == ""
        off = max(off, np.abs(given - path).max())
        return follow_step(given)

    env.worlds.follow_step = through_filters
    episodes = run_episodes(env, ScriptedExpert(task, env.schema, EPISODES), range(EPISODES))
    env.close()
    assert off < 1e-9
    assert sum(filtered.refused + filtered.limited for filtered in filters) == 0
    assert all(episode.success for episode in episodes)
