"""A vision-language model in this process: a tiny one with random weights, which says rubbish unless it is forced."""

import shutil

import numpy as np
import pytest
import torch

from robolearn.errors import UserError
from robolearn.rewards.vlm.answers import Judgement, MalformedAnswerError, parse_answer
from robolearn.rewards.vlm.asynchronous import AsyncProgress
from robolearn.rewards.vlm.judge import Judge
from robolearn.rewards.vlm.prompts import Scene, requests_about

pytest.importorskip("num2words")  # the extra `vla`
from tiny_vlm import write_vlm

from robolearn.rewards.vlm.local import LocalModel

FRAMES = np.random.default_rng(0).integers(0, 256, (4, 24, 32, 3), np.uint8)
SCENE, OTHER = (Scene(FRAMES[i], FRAMES[i + 1], "lift the cube") for i in (0, 2))
REQUESTS = [*requests_about(SCENE), *requests_about(OTHER, ["reach for it"])]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_vlm(tmp_path_factory.mktemp("vlm"))


@pytest.fixture(scope="module")
def model(folder):
    return LocalModel(folder, device="cpu", max_tokens=24)


def force(monkeypatch, model, answers):
    """Let logits spell the answer of the facet that a prompt asks about; all else happens as ever."""
    tokenizer, generate = model._processor.tokenizer, model._model.generate
    spelt = {key: [*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for key, text in answers.items()}

    def forced(**inputs):
        length = inputs["input_ids"].shape[1]
        prompts = tokenizer.batch_decode(inputs["input_ids"])
        wanted = [next(tokens for key, tokens in spelt.items() if f'{{"{key}": x}}' in prompt) for prompt in prompts]

        def only(ids, scores):
            scores = torch.full_like(scores, -torch.inf)
            for row, tokens in enumerate(wanted):
                scores[row, tokens[min(ids.shape[1] - length, len(tokens) - 1)]] = 0.0
            return scores

        return generate(**inputs, logits_processor=[only])

    monkeypatch.setattr(model._model, "generate", forced)


def test_a_random_model_says_something_which_is_malformed(model):
    said = model.ask(REQUESTS)
    assert len(said) == len(REQUESTS)
    assert all(isinstance(text, str) and len(text) > 0 for text in said)
    for text, request in zip(said, REQUESTS, strict=True):
        with pytest.raises(MalformedAnswerError):
            parse_answer(text, request.prompt.facet)
    outcomes = Judge(model, retries=1)([SCENE, OTHER])
    assert [type(outcome) for outcome in outcomes] == [MalformedAnswerError] * 2


def test_it_sees_the_pictures_and_reads_the_question(model):
    def logits(request):
        captured = []
        hook = model._model.register_forward_hook(lambda module, args, output: captured.append(output.logits[:, -1]))
        model.ask([request])
        hook.remove()
        return captured[0]

    first, other_frame, other_words = (REQUESTS[1], requests_about(OTHER)[1], REQUESTS[4])
    assert torch.equal(logits(first), logits(first))
    assert not torch.allclose(logits(first), logits(other_frame))
    assert not torch.allclose(logits(other_frame), logits(other_words))


def test_a_batch_is_answered_as_one_by_one(model):
    assert model.ask(REQUESTS) == [model.ask([request])[0] for request in REQUESTS]


def test_pictures_of_several_sizes_are_answered_in_order(model):
    wide = requests_about(Scene(FRAMES[0, :12], FRAMES[1, :12], "lift the cube"))
    mixed = [REQUESTS[1], wide[1], REQUESTS[4], wide[0]]
    assert model.ask(mixed) == [model.ask([request])[0] for request in mixed]


ANSWERS = {"contrast": '{"contrast": -1}', "progress": '{"progress": 0.25}', "completed": '{"completed": true}'}


def test_with_its_logits_forced_it_gives_a_judgement(monkeypatch, model):
    force(monkeypatch, model, ANSWERS)
    assert model.ask(REQUESTS) == [ANSWERS[request.prompt.facet.key] for request in REQUESTS]
    assert Judge(model, retries=0)([SCENE, OTHER]) == [Judgement(-1.0, 0.25, 1.0)] * 2


def test_an_answer_longer_than_it_may_be_is_malformed(monkeypatch, model):
    force(monkeypatch, model, ANSWERS | {"progress": '{"progress":              0.25}'})
    (outcome,) = Judge(model, retries=0)([SCENE])
    assert type(outcome) is MalformedAnswerError


def test_it_judges_beside_worlds(monkeypatch, model):
    force(monkeypatch, model, ANSWERS)
    with AsyncProgress(Judge(model), every=1, num_envs=2) as progress:
        for frames in (FRAMES[:2], FRAMES[2:]):
            progress.update({"observation.images.external": frames}, ["lift", "push"])
        held = progress.wait(60)
    assert held.step.tolist() == [1, 1]
    np.testing.assert_allclose([held.contrast, held.progress, held.completed], [[-1, -1], [0.25, 0.25], [1, 1]])


def test_answers_are_kept_by_weights_not_by_place(tmp_path, folder, model):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    same = LocalModel(copy, device="cpu")
    assert same.name == model.name
    other = LocalModel(write_vlm(tmp_path / "other", seed=1), device="cpu")
    assert other.name != model.name


@pytest.mark.parametrize("missing", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"])
def test_an_incomplete_folder_is_a_mistake_of_the_user(tmp_path, folder, missing):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    (broken / missing).unlink()
    with pytest.raises(UserError, match="broken"):
        LocalModel(broken, device="cpu")


def test_weights_in_a_pickle_are_not_read(tmp_path, folder):
    from safetensors.torch import load_file

    pickled = tmp_path / "pickled"
    shutil.copytree(folder, pickled)
    torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
    (pickled / "model.safetensors").unlink()
    with pytest.raises(UserError, match="pickled"):
        LocalModel(pickled, device="cpu")


def test_no_folder_and_no_device_are_mistakes_of_the_user(tmp_path, folder):
    with pytest.raises(UserError, match="no folder"):
        LocalModel(tmp_path / "nowhere")
    with pytest.raises(UserError, match="no device 'abacus'"):
        LocalModel(folder, device="abacus")
