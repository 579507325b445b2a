"""Blocks on a Ray cluster of two nodes; workers and nodes may be lost."""

import os
import signal
from contextlib import closing
from itertools import count, islice
from pathlib import Path

import pytest
from launch_jobs import Broken, Squares, squares

from robolearn.cli import main
from robolearn.data.dataset import EpisodeDataset
from robolearn.errors import UserError
from robolearn.launch.launcher import Launcher

pytestmark = pytest.mark.slow
pytest.importorskip("ray")


@pytest.fixture(scope="module")
def cluster():
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))  # for the jobs of the tests
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
        made.add_node(num_cpus=2)
        made.wait_for_nodes()
        yield made
        made.shutdown()


def launcher(cluster, workers=2):
    return Launcher("ray", workers, cluster.address)


def ranges(number, size=2):
    return (range(k * size, (k + 1) * size) for k in range(number))


def test_both_nodes_work_and_results_keep_their_order(cluster):
    seen, nodes = [], set()
    with closing(launcher(cluster, workers=4).map(Squares(slow=0.05), ranges(2000))) as results:
        for result in results:
            seen.append(result)
            nodes.add(str(result["node"][0]))
            if len(nodes) == 2:
                break
    assert len(nodes) == 2  # four workers have no room on one
    assert squares(seen) == [k * k for k in range(2 * len(seen))]
    assert os.getpid() not in {int(result["pid"][0]) for result in seen}


def test_a_killed_worker_costs_only_its_block(cluster, tmp_path):
    results = list(launcher(cluster).map(Squares(deadly=str(tmp_path)), ranges(8)))
    assert (tmp_path / "mark").exists()
    assert squares(results) == [k * k for k in range(16)]


def test_workers_may_be_killed_between_blocks(cluster):
    results, seen = launcher(cluster).map(Squares(slow=0.1), ranges(12)), []
    for k, result in enumerate(results):
        seen.append(result)
        if k in (1, 4):
            os.kill(int(result["pid"][0]), signal.SIGKILL)
    assert squares(seen) == [k * k for k in range(24)]
    assert len({int(result["pid"][0]) for result in seen}) > 2


def test_a_block_that_kills_every_worker_is_given_up(cluster, tmp_path):
    with pytest.raises(RuntimeError, match=r"seeds range\(6, 8\) end every worker"):
        list(launcher(cluster).map(Squares(deadly=str(tmp_path), always_deadly=True), ranges(8)))


def test_the_error_of_a_block_is_raised_here(cluster):
    with pytest.raises(UserError) as error:
        list(launcher(cluster).map(Squares(wrong=3), ranges(4)))
    assert str(error.value) == "seed 3 is unlucky: take another"
    with pytest.raises(UserError, match="there is no such task"):
        list(launcher(cluster).map(Broken(), ranges(4)))


def test_workers_without_room_are_not_waited_for(cluster):
    results = list(launcher(cluster, workers=9).map(Squares(), ranges(12)))
    assert squares(results) == [k * k for k in range(24)]


def test_what_nobody_takes_is_not_computed(cluster):
    taken = []

    def endless():
        for k in count():
            taken.append(k)
            yield range(k, k + 1)

    with closing(launcher(cluster).map(Squares(), endless())) as results:
        assert squares(islice(results, 3)) == [0, 1, 4]
    assert len(taken) <= 3 + 2 * 2


def test_a_lost_node_costs_only_its_blocks(cluster):
    third = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    results, seen = launcher(cluster, workers=5).map(Squares(slow=0.3), ranges(20)), []
    for k, result in enumerate(results):
        seen.append(result)
        if k == 3:
            cluster.remove_node(third, allow_graceful=False)
    assert squares(seen) == [k * k for k in range(40)]


def test_a_collection_on_two_nodes_equals_that_of_one_process(cluster, tmp_path):
    words = ["num_episodes=6", "env.num_envs=1", "env.threads=1", "expert.noise=0.3", "seed=7"]
    assert main(["collect", *words, f"out={tmp_path / 'one'}"]) == 0
    ray = ["launcher=ray", f"ray.address={cluster.address}", "workers=4"]
    assert main(["collect", *words, *ray, f"out={tmp_path / 'two'}"]) == 0
    one, two = (EpisodeDataset.load(tmp_path / name) for name in ("one", "two"))
    assert one.columns == two.columns
    assert one.tasks == two.tasks
    for key, values in one.channels.items():
        assert values.tobytes() == two.channels[key].tobytes(), key
    assert (tmp_path / "one" / "collect.json").read_bytes() == (tmp_path / "two" / "collect.json").read_bytes()


def test_an_evaluation_on_two_nodes_equals_that_of_one_process(cluster, tmp_path):
    env = ["env.num_envs=2", "env.threads=1"]
    network = ["policy.hidden_dim=16", "policy.num_blocks=1", "policy.condition_dim=16", "train.steps=2"]
    assert main(["collect", "num_episodes=2", *env, "expert.noise=0", f"out={tmp_path / 'demos'}"]) == 0
    assert main(["train", f"dataset={tmp_path / 'demos'}", *network, f"out={tmp_path / 'policy'}"]) == 0
    words = [f"checkpoint={tmp_path / 'policy'}", "episodes=6", "task.max_episode_steps=8", *env]
    ray = ["launcher=ray", f"ray.address={cluster.address}", "workers=3"]
    for name, more in (("one", []), ("two", ray)):
        assert main(["eval", *words, *more, f"out={tmp_path / name}"]) == 0
    one, two = ((tmp_path / name / "episodes.json").read_bytes() for name in ("one", "two"))
    assert one == two


def test_a_cluster_of_this_machine_is_started_and_ended(cluster):
    import ray

    results = list(Launcher("ray", 2, "local").map(Squares(), ranges(4)))
    assert squares(results) == [k * k for k in range(8)]
    assert not ray.is_initialized()


def test_no_cluster_is_told(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    words = ["num_episodes=1", "env.num_envs=1", "launcher=ray", "ray.address=127.0.0.1:1"]
    assert main(["collect", *words, f"out={tmp_path / 'none'}"]) == 2
    assert "no Ray cluster answers at ray.address=127.0.0.1:1: start one with" in capsys.readouterr().err
