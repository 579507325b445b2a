"""Judgements of scenes: repeated questions, failures, and answers that are kept."""

import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from vlm_toys import GOOD, Scripted, good

from robolearn.errors import UserError
from robolearn.rewards.vlm.answers import AnswerError, Judgement, MalformedAnswerError
from robolearn.rewards.vlm.cache import AnswerCache, request_key
from robolearn.rewards.vlm.judge import Judge
from robolearn.rewards.vlm.prompts import Scene, requests_about

FRAMES = np.random.default_rng(0).integers(0, 256, (4, 6, 8, 3), np.uint8)
SCENE = Scene(FRAMES[0], FRAMES[1], "lift the cube")
OTHER = Scene(FRAMES[2], FRAMES[3], "lift the cube")
ALL_WELL = Judgement(1.0, 0.5, 0.0)


def test_scenes_are_judged_in_one_batch():
    model = Scripted(good)
    assert Judge(model)([SCENE, OTHER]) == [ALL_WELL, ALL_WELL]
    assert [len(batch) for batch in model.asked] == [6]


def test_stages_reach_the_model():
    model = Scripted(good)
    Judge(model, stages=["reach", "grasp"])([SCENE])
    assert all("2. grasp" in request.prompt.text for request in model.asked[0])


def test_only_what_was_malformed_is_asked_again():
    def say(request):
        again = "could not be read" in request.prompt.text
        return good(request) if again or request.prompt.facet.key != "progress" else "half of it"

    model = Scripted(say)
    judge = Judge(model)
    assert judge([SCENE]) == [ALL_WELL]
    assert [len(batch) for batch in model.asked] == [3, 1]
    assert "it is not one JSON object and nothing else" in model.asked[1][0].prompt.text
    assert judge.tally.snapshot().malformed == 1


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_a_model_that_answers_rubbish_is_asked_so_often_and_gives_no_judgement(retries):
    model = Scripted(lambda request: "rubbish" if request.frames[-1] is SCENE.current else good(request))
    judge = Judge(model, retries=retries)
    failed, well = judge([SCENE, OTHER])
    assert type(failed) is MalformedAnswerError
    assert well == ALL_WELL
    assert [len(batch) for batch in model.asked] == [6] + retries * [3]
    assert judge.tally.snapshot().malformed == 3 * (retries + 1)


def test_what_got_no_answer_is_not_asked_again():
    model = Scripted(lambda request: AnswerError("no network"))
    judge = Judge(model)
    (failed,) = judge([SCENE])
    assert str(failed) == "no network"
    assert len(model.asked) == 1
    assert judge.tally.snapshot().malformed == 0


def test_kept_answers_are_not_asked_for_again(tmp_path):
    path = tmp_path / "deep" / "answers.jsonl"
    for k, expected in enumerate(([3], [])):  # the second time from the file
        model = Scripted(good)
        judge = Judge(model, cache=AnswerCache(path))
        assert judge([SCENE]) == [ALL_WELL]
        assert judge([SCENE]) == [ALL_WELL]
        assert [len(batch) for batch in model.asked] == expected
        assert judge.tally.snapshot().cached == 3 + 3 * k


def test_rubbish_is_not_kept(tmp_path):
    path = tmp_path / "answers.jsonl"
    Judge(Scripted(lambda request: "rubbish"), cache=AnswerCache(path))([SCENE])
    assert path.read_bytes() == b""


def test_an_answer_to_a_repeated_question_is_kept_for_the_first(tmp_path):
    said = iter(["rubbish", GOOD["completed"]])
    model = Scripted(lambda request: next(said) if request.prompt.facet.key == "completed" else good(request))
    judge = Judge(model, cache=AnswerCache(tmp_path / "answers.jsonl"))
    judge([SCENE])
    assert judge([SCENE]) == [ALL_WELL]
    assert len(model.asked) == 2


def test_an_edited_answer_is_asked_for_again(tmp_path):
    path = tmp_path / "answers.jsonl"
    Judge(Scripted(good), cache=AnswerCache(path))([SCENE])
    path.write_text(path.read_text().replace("0.5", "5.5"))
    model = Scripted(good)
    assert Judge(model, cache=AnswerCache(path))([SCENE]) == [ALL_WELL]
    assert [request.prompt.facet.key for (request,) in model.asked] == ["progress"]


def test_a_key_is_of_pixels_shape_question_and_model():
    request = requests_about(SCENE)[1]
    turned = np.ascontiguousarray(FRAMES[1].reshape(8, 6, 3))
    changed = FRAMES[1].copy()
    changed[-1, -1, -1] ^= 1
    keys = {
        request_key(request, model="a"),
        request_key(request, model="b"),
        request_key(replace(request, frames=(turned,)), model="a"),
        request_key(replace(request, frames=(changed,)), model="a"),
        request_key(replace(request, prompt=replace(request.prompt, text="?")), model="a"),
    }
    assert len(keys) == 5
    assert all(len(key) == 64 for key in keys)
    assert request_key(replace(request, frames=(FRAMES[1].copy(),)), model="a") in keys
    view = np.repeat(FRAMES[1], 2, axis=1)[:, ::2]  # the same pixels, laid out differently
    assert request_key(replace(request, frames=(view,)), model="a") in keys


def test_an_unfinished_line_is_cut_off_and_the_file_goes_on(tmp_path):
    path = tmp_path / "answers.jsonl"
    whole = AnswerCache(path)
    whole.put("a", "1")
    whole.put("b", "2")
    content = path.read_bytes()
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        cache = AnswerCache(path)
        assert len(cache) == content[:cut].count(b"\n")
        cache.put("c", "3")
        cache.close()
        again = AnswerCache(path)
        assert (again.get("c"), len(again)) == ("3", len(cache))
        again.close()


@pytest.mark.parametrize(
    "content",
    [
        b"PAR1\x00\x15",
        b"notes\n",
        b'{"key": "a"}\n',
        b'{"key": "a", "answer": 1}\n',
        b'{"key": "a", "answer": "1"}\n\n',
    ],
)
def test_a_file_of_something_else_is_left_alone(tmp_path, content):
    path = tmp_path / "mine"
    path.write_bytes(content)
    with pytest.raises(UserError, match="something else"):
        AnswerCache(path)
    assert path.read_bytes() == content


def test_a_killed_process_loses_no_answer_that_it_kept(tmp_path):
    path = tmp_path / "answers.jsonl"
    code = (
        "import sys, pathlib, itertools\n"
        "from robolearn.rewards.vlm.cache import AnswerCache\n"
        "cache = AnswerCache(pathlib.Path(sys.argv[1]))\n"
        "for i in itertools.count():\n"
        "    cache.put(str(i), 'x' * 50)\n"
        "    print(i, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "0\n"
    time.sleep(0.05)
    process.kill()
    told = len(process.stdout.read().splitlines()[:-1])  # the last may be cut
    process.wait()
    process.stdout.close()
    cache = AnswerCache(path)
    assert len(cache) >= told
    assert all(cache.get(str(i)) == 50 * "x" for i in range(told))


def test_two_who_share_a_file_keep_each_others_answers(tmp_path):
    path = tmp_path / "answers.jsonl"
    one, two = AnswerCache(path), AnswerCache(path)
    for i in range(20):
        (one if i % 3 else two).put(str(i), json.dumps({"progress": i}))
    assert len(AnswerCache(path)) == 20
