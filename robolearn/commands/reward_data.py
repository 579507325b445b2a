"""From a dataset with stages to what reward models learn from and are judged by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from robolearn.data.layout import PROGRESS, STAGE
from robolearn.errors import UserError
from robolearn.language import Tokenizer
from robolearn.normalize import Normalizer
from robolearn.rewards.clips import Footage
from robolearn.rewards.labels import Labels, label, stage_shares, within_stage
from robolearn.rewards.phrases import other_instructions
from robolearn.schema import Schema

if TYPE_CHECKING:
    from robolearn.data.dataset import EpisodeDataset


@dataclass(frozen=True)
class LabelledEpisode:
    """One episode as a reward model is judged by it.

    Attributes:
        frames: observations [T, ...] by channel, in physical units.
        instruction: what was asked for.
        labels: the truth.
        success: whether the task was done.
        failure: kind of failure that was provoked, "" for none, or where the task was done all the same.
    """

    frames: dict[str, NDArray[Any]]
    instruction: str
    labels: Labels
    success: bool
    failure: str = ""


def stages_of(data: EpisodeDataset) -> list[NDArray[np.int64]]:
    """Return the stage [T] of every frame, by episode.

    Raises:
        UserError: the dataset has none.
    """
    if STAGE not in data.channels or not data.stage_names:
        raise UserError(f"{data.root} has no stages: collect it in simulation, or let `robolearn annotate` find some")
    stage = data.channels[STAGE][:, 0].astype(np.int64)
    return [stage[a:b] for a, b in zip(data.starts, data.ends, strict=True)]


def shares_of(data: EpisodeDataset) -> NDArray[np.float64]:
    """Return the prior share [K] of each stage in the progress."""
    return stage_shares(stages_of(data), len(data.stage_names))


def labels_of(data: EpisodeDataset, shares: NDArray[np.float64]) -> list[Labels]:
    """Return the labels of every episode; within a stage by the simulator's progress where the dataset has it.

    A recording that did not linger ends before the frame in which a success is seen: its last one stands for it.
    """
    num_stages, known = len(data.stage_names), data.channels.get(PROGRESS)
    succeeded = data.columns.get("success", [False] * data.num_episodes)
    labels = []
    for stage, success, a, b in zip(stages_of(data), succeeded, data.starts, data.ends, strict=True):
        within = None if known is None else within_stage(known[a:b, 0].astype(np.float64), stage, num_stages)
        missed = success and not (stage >= num_stages).any()
        seen = np.append(stage[:-1], num_stages) if missed else stage
        labels.append(label(seen, shares=shares, within=within))
    return labels


def failures_of(data: EpisodeDataset) -> list[str]:
    """Return the kind of failure of each episode; "" where there was none, or the predicates say that it went well."""
    provoked = data.columns.get("failure", [""] * data.num_episodes)
    succeeded = data.columns.get("success", [False] * data.num_episodes)
    return ["" if success else str(failure or "") for failure, success in zip(provoked, succeeded, strict=True)]


def kinds_of(data: EpisodeDataset) -> list[str]:
    """Return the kinds of failure in a dataset.

    Raises:
        UserError: there is none.
    """
    kinds = sorted(set(failures_of(data)) - {""})
    if not kinds:
        raise UserError(
            f"{data.root} has no failures with a name: collect some with expert.failure=mix, or leave out reward.kinds"
        )
    return kinds


def read_schema(data: EpisodeDataset, observations: list[str] | None) -> Schema:
    """Return the channels that a model reads, and the action.

    Raises:
        UserError: one of them is not there.
    """
    keys = data.schema.observation_keys if observations is None else observations
    if missing := [key for key in keys if key not in data.schema.features]:
        raise UserError(f"{data.root} has no channel '{missing[0]}'")
    return data.schema.select([*keys, "action"])


def footage(
    data: EpisodeDataset,
    schema: Schema,
    labels: list[Labels],
    *,
    tokenizer: Tokenizer,
    num_wrong: int,
    seed: int,
    reads: Sequence[str] = (),
    kinds: Sequence[str] = (),
) -> Footage:
    """Return what training films are cut from.

    Args:
        data: episodes.
        schema: channels that the model reads.
        labels: of the episodes.
        tokenizer: the model's.
        num_wrong: instructions that are wrong here.
        seed: decides which.
        reads: what else a model learns from: "action" [frames, n], normalised; "frame" [frames], its number in the
            episode; "success" [frames], whether all is done at some time in it; "intervention" [frames], whether a
            person acted, never where the dataset does not say.
        kinds: of failure; where there are some, another channel is "kind" [frames]: 0 in episodes without a failure,
            else 1 and the place among these, or -1 of others.
    """
    normalizer = Normalizer(schema, data.statistics)
    channels = {
        key: data.images[key].take(np.arange(data.num_frames))
        if schema[key].is_picture
        else normalizer[key](data.channels[key])
        for key in schema.observation_keys
    }
    channels |= {key: _learned_from(key, data, labels, normalizer) for key in reads}
    if kinds:
        known = ["", *kinds]
        places = [known.index(failure) if failure in known else -1 for failure in failures_of(data)]
        channels["kind"] = np.repeat(places, data.ends - data.starts)
    right = sorted(set(data.tasks))
    wrong = other_instructions(right, count=num_wrong, seed=seed)
    return Footage(
        channels,
        data.starts,
        data.ends,
        Labels(*(np.concatenate([getattr(one, name) for one in labels]) for name in ("stage", "tau", "progress"))),
        np.array([right.index(task) for task in data.tasks]),
        tokenizer([*right, *wrong]),
    )


def _learned_from(key: str, data: EpisodeDataset, labels: list[Labels], normalizer: Normalizer) -> NDArray[Any]:
    """One of the channels of `footage` that are no observations."""
    from robolearn.rl.interaction import INTERVENTION

    lengths = data.ends - data.starts
    if key == "action":
        return normalizer[key](data.channels[key])
    if key == "frame":
        return np.arange(data.num_frames) - np.repeat(data.starts, lengths)
    if key == "success":
        return np.repeat([(one.stage >= len(data.stage_names)).any() for one in labels], lengths)
    if key == "intervention":
        person = data.channels.get(INTERVENTION)
        return np.zeros(data.num_frames, bool) if person is None else person[:, 0] > 0.5
    raise KeyError(key)


def labelled_episodes(data: EpisodeDataset, schema: Schema, labels: list[Labels]) -> list[LabelledEpisode]:
    """Return the episodes of a dataset as models are judged by them."""
    episodes, failures = [], failures_of(data)
    for i, (a, b) in enumerate(zip(data.starts, data.ends, strict=True)):
        frames = {
            key: data.images[key].take(np.arange(a, b)) if schema[key].is_picture else data.channels[key][a:b]
            for key in schema.observation_keys
        }
        done = bool((labels[i].stage >= len(data.stage_names)).any())
        success = bool(data.columns["success"][i]) if "success" in data.columns else done
        episodes.append(LabelledEpisode(frames, data.tasks[i], labels[i], success, failures[i]))
    return episodes
