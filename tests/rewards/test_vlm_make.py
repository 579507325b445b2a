"""The plain constructor, with an endpoint."""

import subprocess
import sys

import numpy as np
import pytest
from vlm_server import facet_of, good, serving
from vlm_toys import GOOD

from robolearn.errors import UserError
from robolearn.rewards.vlm.make import make_vlm

KEY = "observation.images.wrist"
FRAMES = np.random.default_rng(0).integers(0, 256, (3, 2, 6, 8, 3), np.uint8)


def judge(url, **options):
    settings = {"model": "tiny", "url": url, "camera": "wrist", "every": 1, "num_envs": 2, **options}
    with make_vlm(**settings) as progress:
        for frames in FRAMES:
            progress.update({KEY: frames}, ["lift", "push"])
            held = progress.wait(30)
        return held, progress.counters


def test_worlds_are_judged_through_the_endpoint_and_answers_kept(tmp_path):
    with serving(good) as (url, seen):
        for k in range(2):
            held, counters = judge(url, cache=tmp_path / "answers.jsonl", stages=["reach"])
            assert held.step.tolist() == [2, 2]
            np.testing.assert_allclose(held.reward, [0.5, 0.5])
            assert (counters.asked, counters.answered, counters.cached) == (4, 4, 12 * k)
    assert len(seen) == 12 + 2  # and one to begin with each time


def test_an_endpoint_that_fails_now_and_then_costs_what_it_must():
    """Of every kind of failure one, while the last good judgement is held."""
    faults = {
        4: lambda handler: handler.send("", status=500),
        5: lambda handler: handler.drop(),
        6: lambda handler: handler.send('{"choices": []}'),
        7: lambda handler: handler.say('{"progress": 7}'),
        8: lambda handler: handler.say("I am not sure."),
    }

    def respond(handler, number, body):
        faults.get(number, lambda handler: good(handler, number, body))(handler)

    with serving(respond) as (url, seen):
        held, counters = judge(url, parallel=1, num_envs=2)
    assert held.step.tolist() == [2, 2]
    assert (counters.asked, counters.answered, counters.failed) == (4, 4, 0)
    assert counters.malformed == 3
    assert len(seen) == 1 + 12 + len(faults)


def test_rubbish_for_one_facet_leaves_the_world_unjudged():
    def respond(handler, number, body):
        handler.say("dunno" if facet_of(body) == "completed" else GOOD[facet_of(body)])

    with serving(respond) as (url, _):
        held, counters = judge(url, retries=1)
    assert held.step.tolist() == [-1, -1]
    assert (counters.failed, counters.malformed) == (4, 8)


def test_a_server_that_is_not_there_or_refuses_is_told_at_once():
    def refuse(handler, number, body):
        handler.send("unknown model", status=404)

    with serving(refuse) as (url, _), pytest.raises(UserError, match="status 404: unknown model"):
        make_vlm(model="tiny", url=url)
    with pytest.raises(UserError, match=r"does not answer: .*refused.*: start the server"):
        make_vlm(model="tiny", url=url)


def test_a_model_need_not_make_sense_of_the_first_question():
    with serving(lambda handler, number, body: handler.say("It is dark.")) as (url, _):
        make_vlm(model="tiny", url=url).close()


@pytest.mark.parametrize(
    "options", [{"every": 0}, {"parallel": 0}, {"max_tokens": 0}, {"num_envs": 0}, {"retries": -1}, {"timeout": 0.0}]
)
def test_impossible_numbers_are_refused_before_anything_is_asked(options):
    with serving(good) as (url, seen), pytest.raises(UserError, match=next(iter(options))):
        make_vlm(model="tiny", url=url, **options)
    assert seen == []


def test_an_endpoint_needs_neither_torch_nor_transformers():
    code = "import sys, robolearn.rewards.vlm.make; print([m for m in ('torch', 'transformers') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
