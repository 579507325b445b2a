"""`robolearn collect` with cameras, and with sentences."""

import io
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from killing import collect_two_episodes
from PIL import Image

from robolearn.cli import main
from robolearn.commands.worlds import make_env
from robolearn.compose import build, compose
from robolearn.data import layout
from robolearn.data.dataset import EpisodeDataset
from robolearn.sim.tasks.lift import LIFT

CAMERAS = ("external", "wrist")
KEYS = tuple(f"observation.images.{name}" for name in CAMERAS)
TOY = ("env.cameras=[external,wrist]", "env.image_size=20", "env.num_envs=2", "env.threads=1", "seed=7")


def collect(out, *words, num_episodes=3):
    return main(["collect", *TOY, f"num_episodes={num_episodes}", f"out={out}", *words])


def same(a, b):
    """All files of two datasets; those of parquet as tables."""
    names = [sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()) for root in (a, b)]
    assert names[0] == names[1]
    assert sum(name.endswith(".mp4") for name in names[0]) == 3 * len(CAMERAS)
    for name in names[0]:
        if name.endswith(".parquet"):
            assert pq.read_table(a / name).equals(pq.read_table(b / name)), name
        elif not name.endswith("stats.json"):  # equal up to rounding where a run was interrupted
            assert (a / name).read_bytes() == (b / name).read_bytes(), name


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    out = tmp_path_factory.mktemp("collect") / "filmed"
    assert collect(out) == 0
    return out


def test_png_are_what_the_cameras_saw(tmp_path):
    assert collect(tmp_path, "video=false", num_episodes=2) == 0
    config = build("collect", compose("collect", [*TOY, "env.num_envs=1"]))
    env = make_env(config.task, config.robot, config.env)
    table = pq.read_table(layout.data_file(tmp_path, 0))
    data = EpisodeDataset.load(tmp_path)
    for seed, start in zip(data.columns["seed"], data.starts, strict=True):
        observation, _ = env.reset(seed=seed)
        for key in KEYS:
            png = table[key][int(start)].as_py()["bytes"]
            np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), observation[key][0])
    env.close()


def test_lerobot_reads_the_videos(filmed):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dataset = LeRobotDataset("user/filmed", root=filmed, delta_timestamps={KEYS[0]: [-0.05, 0.0]})
    data = EpisodeDataset.load(filmed)
    assert len(dataset) == data.num_frames
    for place in (0, int(data.ends[0]) - 1, int(data.starts[2])):
        sample = dataset[place]
        assert sample[KEYS[0]].shape == (2, 3, 20, 20)
        assert sample[KEYS[1]].shape == (3, 20, 20)
        assert sample[KEYS[1]].std() > 0.05  # something is to be seen
    assert dataset.meta.episodes[1]["success"] is True


def test_pictures_do_not_depend_on_workers(filmed, tmp_path):
    assert collect(tmp_path / "two", "workers=2", "env.num_envs=1") == 0
    same(filmed, tmp_path / "two")


def test_a_killed_run_goes_on_to_the_same_pictures(filmed, tmp_path, monkeypatch):
    out = tmp_path / "killed"
    collect_two_episodes(monkeypatch, collect, out)
    assert collect(out) == 0
    same(filmed, out)


def test_sentences_are_written_when_asked(tmp_path):
    assert main(["collect", "env.num_envs=1", "num_episodes=1", "language=true", f"out={tmp_path}"]) == 0
    rows = pq.read_table(layout.data_file(tmp_path, 0))["language_persistent"].to_pylist()
    assert [row["content"] for row in rows[-1]] == [stage.sentence for stage in LIFT.stages]
    assert "language_events" in json.loads((tmp_path / layout.INFO).read_text())["features"]


def test_other_options_are_refused_in_the_same_folder(filmed, capsys):
    for word, sentence in (
        ("video=false", "as video"),
        ("language=true", "sentences"),
        ("env.cameras=[]", "not in the schema"),
    ):
        assert collect(filmed, word) == 2
        assert sentence in capsys.readouterr().err
    assert EpisodeDataset.load(filmed).num_episodes == 3


def test_pictures_that_make_no_video_are_refused_before_anything_is_written(tmp_path, capsys):
    assert collect(tmp_path / "odd", "env.image_size=21") == 2
    assert "21 x 21 pixels, but a video needs even sizes" in capsys.readouterr().err
    assert not (tmp_path / "odd").exists()
