"""Each test damages a sound dataset in one way and expects the finding that names it."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toy_sets import IMAGE, make_frames, make_schema, make_set

from robolearn.data import layout
from robolearn.data.check import check_dataset
from robolearn.data.findings import Limits
from robolearn.data.writer import DatasetWriter
from robolearn.errors import UserError
from robolearn.schema import Schema

LENGTHS = (20, 25, 30)


@pytest.fixture
def root(tmp_path):
    return make_set(tmp_path / "set", LENGTHS, episodes_per_file=2)


def faults(root, **limits):
    return [str(f) for f in check_dataset(root, Limits(**limits)) if not f.hint]


def hints(root, **limits):
    return [str(f) for f in check_dataset(root, Limits(**limits)) if f.hint]


def rewrite(path, change):
    """Change the columns of a Parquet file, given as lists."""
    table = pq.read_table(path)
    columns = table.to_pydict()
    change(columns)
    kept = {
        name: pa.array(v, table.schema.field(name).type) for name, v in columns.items() if name in table.column_names
    }
    pq.write_table(pa.table(kept | {n: v for n, v in columns.items() if n not in kept}), path)


def data_file(root, number=0):
    return sorted(root.glob("data/*/*.parquet"))[number]


def episodes_file(root, number=0):
    return sorted(root.glob("meta/episodes/*/*.parquet"))[number]


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def only(found, *parts):
    """Check that there is one finding, with these words in it."""
    assert len(found) == 1, found
    for part in parts:
        assert part in found[0]


@pytest.mark.parametrize("options", [{}, {"images": True}, {"images": True, "video": False}])
def test_a_sound_dataset_has_no_findings(tmp_path, options):
    assert check_dataset(make_set(tmp_path / "set", LENGTHS, **options)) == []


def test_what_a_killed_writer_leaves_is_a_hint(root):
    (root / "data/chunk-000/.file-009.parquet.tmp").write_bytes(b"half")
    pq.write_table(pq.read_table(data_file(root)), root / "data/chunk-000/file-900.parquet")
    assert faults(root) == []
    found = hints(root)
    assert len(found) == 2
    assert "45 frames are in no place that the metadata lists" in found[1]


def test_nan_is_named_with_episode_and_frame(root):
    def change(columns):
        for row in (26, 28):
            columns["observation.state"][row] = [0.0, float("nan"), 0.0]

    rewrite(data_file(root), change)
    only(
        faults(root),
        "episode 1, observation.state",
        "NaN or infinity at frame 6 and 1 frames more",
        "leave the episode",
    )


def test_a_gap_in_time_is_named(root):
    def change(columns):
        columns["timestamp"][10:20] = [t + 0.4 for t in columns["timestamp"][10:20]]

    rewrite(data_file(root), change)
    only(faults(root), "episode 0", "time goes on by 0.45 s, not 0.05 s, from frame 9 to the next")


def test_frames_that_are_missing_are_named(root):
    rewrite(data_file(root), lambda columns: [values.pop(25) for values in columns.values()])
    found = faults(root)
    assert any("holds 24 frames of it" in f or "hold 24 frames of it" in f for f in found)
    assert any("`frame_index` is 6 at frame 5, not 5" in f for f in found)
    assert all(f.startswith("episode 1") for f in found)


@pytest.mark.parametrize("key", ["index", "frame_index"])
def test_numbers_that_do_not_count_up_are_named(root, key):
    def change(columns):
        columns[key][22] += 1

    rewrite(data_file(root), change)
    only(faults(root), "episode 1", f"`{key}` is")


def test_a_wrong_rate_is_one_finding(root):
    edit(root / "meta/info.json", fps=30)
    (root / "meta/robolearn_schema.json").unlink()
    only(faults(root), "frames are 0.05 s apart (20 per second), info.json says fps=30")


def test_a_short_episode_is_a_fault_by_the_limit_given(root):
    assert faults(root, min_seconds=1.0) == []
    only(faults(root, min_seconds=1.2), "episode 0", "it lasts 1 s only (20 frames)")


def test_what_never_changes_is_a_hint(tmp_path):
    writer = DatasetWriter(tmp_path / "set", make_schema(), robot_type="panda")
    for seed in range(4):
        frames = make_frames(20, seed)
        frames["observation.state"][:, 1] = 0.5
        if seed == 2:
            frames["observation.state"][:] = frames["observation.state"][:1]
        writer.add_episode(frames, task="lift")
    writer.finalize()
    assert faults(tmp_path / "set") == []
    found = hints(tmp_path / "set")
    assert any("observation.state: y never changes" in f for f in found)
    assert any(f.startswith("episode 2, observation.state: it does not change in this episode") for f in found)
    assert len(found) == 2


def test_a_jump_is_a_hint_that_names_component_and_frame(tmp_path):
    writer = DatasetWriter(tmp_path / "set", make_schema(), robot_type="panda")
    for seed in range(30):
        frames = make_frames(40, seed)
        if seed == 7:
            frames["observation.state"][12, 2] += 40
        writer.add_episode(frames, task="lift")
    writer.finalize()
    only(hints(tmp_path / "set"), "episode 7, observation.state: z jumps by", "from frame 11 to the next")
    assert hints(tmp_path / "set", jump=1e4) == []


def test_a_switch_that_flips_is_no_jump(tmp_path):
    writer = DatasetWriter(tmp_path / "set", make_schema(), robot_type="panda")
    frames = make_frames(400, 0)
    frames["action"][:, 1] = -1.0
    frames["action"][200:, 1] = 1.0
    writer.add_episode(frames, task="lift")
    writer.finalize()
    assert check_dataset(tmp_path / "set") == []


def test_actions_beyond_their_bounds_are_named(root):
    def change(columns):
        columns["action"][3] = [1.5, 0.0]

    rewrite(data_file(root), change)
    found = faults(root)
    assert any("dx is 1.5, its bounds are -1 to 1 (1 frames)" in f for f in found)
    assert any("stats.json has another max than the data" in f for f in found)


def test_a_label_beyond_the_stages_is_named(root):
    (root / "meta/stats.json").write_text("{")

    def change(columns):
        columns["observation.stage"][3] = 5

    rewrite(data_file(root), change)
    found = faults(root)
    assert any(f.startswith("episode 0, observation.stage: it has a label beyond 0 to 2") for f in found)
    assert any("stats.json is no JSON" in f for f in found)


def with_progress(root, *progress):
    """A dataset with an episode of each of these courses of progress [T]."""
    schema = make_schema()
    schema = Schema({**schema.features, layout.PROGRESS: layout.PROGRESS_FEATURE}, schema.fps)
    writer = DatasetWriter(root, schema, robot_type="panda")
    for seed, values in enumerate(progress):
        frames = make_frames(len(values), seed) | {layout.PROGRESS: np.float32(values)[:, None]}
        writer.add_episode(frames, task="lift")
    writer.finalize()
    return root


def test_progress_may_stand_still_and_fall_but_not_leave_its_range(tmp_path):
    slow, fallen = np.linspace(0, 0.9, 400), np.where(np.arange(400) == 200, 0.0, np.linspace(0.1, 0.9, 400))
    assert check_dataset(with_progress(tmp_path / "good", slow, fallen, np.zeros(400))) == []
    assert check_dataset(with_progress(tmp_path / "fixed", np.zeros(40))) == []
    only(faults(with_progress(tmp_path / "bad", slow, slow + 0.2)), f"episode 1, {layout.PROGRESS}: it has a label")


def test_a_file_of_another_shape_is_named(root):
    def widen(columns):
        columns["action"] = [[*row, 0.0] for row in columns["action"]]

    path = data_file(root, 1)
    table = pq.read_table(path)
    columns = table.to_pydict()
    widen(columns)
    pq.write_table(pa.table(columns), path)
    found = faults(root)
    assert any("action: it is 3 wide in data/chunk-000/" in f and "its shape in info.json is (2,)" in f for f in found)
    pq.write_table(table.drop_columns(["action"]), path)
    assert any("action: it is missing in data/chunk-000/" in f for f in faults(root))


def test_ragged_rows_are_named(root):
    path = data_file(root)
    columns = pq.read_table(path).to_pydict()
    columns["observation.state"][0], columns["observation.state"][1] = [0.0] * 2, [0.0] * 4
    pq.write_table(pa.table(columns), path)
    assert any("observation.state: it is ragged in" in f for f in faults(root))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("data/chunk-000/{data}", "cannot be read"),
        ("meta/episodes/chunk-000/{episodes}", "cannot be read"),
        ("meta/tasks.parquet", "meta/tasks.parquet cannot be read"),
        ("meta/robolearn_schema.json", "robolearn_schema.json cannot be read"),
    ],
)
def test_damaged_files_are_named_and_the_rest_is_checked_all_the_same(root, name, words):
    def spoil(columns):
        columns["observation.state"][0] = [float("nan")] * 3

    rewrite(data_file(root, -1), spoil)
    path = root / name.format(data=data_file(root).name, episodes=episodes_file(root).name)
    path.write_bytes(b"nothing of use")
    found = faults(root)
    assert any(words in f for f in found)
    assert any("observation.state" in f and "NaN" in f for f in found)


def test_a_missing_data_file_is_a_finding_for_each_of_its_episodes(root):
    data_file(root, -1).unlink()
    only(faults(root), "episode 2", "none of its frames are in the data files")


def test_metadata_that_contradicts_itself_is_named(root):
    edit(root / "meta/info.json", total_episodes=7, total_frames=1)

    def change(columns):
        columns["length"][1] = 24
        columns["dataset_from_index"][1] = 21

    rewrite(episodes_file(root), change)
    found = faults(root)
    for words in (
        "info.json says total_episodes=7, the metadata lists 3",
        "info.json says total_frames=1, the metadata lists 74",
        "episode 1: it begins at frame 21 of the dataset, the one before it ends at 20",
        "episode 1: the data files hold 25 frames of it, its metadata says 24",
    ):
        assert any(words in f for f in found), words


def test_lost_rows_of_metadata_are_named(root):
    rewrite(episodes_file(root), lambda columns: [values.pop(1) for values in columns.values()])
    assert any("episodes are missing or twice" in f for f in faults(root))


def test_instructions_that_do_not_exist_are_named(root):
    def change(columns):
        columns["tasks"][0] = ["juggle"]

    rewrite(episodes_file(root), change)
    rewrite(data_file(root), lambda columns: columns["task_index"].__setitem__(0, 9))
    found = faults(root)
    assert any("its instruction 'juggle' is not in meta/tasks.parquet" in f for f in found)
    assert any("`task_index` is 9, there are 2 instructions" in f for f in found)


def test_videos_that_are_missing_short_or_of_another_size_are_named(tmp_path):
    root = make_set(tmp_path / "set", LENGTHS, images=True)
    videos = sorted(root.glob("videos/*/*/*.mp4"))
    videos[2].write_bytes(videos[0].read_bytes())
    only(faults(root), f"episode 2, {IMAGE}", "ends after 20 frames, it needs 30")
    videos[1].write_bytes(b"nothing of use")
    videos[2].unlink()
    found = faults(root)
    assert ["is damaged" in found[0], "is missing" in found[1]] == [True, True]
    info = json.loads((root / "meta/info.json").read_text())
    info["features"][IMAGE]["shape"] = [32, 24, 3]
    (root / "meta/info.json").write_text(json.dumps(info))
    assert any("is (16, 24) pixels, info.json says (32, 24)" in f for f in faults(root))


def test_spans_of_a_video_that_overlap_are_named(tmp_path):
    root = make_set(tmp_path / "set", LENGTHS, images=True)

    def change(columns):
        columns[f"videos/{IMAGE}/file_index"][0] = 1

    rewrite(episodes_file(root), change)
    assert any("begins before the one of another episode ends" in f for f in faults(root))


def test_pictures_in_the_data_that_are_missing_or_damaged_are_named(tmp_path):
    root = make_set(tmp_path / "set", LENGTHS, images=True, video=False)

    def change(columns):
        columns[IMAGE][3] = {"bytes": None, "path": None}
        columns[IMAGE][30] = {"bytes": b"nothing of use", "path": None}

    rewrite(data_file(root), change)
    found = faults(root)
    assert len(found) == 2
    assert f"episode 0, {IMAGE}: the picture of frame 3 is missing" in found[0]
    assert f"episode 1, {IMAGE}: the picture of frame 10 cannot be decoded" in found[1]


def test_without_info_there_is_nothing_to_check(tmp_path, root):
    (root / "meta/info.json").write_text("{")
    with pytest.raises(UserError, match=r"info\.json is no JSON"):
        check_dataset(root)
    with pytest.raises(UserError, match="there is no dataset folder"):
        check_dataset(tmp_path / "nowhere")


def test_an_action_is_asked_for(root):
    info = json.loads((root / "meta/info.json").read_text())
    del info["features"]["action"]
    (root / "meta/info.json").write_text(json.dumps(info))
    assert any("there is no channel 'action'" in f for f in faults(root))
