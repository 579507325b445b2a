"""Datasets with pictures that LeRobot itself writes."""

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 64, 80
CAMERAS = ("observation.images.external", "observation.images.wrist")
LENGTHS = (6, 1, 4)
ENCODERS = {
    "av1": {},  # LeRobot's default
    "h264": {"vcodec": "h264", "g": 250, "crf": 18, "extra_options": {"bf": 0}},  # one key frame for an episode
    "reordered": {"vcodec": "h264", "g": 250, "crf": 18, "extra_options": {"bf": 3}},  # LeRobot cannot join such videos
}


def picture(seed: int) -> NDArray[np.uint8]:
    """Smooth, as pictures are, and no two alike."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    waves = [np.sin(x / a + y / b + c) for a, b, c in rng.uniform(8, 30, (3, 3))]
    return np.uint8(127.5 + 127 * np.stack(waves, axis=-1))


def write(root, storage, *, lengths=LENGTHS, tasks=("go",), cameras=CAMERAS):
    """Write a set; `storage` is "image" or one of `ENCODERS`. Frame i carries the number i and `tasks[i % ...]`.

    Returns:
        The pictures given to LeRobot by camera, [frames, height, width, 3].
    """
    from lerobot.configs import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    dtype = "image" if storage == "image" else "video"
    axes = ["height", "width", "channels"]
    features = {
        "observation.state": {"dtype": "float32", "shape": (2,), "names": ["a", "b"]},
        "observation.environment_state": {"dtype": "float32", "shape": (3,), "names": None},
        **{key: {"dtype": dtype, "shape": (HEIGHT, WIDTH, 3), "names": axes} for key in cameras},
        "action": {"dtype": "float32", "shape": (2,), "names": None},
    }
    encoder = RGBEncoderConfig(**ENCODERS.get(storage, {}))
    dataset = LeRobotDataset.create(
        "user/set", fps=10, features=features, root=root, use_videos=dtype == "video", rgb_encoder=encoder
    )
    given = {key: [] for key in cameras}
    number = 0
    for length in lengths:
        for _ in range(length):
            frame = {
                "observation.state": np.array([number, -number], np.float32),
                "observation.environment_state": np.array([number, 0.5, number**2], np.float32),
                "action": np.array([number / 7, 1 - number], np.float32),
                "task": tasks[number % len(tasks)],
            }
            for i, key in enumerate(cameras):
                given[key].append(picture(1000 * i + number))
            dataset.add_frame(frame | {key: pictures[-1] for key, pictures in given.items()})
            number += 1
        dataset.save_episode(parallel_encoding=False)
    dataset.finalize()
    return {key: np.stack(pictures) for key, pictures in given.items()}
