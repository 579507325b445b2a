"""`robolearn bench data`: both sides handle the same frames; never how fast."""

from contextlib import ExitStack

import numpy as np
import pytest

from robolearn.bench import data
from robolearn.bench._turns import ratio

TINY = {"EPISODES": 2, "STEPS": 5, "SIZE": 64, "BATCH_SIZE": 4, "HORIZON": 3, "ROUNDS": 1, "SECONDS": 1e-9}


def test_each_figure_is_of_its_own_contenders():
    sides = ("reading", "decoding", "writing")
    names = [f"{side}.{what}" for side in sides for what in ("state", "video", "png")]
    rates = {name: [10.0 * i + 1] for i, name in enumerate(names)}
    rates |= {f"{name} lerobot": [values[0] / 4] for name, values in rates.items()}
    rates |= {"opening.video": [4.0, 5.0], "opening.png": [2.0], "writing.video lerobot like ours": [3.0]}
    found = [*data._reading(rates), *data._decoding(rates), *data._writing(rates)]
    measures = {m.id: m for m in found}
    assert len(measures) == len(found) == 19
    for side, what in (("reading", "batches"), ("decoding", "pictures"), ("writing", "frames")):
        for name in ("state", "video", "png"):
            if (side, name) != ("decoding", "state"):
                assert measures[f"{what}_per_s.{side}.{name}"].value == rates[f"{side}.{name}"][0]
                assert measures[f"speedup.{side}.{name}"].value == 4.0
    assert measures["seconds_to_open.video"].interval == (0.2, 0.25)
    same = measures["speedup.writing.video.same_encoder"]
    assert same.value == ratio("x", rates["writing.video"], [3.0]).value


@pytest.fixture(scope="module")
def recording():
    from robolearn.bench._datasets import record

    return record(episodes=2, steps=4, size=64)


@pytest.mark.slow
def test_a_recording_has_two_cameras_and_no_two_frames_alike(recording):
    pictures = [key for key in recording.schema if ".images." in key]
    assert len(pictures) == 2
    for frames in recording.episodes:
        assert {key: len(values) for key, values in frames.items()} == dict.fromkeys(recording.schema, 4)
        assert (np.diff(frames["observation.state"], axis=0) != 0).any(axis=1).all()
        assert all((np.diff(frames[key].astype(int), axis=0) != 0).any(axis=(1, 2, 3)).all() for key in pictures)
    assert not set(pictures) & set(recording.without_pictures().schema)


@pytest.mark.slow
def test_both_sides_write_the_same_frames(recording, tmp_path):
    from robolearn.bench._datasets import our_writing, their_writing
    from robolearn.data.dataset import EpisodeDataset
    from robolearn.data.images import ImageOptions

    with ExitStack() as stack:
        for turn in (
            our_writing(tmp_path / "ours", recording, video=False),
            their_writing(tmp_path / "theirs", recording, stack, video=False),
            their_writing(tmp_path / "streamed", recording, stack, like_ours=True),
        ):
            turn(1e-9)
            turn(1e-9)
    ours, theirs, streamed = (
        EpisodeDataset.load(tmp_path / name, images=ImageOptions()) for name in ("ours", "theirs", "streamed")
    )
    assert ours.num_episodes == 2
    for other, grey_levels in ((theirs, 0), (streamed, 4)):
        for key, values in ours.channels.items():
            np.testing.assert_array_equal(other.channels[key], values)
        for key, images in ours.images.items():
            difference = np.abs(images.pixels.astype(int) - other.images[key].pixels)
            assert difference.mean() <= grey_levels


@pytest.mark.slow
def test_bench_data_measures_both_sides(monkeypatch):
    for name, value in TINY.items():
        monkeypatch.setattr(data, name, value)
    lines = []
    measures = {m.id: m for m in data.run(lines.append)}
    assert all(m.value > 0 for m in measures.values())
    for speed, speedup in (
        ("batches_per_s.reading.state", "speedup.reading.state"),
        ("pictures_per_s.decoding.video", "speedup.decoding.video"),
        ("frames_per_s.writing.png", "speedup.writing.png"),
    ):
        assert measures[speedup].value == pytest.approx(measures[speed].ratio)
    assert any("simulating 2 episodes" in line for line in lines)
