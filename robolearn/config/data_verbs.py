"""The options of `robolearn data` and `robolearn annotate`."""

from __future__ import annotations

from dataclasses import dataclass

from robolearn.config.option import option


@dataclass(kw_only=True)
class AnnotateConfig:
    """Find the stages of a dataset's episodes, and their progress, where nobody has told them."""

    dataset: str = option("folder of a LeRobot v3 dataset")
    with_: str = option("who tells: decompose, from turns in the channels; or the folder of a reward model")
    out: str | None = option("folder of the annotated copy; null writes the model's progress alone, into the dataset")
    observations: list[str] | None = option("decompose: channels that it looks at; null means all observed vectors")
    min_gap: float = option("decompose: subgoals are more seconds than this apart", low=0)
    smoothing: float = option("decompose: deviation in seconds of the Gaussian that smoothes distances", low=0)
    flicker: float = option("model: stages that last fewer seconds are passed over", low=0)
    overwrite: bool = option("put these stages or this progress in place of others")


@dataclass(kw_only=True)
class DataInfoConfig:
    """Say what is in a dataset: episodes, channels, instructions, success, size."""

    dataset: str = option("folder of a LeRobot v3 dataset")


@dataclass(kw_only=True)
class DataCheckConfig:
    """Look for faults in a dataset, also in one that nothing else opens; status 1 if there are any."""

    dataset: str = option("folder of a LeRobot v3 dataset")
    min_seconds: float = option("shorter episodes are faults", low=0)
    jump: float = option("a step so many times larger than 99.5 % of the steps of its component is named", low=1)
    strict: bool = option("hints count as faults: jumps, channels that never change")


@dataclass(kw_only=True)
class DataViewConfig:
    """Write an HTML page of a dataset: film strips, channel plots, stages, histograms."""

    dataset: str = option("folder of a LeRobot v3 dataset")
    out: str | None = option("the page; null means <dataset>.html beside the dataset")
    episodes: int = option("episodes shown, spread evenly over the dataset", low=1)
    only: list[int] | None = option("numbers of the episodes to show instead")
    strips: bool = option("draw film strips; simulated episodes without pictures are simulated again for them")


@dataclass(kw_only=True)
class DataMergeConfig:
    """Put several datasets of the same schema into one."""

    datasets: list[str] = option("folders of LeRobot v3 datasets, in order")
    out: str = option("folder of the new dataset")


@dataclass(kw_only=True)
class DataSplitConfig:
    """Split a dataset in two: by a share, a list of episodes, or what a column says."""

    dataset: str = option("folder of a LeRobot v3 dataset")
    share: float | None = option("share of the episodes in the first part, drawn at random", low=0, high=1)
    episodes: list[str] | None = option("episodes of the first part: numbers, and ranges such as 10-19")
    column: str | None = option("column that decides, e.g. success, failure, task; the first part has the value")
    value: str | None = option("its value, e.g. true")
    names: list[str] = option("names of the two parts")
    seed: int = option("seed of the draw", low=0)
    out: str = option("folder of both parts")


@dataclass(kw_only=True)
class DataImportConfig:
    """Import recordings into a dataset: robomimic HDF5, LeRobot v3 with other names, rosbag2."""

    source: str = option("HDF5 file, folder of a LeRobot v3 dataset, or rosbag2 folder (or a folder of several)")
    format: str | None = option("hdf5, lerobot or rosbag; null finds out")
    contract: str | None = option(
        "YAML file that says what becomes which channel; a rosbag needs one, beside it or here"
    )
    task: str | None = option("instruction; null takes what the source or the contract says")
    video: bool = option("store pictures as videos, else as PNG files in the data")
    out: str = option("folder of the new dataset")
