"""An endpoint that takes its time and answers as a vision-language model should, without being one.

`python -m robolearn.bench._vlm_server --delay S` prints its port and serves until its standard input ends. `serving`
runs it in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWERS = {"contrast": 1, "progress": 0.5, "completed": False}


@contextmanager
def serving(*, delay: float) -> Iterator[str]:
    """Serve for the time of the block; gives the endpoint's url. Each answer takes `delay` s."""
    command = [sys.executable, "-m", "robolearn.bench._vlm_server", "--delay", str(delay)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="_vlm_server", description="Answer questions about pictures, unseen.")
    parser.add_argument("--delay", type=float, required=True, help="s that an answer takes")
    options = parser.parse_args(arguments)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(options.delay))
    server.daemon_threads, server.block_on_close = True, False
    print(server.server_port, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()
    return 0


def _handler(delay: float) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            time.sleep(delay)
            facet = body["response_format"]["json_schema"]["name"]
            answer = {"role": "assistant", "content": json.dumps({facet: ANSWERS[facet]})}
            data = json.dumps({"choices": [{"index": 0, "message": answer}]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    return Handler


if __name__ == "__main__":
    sys.exit(main())
