"""A vision-language model behind an OpenAI-compatible endpoint: vLLM, llama.cpp, SGLang, Ollama, or a paid service."""

from __future__ import annotations

import base64
import io
import json
import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from http.client import HTTPException, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from PIL import Image as PilImage

from robolearn.errors import UserError
from robolearn.rewards.vlm.answers import AnswerError, MalformedAnswerError, schema
from robolearn.rewards.vlm.prompts import Image, Request

Answer = str | AnswerError

RETRIED = {408, 425, 429}  # besides all from 500 on: the same request may do later
MAX_BYTES = 1 << 20  # of a response
EXCERPT = 200  # characters of a refusal that are shown


class Endpoint:
    """Posts to `<url>/chat/completions`, several requests at a time. Satisfies `Backend`.

    Pictures travel as PNG in data URLs. The API key is read from the environment, sent in the header `Authorization`,
    and shown nowhere. Redirects are not followed: they would take it to another server.

    Attributes:
        name: of the model and where it is served.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        api_key_env: str | None = None,
        structured: bool = True,
        max_tokens: int = 64,
        timeout: float = 30.0,
        attempts: int = 3,
        backoff: float = 0.5,
        parallel: int = 8,
    ) -> None:
        """Prepare to ask; nothing is sent.

        Args:
            url: up to and without "/chat/completions", e.g. "http://localhost:8000/v1".
            model: its name at the endpoint.
            api_key_env: environment variable with the API key; None where none is needed.
            structured: whether to send the JSON schema of the answer, which not every server knows.
            max_tokens: longest answer.
            timeout: s that the server may say nothing, and that a whole response may take.
            attempts: how often a request is sent at most while the network or the server fails.
            backoff: s before the second attempt, twice as long before each further one.
            parallel: requests that are under way at a time.

        Raises:
            UserError: no such address, or there is no usable key in the environment.
        """
        self.name = f"{model} at {_checked_url(url)}"
        self._url, self._model, self._key = f"{url.rstrip('/')}/chat/completions", model, _key(api_key_env)
        self._structured, self._max_tokens = structured, max_tokens
        self._timeout, self._attempts, self._backoff, self._parallel = timeout, attempts, backoff, parallel
        self._opener = urllib.request.build_opener(_NoRedirect)
        self._closed = threading.Event()

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Return what the model says to each request, or why it says nothing.

        Raises:
            UserError: the endpoint refuses a request for good, e.g. for want of a key.
        """
        return _in_parallel(self._ask, requests, threads=self._parallel)

    def close(self) -> None:
        """Send nothing any more."""
        self._closed.set()

    def _ask(self, request: Request) -> Answer:
        body = json.dumps(self._body(request)).encode()
        for attempt in range(self._attempts):
            if attempt and self._closed.wait(self._backoff * 2 ** (attempt - 1)):
                break
            try:
                return _content(self._post(body))
            except MalformedAnswerError as error:
                return error
            except (OSError, HTTPException) as error:  # nothing arrives, or not all of it
                failure = AnswerError(f"{self._url} does not answer: {self._without_key(str(error) or repr(error))}")
        return failure

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if self._key is not None:
            headers["Authorization"] = f"Bearer {self._key}"
        deadline = time.monotonic() + self._timeout
        try:
            request = urllib.request.Request(self._url, data=body, headers=headers)
            with self._opener.open(request, timeout=self._timeout) as response:
                return _read(response, deadline)
        except urllib.error.HTTPError as error:
            with error:
                if error.code >= 500 or error.code in RETRIED:
                    raise
                raise UserError(self._refusal(error)) from None

    def _refusal(self, error: urllib.error.HTTPError) -> str:
        said = " ".join(error.read(MAX_BYTES).decode(errors="replace").split())
        return (
            f"{self._url} refuses with status {error.code}: {self._without_key(said)[:EXCERPT]}; check the address, "
            "model and API key, and whether it takes pictures and JSON schemas (structured=False sends none)"
        )

    def _without_key(self, text: str) -> str:
        return text if self._key is None else text.replace(self._key, "***")

    def _body(self, request: Request) -> dict[str, Any]:
        pictures = [{"type": "image_url", "image_url": {"url": _data_url(frame)}} for frame in request.frames]
        content = [*pictures, {"type": "text", "text": request.prompt.text}]
        body: dict[str, Any] = {
            "model": self._model,
            "messages": [{"role": "user", "content": content}],
            "max_tokens": self._max_tokens,
            "temperature": 0,
        }
        if self._structured:
            facet = request.prompt.facet
            form = {"name": facet.key, "strict": True, "schema": schema(facet)}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        return body


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        return None


def _checked_url(url: str) -> str:
    if "@" in url or "?" in url:  # before anything shows it
        raise UserError("an endpoint's address must hold no password and no query: put the key into api_key_env")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UserError(f"'{url}' is no address of an endpoint: give one like http://localhost:8000/v1")
    return url.rstrip("/")


def _key(variable: str | None) -> str | None:
    if variable is None:
        return None
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(f"the environment variable {variable} is not set: put the endpoint's API key into it")
    if not (key.isascii() and key.isprintable()):
        raise UserError(f"the environment variable {variable} holds characters that no API key has: set it anew")
    return key


def _data_url(frame: Image) -> str:
    buffer = io.BytesIO()
    # one of more than 1 takes up to ten times as long, for a few bytes that go over the wire once
    PilImage.fromarray(frame).save(buffer, format="PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _read(response: HTTPResponse, deadline: float) -> bytes:
    """Return a whole response; `timeout` alone would let a server send a byte now and then for ever."""
    data = bytearray()
    while part := response.read1(1 << 16):
        data += part
        if len(data) > MAX_BYTES:
            raise MalformedAnswerError(f"it is longer than {MAX_BYTES} bytes")
        if time.monotonic() > deadline:
            raise TimeoutError("it takes too long")
    if response.length:
        raise ConnectionError("the connection was closed within the response")
    return bytes(data)


def _content(body: bytes) -> str:
    """Return what the model says in a chat completion."""
    try:
        content = json.loads(body)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise MalformedAnswerError("it is no chat completion") from error
    if not isinstance(content, str):  # of a model that refuses it is null
        raise MalformedAnswerError("it has no text")
    return content


def _in_parallel(work: Callable[[Request], Answer], requests: Sequence[Request], *, threads: int) -> list[Answer]:
    """Answer all requests; in daemon threads, so that a program may end while a server keeps it waiting.

    Raises:
        Exception: the first that `work` raised.
    """
    found: dict[int, Answer] = {}
    raised: list[Exception] = []
    places = iter(range(len(requests)))  # CPython takes the next in one piece

    def run() -> None:
        try:
            for i in places:
                found[i] = work(requests[i])
        except Exception as error:  # belongs to the thread that asked
            raised.append(error)

    workers = [threading.Thread(target=run, daemon=True) for _ in range(min(threads, len(requests)))]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if raised:
        raise raised[0]
    return [found[i] for i in range(len(requests))]
