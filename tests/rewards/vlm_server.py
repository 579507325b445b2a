"""An endpoint as vision-language models have it, which can also be slow, broken or wrong."""

import base64
import io
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
from PIL import Image
from vlm_toys import GOOD


def completion(text):
    """The body of a response."""
    return json.dumps({"id": "x", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]})


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.seen.append((self.path, dict(self.headers), json.loads(body)))
            number = len(self.server.seen) - 1
        self.server.respond(self, number, json.loads(body))

    def send(self, body, *, status=200, length=None, headers=()):
        data = body.encode()
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        self.wfile.write(data)

    def say(self, text):
        self.send(completion(text))

    def drop(self):
        self.close_connection = True

    def log_message(self, *args):
        pass


@contextmanager
def serving(respond):
    """Serve with `respond(handler, number of the request, its body)`; gives the url and the requests seen so far."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads, server.block_on_close = True, False
    server.respond, server.seen, server.lock = respond, [], threading.Lock()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", server.seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def facet_of(body):
    """Which of the three questions a request asks, by its schema."""
    return body["response_format"]["json_schema"]["name"]


def pictures_of(body):
    """The pictures of a request, decoded."""
    parts = [part for part in body["messages"][0]["content"] if part["type"] == "image_url"]
    found = []
    for part in parts:
        head, data = part["image_url"]["url"].split(",")
        assert head == "data:image/png;base64"
        found.append(np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))))
    return found


def good(handler, number, body):
    """Answer every question as it should be."""
    handler.say(GOOD[facet_of(body)])
