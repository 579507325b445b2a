import lerobot_sets
import numpy as np
import pytest
import yaml
from toy_sets import IMAGE, make_set

from robolearn.commands.common import progress
from robolearn.data.check import check_dataset
from robolearn.data.dataset import EpisodeDataset
from robolearn.data.findings import Limits
from robolearn.data.importers.contract import read_contract
from robolearn.data.importers.run import detect, import_recordings
from robolearn.errors import UserError

OLD, NEW = lerobot_sets.CAMERAS[0], "observation.images.front"


def bring_in(source, out, channels=None, **options):
    contract = None
    if channels is not None:
        contract = out.with_suffix(".yaml")
        contract.write_text(yaml.safe_dump({"channels": channels}))
    settings = {"format": None, "task": None, "video": True, "contract": contract, **options}
    return import_recordings(source, out, progress=lambda *a: progress(None, 0), **settings)


@pytest.mark.parametrize("storage", ["image", "av1"])
def test_channels_are_renamed_and_lerobot_reads_the_same_values(tmp_path, storage):
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    lerobot_sets.write(tmp_path / "a", storage, lengths=(3, 4), tasks=("go", "stop"), cameras=(OLD,))
    names = {NEW: OLD, "observation.joints": "observation.state"}
    assert bring_in(tmp_path / "a", tmp_path / "out", names) == 2
    before = LeRobotDataset("local/a", root=tmp_path / "a")
    after = LeRobotDataset("local/out", root=tmp_path / "out")
    assert OLD not in after.features
    renamed = {old: new for new, old in names.items()}
    assert set(after.meta.stats) == {renamed.get(key, key) for key in before.meta.stats}
    for i in range(7):
        for new, old in {**names, "action": "action"}.items():
            np.testing.assert_array_equal(after[i][new].numpy(), before[i][old].numpy())
        assert after[i]["task"] == before[i]["task"]
    assert [f for f in check_dataset(tmp_path / "out", Limits(min_seconds=0)) if not f.hint] == []
    data = EpisodeDataset.load(tmp_path / "out")
    np.testing.assert_array_equal(data.channels["observation.joints"][:, 0], np.arange(7))


def test_units_and_stages_of_our_own_datasets_come_along(tmp_path):
    root = make_set(tmp_path / "a")
    bring_in(root, tmp_path / "out", {"observation.environment_state": "observation.state"})
    ours, data = EpisodeDataset.load(root), EpisodeDataset.load(tmp_path / "out")
    assert data.schema["observation.environment_state"] == ours.schema["observation.state"]
    assert data.stage_names == ours.stage_names


@pytest.mark.parametrize(
    ("channels", "sentence"),
    [
        ({"observation.state": "observation.stat"}, "no channel 'observation.stat'; did you mean 'observation.state'"),
        ({"action": "observation.state"}, "two channels would be 'action'"),
        ({"x": ["action", "observation.state"]}, "'x' must stand for one channel"),
        ({"x": "action", "y": "action"}, "'y' must stand for one channel"),
    ],
)
def test_names_that_cannot_be_are_refused(tmp_path, channels, sentence):
    root = make_set(tmp_path / "a", (6,))
    with pytest.raises(UserError, match=sentence):
        bring_in(root, tmp_path / "out", channels)
    assert not (tmp_path / "out").exists()


def test_a_lerobot_dataset_keeps_its_instructions(tmp_path):
    with pytest.raises(UserError, match=r"leave task=\.\.\. out"):
        bring_in(make_set(tmp_path / "a", (6,)), tmp_path / "out", task="lift")


def test_formats_are_found_out(tmp_path):
    (tmp_path / "a.hdf5").touch()
    (tmp_path / "bag").mkdir()
    (tmp_path / "bag" / "metadata.yaml").touch()
    (tmp_path / "bag" / "bag_0.mcap").touch()
    (tmp_path / "empty").mkdir()
    assert detect(tmp_path / "a.hdf5") == "hdf5"
    assert detect(tmp_path / "bag") == "rosbag"
    assert detect(tmp_path) == "rosbag"
    assert detect(make_set(tmp_path / "set", (6,))) == "lerobot"
    with pytest.raises(UserError, match=r"give its folder, with metadata\.yaml"):
        detect(tmp_path / "bag" / "bag_0.mcap")
    with pytest.raises(UserError, match="give format="):
        detect(tmp_path / "empty")
    with pytest.raises(UserError, match="unknown format 'hdf'; did you mean 'hdf5'"):
        bring_in(tmp_path / "a.hdf5", tmp_path / "out", format="hdf")
    with pytest.raises(UserError, match="there is no"):
        bring_in(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("chanels: {}", "unknown option 'chanels'; did you mean 'channels'"),
        ("channels: {action: {kee: a}}", "unknown option 'kee' of channel 'action'; did you mean 'key'"),
        ("channels: {action: {}}", "channel 'action' needs `key`"),
        ("channels: {action: []}", "channel 'action' is made of nothing"),
        ("channels: action", "`channels` must be a list"),
        ("just words", "one `name: value` per line"),
        ("a: [", "is no YAML"),
    ],
)
def test_a_contract_that_cannot_be_read_says_why(tmp_path, text, sentence):
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence) as error:
        read_contract(path, options=("fps",), entry="key", entry_options=())
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_pictures_of_our_own_sets_are_renamed_too(tmp_path):
    root = make_set(tmp_path / "a", (6, 7), images=True)
    bring_in(root, tmp_path / "out", {NEW.replace("front", "top"): IMAGE})
    assert len(list((tmp_path / "out/videos/observation.images.top").rglob("*.mp4"))) == 2
    assert [f for f in check_dataset(tmp_path / "out", Limits(min_seconds=0)) if not f.hint] == []
