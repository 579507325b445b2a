"""LeRobot's reward models say behind our contract what they say in LeRobot's own scripts."""

import numpy as np
import pytest
import torch
from lerobot.lerobot_types import TransitionKey
from tiny_lerobot_rewards import CAMERA, STAGES, STATE, STATISTICS, write_robometer, write_sarm, write_topreward

from robolearn.errors import UserError
from robolearn.protocols import ProgressEstimator
from robolearn.rewards.lerobot_models.load import lerobot_kind, load_lerobot_model

LENGTH, SIZE = 12, 64
TASK = "put the cube away"
WRITERS = {"sarm": write_sarm, "robometer": write_robometer, "topreward": write_topreward}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: write(tmp_path_factory.mktemp(kind) / "model") for kind, write in WRITERS.items()}


@pytest.fixture(scope="module")
def estimators(folders):
    return {kind: load_lerobot_model(folder, STATISTICS) for kind, folder in folders.items()}


@pytest.fixture(scope="module")
def episode():
    rng = np.random.default_rng(0)
    return {
        CAMERA: rng.integers(0, 256, (LENGTH, SIZE, SIZE, 3), dtype=np.uint8),
        STATE: rng.normal(size=(LENGTH, 3)).astype(np.float32),
    }


def readings(estimator, episode, task=TASK, *, first=0):
    estimator.reset()
    length = len(episode[CAMERA])
    return [estimator.update({key: episode[key][t] for key in estimator.keys}, task) for t in range(first, length)]


@pytest.mark.parametrize("kind", WRITERS)
def test_each_satisfies_the_contract(kind, folders, estimators, episode):
    assert lerobot_kind(folders[kind]) == kind
    estimator = estimators[kind]
    assert isinstance(estimator, ProgressEstimator)
    told = readings(estimator, episode)
    assert all(0 <= one.value <= 1 and 0 <= one.success <= 1 for one in told)
    assert len({one.value for one in told}) > LENGTH // 2
    assert readings(estimator, episode) == told  # `reset` forgets all
    assert readings(estimator, episode, "open the drawer") != told
    assert readings(estimator, episode, first=3) != told[3:]


@pytest.mark.parametrize("kind", WRITERS)
def test_each_is_causal(kind, estimators, episode):
    other = {key: values.copy() for key, values in episode.items()}
    for values in other.values():
        values[6:] = values[5::-1]
    told, changed = readings(estimators[kind], episode), readings(estimators[kind], other)
    assert changed[:6] == told[:6]
    assert changed[6:] != told[6:]


def test_sarm_says_what_lerobots_script_computes_at_the_end_of_an_episode(folders, estimators, episode):
    """The last frame of what has been seen is LeRobot's last frame of an episode: later ones are copies of it."""
    from lerobot.rewards.sarm.modeling_sarm import SARMRewardModel
    from lerobot.rewards.sarm.processor_sarm import SARMEncodingProcessorStep
    from lerobot.rewards.sarm.sarm_utils import compute_absolute_indices
    from transformers import CLIPModel, CLIPProcessor

    model = SARMRewardModel.from_pretrained(folders["sarm"])
    config = model.config
    step = object.__new__(SARMEncodingProcessorStep)  # its own constructor downloads CLIP, and wants Faker
    step.config, step.device = config, torch.device("cpu")
    step.clip_model = CLIPModel.from_pretrained(folders["sarm"] / "base").eval()
    step.clip_processor = CLIPProcessor.from_pretrained(folders["sarm"] / "base")
    state = (episode[STATE] - STATISTICS[STATE]["mean"]) / STATISTICS[STATE]["std"]
    told = readings(estimators["sarm"], episode)
    assert estimators["sarm"].stage_names == STAGES
    for t in range(LENGTH):
        frames, _ = compute_absolute_indices(t, 0, t + 1, config.n_obs_steps, frame_gap=config.frame_gap)
        padding = ((0, config.max_rewind_steps), (0, 0), (0, 0), (0, 0))
        pictures = np.pad(episode[CAMERA][frames].transpose(0, 3, 1, 2), padding)
        progress, stages = model.calculate_rewards(
            step._encode_text_clip(TASK, 1),
            step._encode_images_batch(pictures[None]),
            torch.from_numpy(np.pad(state[frames], padding[:2])[None]).float(),
            lengths=torch.tensor([1 + config.n_obs_steps]),
            return_all_frames=True,
            return_stages=True,
            head_mode="dense",
        )
        middle = config.n_obs_steps // 2
        assert told[t].value == pytest.approx(progress[0, middle], abs=1e-5)
        assert told[t].stage == stages[0, middle].argmax()


def test_sarm_remembers_half_a_window(folders, episode):
    estimator = load_lerobot_model(folders["sarm"], STATISTICS)
    rng = np.random.default_rng(1)
    before = {key: np.concatenate((rng.permutation(values), values)) for key, values in episode.items()}
    half = estimator._config.n_obs_steps // 2 * estimator._config.frame_gap
    assert half < LENGTH
    assert readings(estimator, before)[LENGTH + half :] == readings(estimator, episode)[half:]


def test_sarm_without_annotations_has_one_stage(tmp_path, episode):
    folder = write_sarm(tmp_path / "model", annotation_mode="single_stage")
    estimator = load_lerobot_model(folder, STATISTICS)
    assert estimator.stage_names == ("task",)
    assert {one.stage for one in readings(estimator, episode)} == {0}


def test_robometer_says_what_lerobots_script_computes(folders, estimators, episode):
    from lerobot.rewards.robometer.compute_rabc_weights import _build_subsample_indices
    from lerobot.rewards.robometer.processor_robometer import RobometerEncoderProcessorStep

    estimator = estimators["robometer"]
    model = estimator._model
    encode = RobometerEncoderProcessorStep(str(folders["robometer"] / "base"), image_key=CAMERA, max_frames=4)
    told = readings(estimator, episode)
    for t, frames in enumerate(_build_subsample_indices(LENGTH, 4)):
        batch = encoded(encode, episode[CAMERA][frames])
        assert told[t].value == pytest.approx(model.compute_reward(batch).item(), abs=1e-5)
        model.config.reward_output = "success"
        done = model.compute_reward(batch).item()
        model.config.reward_output = "progress"
        assert (told[t].success > model.config.success_threshold) == done


def test_topreward_says_how_likely_lerobots_model_finds_the_answer(folders, estimators, episode):
    from lerobot.rewards.topreward.processor_topreward import TOPRewardEncoderProcessorStep

    estimator = estimators["topreward"]
    encode = TOPRewardEncoderProcessorStep(str(folders["topreward"] / "base"), image_key=CAMERA)
    told = readings(estimator, episode)
    for t in range(LENGTH):
        frames = np.linspace(0, t, 4).round().astype(int)
        reward = estimator._model.compute_reward(encoded(encode, episode[CAMERA][frames])).item()
        assert told[t].value == pytest.approx(np.exp(reward), rel=1e-4)


def encoded(step, frames):
    video = torch.from_numpy(frames.transpose(0, 3, 1, 2))[None]
    transition = {
        TransitionKey.OBSERVATION: {CAMERA: video},
        TransitionKey.COMPLEMENTARY_DATA: {"task": TASK},
    }
    return step(transition)[TransitionKey.OBSERVATION]


def test_a_threshold_leaves_topreward_its_probabilities(tmp_path, episode):
    estimator = load_lerobot_model(write_topreward(tmp_path / "model", success_threshold=-1.0), STATISTICS)
    assert all(0 < one.value < 1 for one in readings(estimator, episode))


def test_all_pictures_are_shown_where_no_number_is_given(tmp_path, episode):
    folder = write_topreward(tmp_path / "model", max_frames=None)
    estimator = load_lerobot_model(folder, STATISTICS)
    shown = []
    encode = estimator._encode
    estimator._encode = lambda transition: (
        shown.append(transition[TransitionKey.OBSERVATION][CAMERA]) or encode(transition)
    )
    readings(estimator, {CAMERA: episode[CAMERA][:5]})
    assert [video.shape[1] for video in shown] == [1, 2, 3, 4, 5]
    np.testing.assert_array_equal(shown[-1][0].permute(0, 2, 3, 1).numpy(), episode[CAMERA][:5])


def test_another_camera_is_read(folders, episode):
    estimator = load_lerobot_model(folders["sarm"], STATISTICS, camera="observation.images.wrist")
    assert estimator.keys == ("observation.images.wrist", STATE)


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("sarm", "openai/clip-vit-base-patch32", "hf download openai/clip-vit-base-patch32"),
        ("robometer", "Qwen/Qwen3-VL-4B-Instruct", "hf download Qwen/Qwen3-VL-4B-Instruct"),
        ("topreward", "Qwen/Qwen3-VL-8B-Instruct", "hf download Qwen/Qwen3-VL-8B-Instruct"),
    ],
)
def test_what_is_not_here_is_not_downloaded(kind, name, words, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    folder = WRITERS[kind](tmp_path / "model")
    (folder / "base").rename(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=words):
        load_lerobot_model(folder, STATISTICS)


def test_code_and_pickles_of_the_base_are_refused(tmp_path):
    folder = write_topreward(tmp_path / "model")
    (folder / "base" / "modeling_evil.py").write_text("raise SystemExit")
    with pytest.raises(UserError, match=r"holds code \(modeling_evil.py\)"):
        load_lerobot_model(folder, STATISTICS)
    (folder / "base" / "modeling_evil.py").unlink()
    (folder / "base" / "model.safetensors").rename(folder / "base" / "pytorch_model.bin")
    with pytest.raises(UserError, match="no weights as"):
        load_lerobot_model(folder, STATISTICS)


def test_what_is_no_such_model_is_refused(tmp_path):
    assert lerobot_kind(tmp_path) is None
    with pytest.raises(UserError, match="none of LeRobot's sarm, robometer, topreward"):
        load_lerobot_model(tmp_path, STATISTICS)
    folder = write_sarm(tmp_path / "model")
    with pytest.raises(UserError, match=r"the statistics lack the channel 'observation\.state'"):
        load_lerobot_model(folder, {})
    (folder / "model.safetensors").rename(folder / "weights")
    with pytest.raises(UserError, match="is no checkpoint of LeRobot's sarm"):
        load_lerobot_model(folder, STATISTICS)
    (folder / "base" / "config.json").unlink()
    (folder / "weights").rename(folder / "model.safetensors")
    with pytest.raises(UserError, match="is no CLIP model"):
        load_lerobot_model(folder, STATISTICS)
