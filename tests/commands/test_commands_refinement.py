"""Fine-tuning that decides per chunk, through the command line at toy sizes."""

import json

import pytest
from toy_options import ENV, ONLINE, POLICY, SIZES

from robolearn.cli import main
from robolearn.commands import eval as eval_module
from robolearn.commands.common import load_checkpoint
from robolearn.real.bundle import load_bundle

pytestmark = pytest.mark.slow

SHORT = (*ENV, "task.max_episode_steps=20")
OFFLINE = ("algo.updates=10", "algo.eval_every=5")
ALGORITHMS = {"noise_steering": ONLINE, "chunked_td": ONLINE, "fql": ONLINE, "value_guided": OFFLINE}
ALGORITHMS |= {"rlpd": ONLINE, "ibrl": ONLINE}
CHOOSING = ["chunked_td", "value_guided"]  # with a critic that chooses between candidates


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Episodes, some of them failed, and a base policy."""
    out = tmp_path_factory.mktemp("refinement")
    words = ("num_episodes=4", "expert.failure=mix", "success_only=false", f"out={out / 'demos'}")
    assert main(["collect", *ENV, *words]) == 0
    training = ("train.steps=20", "train.save_every=20", "train.batch_size=32")
    assert (
        main(["train", f"dataset={out / 'demos'}", *POLICY, "policy.n_obs_steps=2", *training, f"out={out / 'base'}"])
        == 0
    )
    return out


@pytest.fixture(scope="module", params=sorted(ALGORITHMS))
def tuned(folder, request):
    """What an algorithm made of the base."""
    out = folder / request.param
    given = (f"checkpoint={folder / 'base'}", f"dataset={folder / 'demos'}", f"algo={request.param}", f"out={out}")
    words = (*SHORT, *SIZES, *ALGORITHMS[request.param])
    assert main(["finetune", *given, *words]) == 0
    before = (out / "policy" / "refinement.safetensors").read_bytes()
    assert main(["finetune", *given, *words]) == 0  # is not repeated
    assert (out / "policy" / "refinement.safetensors").read_bytes() == before
    return out


def test_a_refined_policy_is_evaluated_like_any_other(tuned, capsys):
    assert main(["eval", f"checkpoint={tuned}", "episodes=2", *SHORT]) == 0
    assert "/2" in capsys.readouterr().out


def test_a_refined_policy_acts_alike_as_a_bundle(tuned, tmp_path):
    assert main(["export", f"checkpoint={tuned}", f"out={tmp_path / 'bundle'}"]) == 0
    bundle, acting = load_bundle(tmp_path / "bundle"), load_checkpoint(tuned)
    assert bundle.policy.noise_shape == acting.policy.noise_shape
    assert (bundle.correction is None) == (acting.correction is None)


def test_a_refined_policy_is_no_base(folder, tuned, tmp_path, capsys):
    assert main(["finetune", f"checkpoint={tuned}", f"dataset={folder / 'demos'}", *SHORT, f"out={tmp_path}"]) == 2
    assert "is fine-tuned already: give its base policy" in capsys.readouterr().err


def test_an_evaluation_may_choose_between_more_candidates(tuned, tmp_path, capsys):
    words = ("episodes=2", *SHORT, "candidates=3")
    if tuned.name in CHOOSING:
        assert load_checkpoint(tuned, candidates=3).policy.candidates == 3
        assert main(["eval", f"checkpoint={tuned}", *words]) == 0
    else:
        assert main(["eval", f"checkpoint={tuned}", *words]) == 2
        assert "needs a critic that chooses" in capsys.readouterr().err


@pytest.mark.parametrize("tuned", CHOOSING, indirect=True)
def test_one_candidate_is_the_base(folder, tuned, tmp_path, monkeypatch):
    monkeypatch.setattr(eval_module, "save_strips", lambda *_, **__: [])
    for checkpoint, words in ((folder / "base", ()), (tuned, ("candidates=1",))):
        out = tmp_path / checkpoint.name
        assert main(["eval", f"checkpoint={checkpoint}", "episodes=2", *SHORT, *words, f"out={out}"]) == 0
    base, one = (json.loads((tmp_path / n / "episodes.json").read_text())["episodes"] for n in ("base", tuned.name))
    assert one == base
