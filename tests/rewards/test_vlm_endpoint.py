"""A model behind an endpoint: what is sent, and what becomes of each way in which it may fail."""

import time

import numpy as np
import pytest
import vlm_server
from vlm_server import facet_of, good, serving
from vlm_toys import GOOD

from robolearn.errors import UserError
from robolearn.rewards.vlm.answers import AnswerError, MalformedAnswerError, schema
from robolearn.rewards.vlm.endpoint import Endpoint
from robolearn.rewards.vlm.prompts import Scene, requests_about

KEY, VARIABLE = "sk-very-secret", "ROBOLEARN_TEST_KEY"
FRAMES = np.random.default_rng(0).integers(0, 256, (2, 6, 8, 3), np.uint8)
REQUESTS = requests_about(Scene(FRAMES[0], FRAMES[1], "lift the cube"))
CONTRAST, PROGRESS, COMPLETED = REQUESTS


def endpoint(url, **options):
    return Endpoint(url, "tiny", **{"timeout": 5.0, "backoff": 0.01, **options})


def test_questions_travel_as_such_endpoints_want_them():
    with serving(good) as (url, seen):
        assert endpoint(url + "/").ask(REQUESTS) == [GOOD["contrast"], GOOD["progress"], GOOD["completed"]]
    assert len(seen) == 3
    bodies = {facet_of(body): body for _, _, body in seen}
    for request in REQUESTS:
        body = bodies[request.prompt.facet.key]
        assert (body["model"], body["temperature"], body["max_tokens"]) == ("tiny", 0, 64)
        assert body["messages"][0]["content"][-1] == {"type": "text", "text": request.prompt.text}
        assert body["response_format"]["json_schema"]["schema"] == schema(request.prompt.facet)
        np.testing.assert_array_equal(vlm_server.pictures_of(body), request.frames)
    for path, headers, _ in seen:
        assert path == "/v1/chat/completions"
        assert "Authorization" not in headers


def test_a_schema_is_sent_on_demand_only():
    with serving(lambda handler, number, body: handler.say("{}")) as (url, seen):
        endpoint(url, structured=False).ask([PROGRESS])
    assert "response_format" not in seen[0][2]


def test_the_key_comes_from_the_environment_and_is_shown_nowhere(monkeypatch):
    monkeypatch.setenv(VARIABLE, KEY + "\n")

    def echo(handler, number, body):
        handler.send(f"wrong key: {handler.headers['Authorization']}", status=401)

    with serving(echo) as (url, seen):
        one = endpoint(url, api_key_env=VARIABLE)
        with pytest.raises(UserError, match=r"status 401: wrong key: Bearer \*\*\*;") as caught:
            one.ask([PROGRESS])
    assert seen[0][1]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in str(caught.value) + repr(one) + one.name
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("value", [None, "", " ", "two\nlines", "sch\u00f6n"])
def test_a_key_that_is_none_is_a_mistake_of_the_user(monkeypatch, value):
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(UserError, match=VARIABLE) as caught:
        endpoint("http://localhost/v1", api_key_env=VARIABLE)
    assert not (value or "").strip() or value not in str(caught.value)


@pytest.mark.parametrize("url", ["localhost:8000/v1", "file:///etc/passwd", "http://", "http://h:port", "http://[::1"])
def test_an_address_that_is_none_is_refused(url):
    with pytest.raises(UserError, match="no address"):
        endpoint(url)


@pytest.mark.parametrize("url", ["http://me:word@host/v1", "https://me:word@host:port", "https://host/v1?key=word"])
def test_an_address_holds_no_secret(url):
    with pytest.raises(UserError, match="api_key_env") as caught:
        endpoint(url)
    assert "word@" not in str(caught.value)
    assert "key=word" not in str(caught.value)


def failing_until(n, fail):
    """Fail `n` times, then answer as one should."""
    return lambda handler, number, body: fail(handler) if number < n else good(handler, number, body)


FAILURES = {
    "500": lambda handler: handler.send("oops", status=500),
    "503": lambda handler: handler.send("later", status=503),
    "429": lambda handler: handler.send("not so fast", status=429),
    "dropped": lambda handler: handler.drop(),
    "cut short": lambda handler: (handler.send("{}", length=100), handler.drop()),
    "slow": lambda handler: time.sleep(1.5),
}
TIMEOUTS = {"slow": 1.0}


@pytest.mark.parametrize("name", FAILURES)
def test_what_may_pass_is_tried_again(name):
    with serving(failing_until(2, FAILURES[name])) as (url, seen):
        assert endpoint(url, timeout=TIMEOUTS.get(name, 5.0)).ask([PROGRESS]) == [GOOD["progress"]]
    assert len(seen) == 3


@pytest.mark.parametrize("name", FAILURES)
def test_what_does_not_pass_is_no_answer(name):
    with serving(failing_until(9, FAILURES[name])) as (url, seen):
        (answer,) = endpoint(url, timeout=TIMEOUTS.get(name, 5.0), attempts=2).ask([PROGRESS])
    assert type(answer) is AnswerError
    assert url in str(answer)
    assert len(seen) == 2


def test_a_response_that_trickles_in_is_given_up():
    def trickle(handler, number, body):
        handler.send("{", length=1000)
        for _ in range(20):
            handler.wfile.write(b" ")
            time.sleep(0.05)

    with serving(trickle) as (url, _):
        start = time.monotonic()
        (answer,) = endpoint(url, timeout=0.2, attempts=1).ask([PROGRESS])
    assert type(answer) is AnswerError
    assert time.monotonic() - start < 0.9  # the whole would take 1 s


def test_between_attempts_it_waits_longer_each_time():
    times = []

    def fail(handler, number, body):
        times.append(time.monotonic())
        handler.send("", status=500)

    with serving(fail) as (url, _):
        endpoint(url, attempts=4, backoff=0.05).ask([PROGRESS])
    assert (np.diff(times) > [0.05, 0.1, 0.2]).all()


def test_once_closed_it_does_not_try_again():
    with serving(failing_until(9, FAILURES["500"])) as (url, seen):
        one = endpoint(url, attempts=5, backoff=60.0)
        one.close()
        (answer,) = one.ask([PROGRESS])
    assert type(answer) is AnswerError
    assert len(seen) == 1


def test_nobody_there_is_no_answer():
    with serving(good) as (url, _):
        pass
    (answer,) = endpoint(url, attempts=2).ask([PROGRESS])
    assert type(answer) is AnswerError


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_is_not_tried_again(status):
    with serving(lambda handler, number, body: handler.send("no such model", status=status)) as (url, seen):
        with pytest.raises(UserError, match=f"status {status}: no such model"):
            endpoint(url).ask([PROGRESS])
        assert len(seen) == 1


@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_is_not_followed(monkeypatch, status):
    monkeypatch.setenv(VARIABLE, KEY)
    with serving(good) as (elsewhere, seen_elsewhere):

        def redirect(handler, number, body):
            handler.send("", status=status, headers=[("Location", f"{elsewhere}/chat/completions")])

        with serving(redirect) as (url, _), pytest.raises(UserError, match=f"status {status}"):
            endpoint(url, api_key_env=VARIABLE).ask([PROGRESS])
    assert seen_elsewhere == []


MALFORMED = {
    "no JSON": "<html>",
    "cut JSON": vlm_server.completion("x")[:-3],
    "no choices": "{}",
    "empty choices": '{"choices": []}',
    "no message": '{"choices": [{}]}',
    "a list": "[]",
    "no text": '{"choices": [{"message": {"content": null}}]}',
    "too long": " " * (1 << 21),
}


@pytest.mark.parametrize("body", MALFORMED.values(), ids=MALFORMED)
def test_a_body_that_is_no_completion_is_malformed(body):
    with serving(lambda handler, number, _: handler.send(body)) as (url, seen):
        (answer,) = endpoint(url).ask([PROGRESS])
    assert type(answer) is MalformedAnswerError
    assert len(seen) == 1


@pytest.mark.parametrize(("parallel", "most"), [(1, 1), (4, 4)])
def test_several_requests_are_under_way_at_a_time_and_answered_in_order(parallel, most):
    present = [0, 0]

    def count(handler, number, body):
        with handler.server.lock:
            present[0] += 1
            present[1] = max(present)
        time.sleep(0.1)
        with handler.server.lock:
            present[0] -= 1
        handler.say(body["messages"][0]["content"][-1]["text"])

    requests = [*REQUESTS, *requests_about(Scene(FRAMES[0], FRAMES[1], "push"))]
    with serving(count) as (url, _):
        assert endpoint(url, parallel=parallel).ask(requests) == [r.prompt.text for r in requests]
    assert present[1] == most
