"""The file of progress beside a dataset: what LeRobot writes and reads, and what is refused."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot.rewards.sarm.compute_rabc_weights import get_reward_model_path_from_parquet

from robolearn.data.progress import PROGRESS_FILE, read_progress, write_progress
from robolearn.errors import UserError

STARTS, ENDS = np.array([0, 3, 4]), np.array([3, 4, 8])
VALUES = np.linspace(0, 1, 8, dtype=np.float32)


@pytest.fixture
def path(tmp_path):
    write_progress(tmp_path / PROGRESS_FILE, VALUES, starts=STARTS, ends=ENDS, source="models/sarm")
    return tmp_path / PROGRESS_FILE


def change(path, **columns):
    """Replace columns of the file; None leaves one out."""
    table = pq.read_table(path).to_pydict() | columns
    pq.write_table(pa.table({key: values for key, values in table.items() if values is not None}), path)


def read(path, starts=STARTS, ends=ENDS):
    return read_progress(path, starts=starts, ends=ends)


def test_it_has_lerobots_columns_types_and_metadata(path):
    table = pq.read_table(path)
    types = {"index": "int64", "episode_index": "int64", "frame_index": "int64"}
    types |= {"progress_sparse": "float", "progress_dense": "float"}
    assert {field.name: str(field.type) for field in table.schema} == types
    assert table["index"].to_pylist() == list(range(8))
    assert table["episode_index"].to_pylist() == [0, 0, 0, 1, 2, 2, 2, 2]
    assert table["frame_index"].to_pylist() == [0, 1, 2, 0, 0, 1, 2, 3]
    assert table["progress_dense"].to_pylist() == VALUES.tolist()
    assert get_reward_model_path_from_parquet(path) == "models/sarm"


def test_it_is_read_back_in_the_order_of_the_frames(path):
    np.testing.assert_array_equal(read(path), VALUES)
    pq.write_table(pq.read_table(path).take(np.array([5, 1, 7, 0, 3, 2, 6, 4])), path)
    np.testing.assert_array_equal(read(path), VALUES)
    assert read(path).dtype == np.float32


@pytest.mark.parametrize(
    ("starts", "ends"), [([0, 3], [3, 4]), ([0, 4, 5], [4, 5, 8]), ([0, 3, 4], [3, 4, 9])], ids=str
)
def test_the_file_of_another_dataset_is_refused(path, starts, ends):
    with pytest.raises(UserError, match="of another dataset: it has 8 frames in 3 episodes"):
        read(path, np.array(starts), np.array(ends))


@pytest.mark.parametrize("key", ["index", "episode_index", "progress_sparse"])
def test_a_missing_column_is_named(path, key):
    change(path, **{key: None})
    with pytest.raises(UserError, match=f"has no column '{key}', only .*progress_dense"):
        read(path)


@pytest.mark.parametrize("value", [np.nan, None, np.inf])
def test_a_frame_without_progress_is_refused(path, value):
    change(path, progress_sparse=pa.array([*VALUES[:5].tolist(), value, 0.0, 0.0], pa.float32()))
    with pytest.raises(UserError, match="holds NaN or infinity, first in episode 2"):
        read(path)


def test_what_is_no_such_file_is_refused(path):
    with pytest.raises(UserError, match="no parquet file that can be read"):
        read(path.with_name("none.parquet"))
    path.write_bytes(b"PAR1")
    with pytest.raises(UserError, match="no parquet file that can be read"):
        read(path)


@pytest.mark.parametrize("bad", [VALUES[:-1], np.where(VALUES > 0.9, np.nan, VALUES)], ids=["short", "nan"])
def test_nothing_is_written_that_could_not_be_read(path, bad):
    with pytest.raises(UserError, match=r"one for each|episode 2"):
        write_progress(path, bad, starts=STARTS, ends=ENDS, source="")
    np.testing.assert_array_equal(read(path), VALUES)
