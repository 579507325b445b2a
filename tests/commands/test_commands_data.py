"""`robolearn data ...` from the command line on small datasets."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from robolearn.cli import main
from robolearn.commands.data_page import choose, moments, stretches
from robolearn.config import VERBS
from robolearn.data.dataset import EpisodeDataset
from robolearn.errors import UserError

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from toy_sets import IMAGE, make_set


@pytest.fixture
def root(tmp_path):
    return make_set(tmp_path / "set")


@pytest.fixture
def say(capsys):
    """Run a command line that must succeed and return what it prints, with blanks made one."""

    def run(*words, status=0):
        found = main(list(words))
        out, err = capsys.readouterr()
        assert (found, err) == (status, "")
        return " ".join(out.split())

    return run


@pytest.fixture
def mistake(capsys):
    def run(*words):
        assert main(list(words)) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        return err

    return run


def test_data_alone_lists_its_verbs(say):
    family = [verb for verb in VERBS if verb.startswith("data ")]
    assert say("data") == say("data", "--help")
    for verb in family:
        assert verb in say("data")
        assert f"robolearn {verb}" in say(*verb.split(), "--help")


def test_info_says_what_is_in_a_dataset(say, root):
    text = say("data", "info", f"dataset={root}")
    for words in (
        "robot panda",
        "episodes 3",
        "frames 75 at 20 per second",
        "duration 3.8 s; episodes of 1.0 to 1.5 s",
        "success 2 (67%",
        "2 x lift the cube",
        "1 x take the cube up",
        "stages reach",
        "action float32 2 1 m, 1 1",
    ):
        assert words in text


def test_info_works_on_datasets_of_others_and_with_pictures(say, tmp_path):
    root = make_set(tmp_path / "set", (6,), images=True)
    (root / "meta/robolearn_schema.json").unlink()
    (root / "meta/stats.json").unlink()
    text = say("data", "info", f"dataset={root}")
    assert "unknown" in text
    assert "16x24x3" in text
    assert "videos" in text


def test_check_has_status_0_without_faults_and_1_with(say, root):
    assert "no faults, no hints" in say("data", "check", f"dataset={root}")
    assert "3 faults" in say("data", "check", f"dataset={root}", "min_seconds=9", status=1)
    next(root.glob("data/*/*.parquet")).unlink()
    text = say("data", "check", f"dataset={root}", status=1)
    assert "fault episode 0: none of its frames are in the data files" in text


def test_strict_turns_hints_into_faults(say, root):
    (root / "data/chunk-000/.x.tmp").touch()
    assert "no faults, 1 hint" in say("data", "check", f"dataset={root}")
    assert "1 fault, no hints" in say("data", "check", f"dataset={root}", "strict=true", status=1)


def test_merge_and_split_write_datasets(say, root, tmp_path):
    out = tmp_path / "all"
    assert "6 episodes of 2 datasets" in say("data", "merge", f"datasets=[{root},{root}]", f"out={out}")
    text = say("data", "split", f"dataset={out}", "column=success", "value=true", "names=[good,bad]", f"out={tmp_path}")
    assert "4 episodes in" in text
    assert EpisodeDataset.load(tmp_path / "bad").columns["success"] == [False, False]
    say("data", "split", f"dataset={out}", "share=0.5", "seed=3", f"out={tmp_path / 'shares'}")
    parts = [EpisodeDataset.load(tmp_path / "shares" / name) for name in ("train", "validation")]
    assert [part.num_episodes for part in parts] == [3, 3]
    say("data", "split", f"dataset={out}", "episodes=[0,2-3]", f"out={tmp_path / 'lists'}")
    assert EpisodeDataset.load(tmp_path / "lists/train").columns["seed"] == [0, 2, 0]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["data", "inof"], "unknown verb 'data inof'; did you mean 'data info'?"),
        (["data", "info"], "'data info' needs dataset="),
        (["data", "info", "dataset=nowhere"], "there is no dataset folder nowhere"),
        (["data", "check", "dataste=x"], "unknown option 'dataste'; did you mean 'dataset'?"),
        (["data", "split", "dataset=SET", "out=o"], "say how to split by one of share=0.9"),
        (["data", "split", "dataset=SET", "out=o", "share=0.5", "episodes=[1]"], "say how to split by one of"),
        (["data", "split", "dataset=SET", "out=o", "column=success"], "say how to split by one of"),
        (["data", "split", "dataset=SET", "out=o", "share=1.5"], "share=1.5 is too large"),
        (["data", "split", "dataset=SET", "out=o", "share=0.5", "names=[a,a]"], "must be two different names"),
        (["data", "merge", "datasets=[]", "out=o"], "there is nothing to merge"),
        (["data", "view", "dataset=SET", "only=[7]"], "the dataset has the episodes 0-2"),
        (["data", "import", "source=SET", "out=SET"], "exists already"),
    ],
)
def test_mistakes_end_in_one_sentence(mistake, root, words, sentence, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert sentence in mistake(*(word.replace("SET", str(root)) for word in words))


def test_view_writes_a_page_beside_the_dataset(say, tmp_path):
    root = make_set(tmp_path / "set", (20, 25, 30, 12), images=True)
    assert "2 episodes on" in say("data", "view", f"dataset={root}", "episodes=2")
    html = (tmp_path / "set.html").read_text()
    assert re.findall(r'<section id="e(\d+)">', html) == ["0", "3"]
    assert html.count("<img") == 16
    assert all(word in html for word in ("reach", "lift", "grip", "take the cube up", "seed 3", "success"))
    say("data", "view", f"dataset={root}", "only=[2]", "strips=false", f"out={tmp_path / 'pages/x.html'}")
    html = (tmp_path / "pages/x.html").read_text()
    assert "<img" not in html
    assert "failure" in html


def test_pictures_of_a_page_are_those_of_the_frames_it_names(tmp_path):
    import base64
    import io

    from PIL import Image

    from robolearn.commands.data_page import _films
    from robolearn.data.raw import RawDataset

    for video in (True, False):
        root = make_set(tmp_path / f"set{video}", (20, 25), images=True, video=video)
        first, second = _films(RawDataset.load(root), [0, 1])
        for number, (film,) in enumerate((first, second)):
            assert film.name == IMAGE.removeprefix("observation.images.")
            for uri, caption in film.pictures:
                pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGB"))
                frame = round(float(caption.removesuffix(" s")) * 20)
                np.testing.assert_allclose(pixels[8, 12], [6 * frame, 20 * number, 0], atol=9)


def test_simulated_episodes_are_simulated_again_for_their_strips(say, tmp_path):
    root = tmp_path / "demos"
    say("collect", "task=lift", "num_episodes=2", "randomization=light", f"out={root}")
    say("data", "view", f"dataset={root}", "only=[1]")
    assert (tmp_path / "demos.html").read_text().count("<img") == 8
    settings = json.loads((root / "settings.json").read_text())
    settings["task"]["timestep"] = 0.002
    (root / "settings.json").write_text(json.dumps(settings))
    say("data", "view", f"dataset={root}", "only=[1]")
    assert "<img" not in (tmp_path / "demos.html").read_text()


def test_import_finds_out_the_format(say, root, tmp_path):
    assert "3 episodes in" in say("data", "import", f"source={root}", f"out={tmp_path / 'out'}")
    assert pq.read_table(next((tmp_path / "out").glob("data/*/*.parquet"))).num_rows == 75
    shutil.rmtree(tmp_path / "out")


def test_episodes_to_show_are_spread_evenly():
    assert choose(100, 3, None) == [0, 50, 99]
    assert choose(2, 12, None) == [0, 1]
    assert choose(10, 3, [5, 2, 5]) == [2, 5]
    with pytest.raises(UserError, match="0-9"):
        choose(10, 3, [])


def test_a_strip_has_the_first_and_the_last_frame():
    assert {0, 99} <= moments(100)
    assert moments(3) == {0, 1, 2}


def test_stages_become_stretches_of_time():
    found = stretches(np.array([0, 0, 1, 0, 2, 2, 2, 2]), ("reach", "lift"))
    assert [(s.name, s.place, s.share) for s in found] == [
        ("reach", 0, 0.25),
        ("lift", 1, 0.125),
        ("reach", 0, 0.125),
        ("done", 2, 0.5),
    ]
