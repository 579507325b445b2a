"""LeRobot's asynchronous inference on a simulated arm, with a note of when each observation was where.

`python -m robolearn.bench._lerobot_async --policy FOLDER --task NAME --seconds S --out FILE` runs LeRobot's
`RobotClient` in this process and its `PolicyServer` in another one, as its documents say. Times are of the machine's
clock, which both share.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import socket
import sys
import threading
import time
from concurrent import futures
from pathlib import Path
from typing import Any

FPS = 20
START_TIMEOUT = 120.0  # s to import LeRobot and listen
Times = dict[float, dict[str, float]]  # by the observation's time


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="_lerobot_async", description="Time LeRobot's asynchronous inference.")
    parser.add_argument("--policy", type=Path, required=True, help="folder of a policy as LeRobot saves it")
    parser.add_argument("--task", required=True, help="name of the task")
    parser.add_argument("--chunk", type=int, required=True, help="actions of a chunk")
    parser.add_argument("--seconds", type=float, required=True, help="for how long")
    parser.add_argument("--out", type=Path, required=True, help="JSON file of what was found")
    options = parser.parse_args(arguments)
    logging.disable(logging.INFO)  # both log every observation
    options.out.write_text(json.dumps({"stages_ms": measure(options)}) + "\n")
    return 0


def measure(options: argparse.Namespace) -> list[dict[str, float]]:
    """Milliseconds of each stage, for every observation whose chunk was executed."""
    context = multiprocessing.get_context("spawn")
    port, notes = _free_port(), options.out.with_suffix(".server.jsonl")
    listening = context.Event()
    server = context.Process(target=_serve, args=(port, notes, listening), daemon=True)
    server.start()
    try:
        if not listening.wait(START_TIMEOUT):
            raise RuntimeError("LeRobot's policy server does not listen")
        times = _control(options, port)
    finally:
        server.terminate()
        server.join()
    for line in notes.read_text().splitlines():
        note = json.loads(line)
        times.setdefault(note.pop("observed"), {}).update(note)
    return [_stages(observed, note) for observed, note in sorted(times.items()) if len(note) == 4]


def _stages(observed: float, note: dict[str, float]) -> dict[str, float]:
    """The same parts as `robolearn.real.statistics.STAGES`; an observation goes out as soon as it is made."""
    return {
        "observation": 0.0,
        "transport": 1e3 * (note["started"] - observed + note["arrived"] - note["inferred"]),
        "inference": 1e3 * (note["inferred"] - note["started"]),
        "command": 1e3 * (note["commanded"] - note["arrived"]),
        "latency": 1e3 * (note["commanded"] - observed),
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("localhost", 0))
        return int(found.getsockname()[1])


def _serve(port: int, notes: Path, listening: Any) -> None:
    """Be LeRobot's server, which writes down when each inference began and ended."""
    import grpc
    from lerobot.async_inference.configs import PolicyServerConfig
    from lerobot.async_inference.policy_server import PolicyServer
    from lerobot.transport import services_pb2_grpc

    import robolearn.policies.lerobot_processors  # noqa: F401  the policy's first step is registered there

    logging.disable(logging.INFO)

    class Noting(PolicyServer):
        def _predict_action_chunk(self, observation_t: Any) -> Any:
            started = time.time()
            chunk = super()._predict_action_chunk(observation_t)
            note = {"observed": observation_t.get_timestamp(), "started": started, "inferred": time.time()}
            with notes.open("a") as file:
                file.write(json.dumps(note) + "\n")
            return chunk

    notes.unlink(missing_ok=True)
    notes.touch()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4))
    # without the pause that it makes by default, until a thirtieth of a second is over
    config = PolicyServerConfig(port=port, fps=FPS, inference_latency=0.0)
    services_pb2_grpc.add_AsyncInferenceServicer_to_server(Noting(config), server)
    server.add_insecure_port(f"localhost:{port}")
    server.start()
    listening.set()
    server.wait_for_termination()


def _control(options: argparse.Namespace, port: int) -> Times:
    """Be LeRobot's client for a while; return when chunks arrived and their first actions went to the arm."""
    from lerobot.async_inference.configs import RobotClientConfig
    from lerobot.async_inference.robot_client import RobotClient

    from robolearn.lerobot_plugins.config_arm import SimulatedArmConfig

    times: Times = {}
    chunk_of: dict[int, tuple[Any, float]] = {}  # action and its observation's time, by the action's identity

    class Noting(RobotClient):
        def _aggregate_action_queues(self, incoming_actions: Any, aggregate_fn: Any = None) -> None:
            observed = incoming_actions[0].get_timestamp()
            times.setdefault(observed, {})["arrived"] = time.time()
            chunk_of.update({id(one.get_action()): (one.get_action(), observed) for one in incoming_actions})
            super()._aggregate_action_queues(incoming_actions, aggregate_fn)

        def _action_tensor_to_action_dict(self, action_tensor: Any) -> Any:
            _, observed = chunk_of[id(action_tensor)]
            times[observed].setdefault("commanded", time.time())
            return super()._action_tensor_to_action_dict(action_tensor)

    client = Noting(
        RobotClientConfig(
            policy_type="act",
            pretrained_name_or_path=str(options.policy),
            robot=SimulatedArmConfig(task=options.task, fps=FPS, id="bench"),
            actions_per_chunk=options.chunk,
            server_address=f"localhost:{port}",
            fps=FPS,
            aggregate_fn_name="latest_only",
        )
    )
    if not client.start():
        raise RuntimeError("LeRobot's client finds no server")
    receiver = threading.Thread(target=client.receive_actions, daemon=True)
    receiver.start()
    end = threading.Timer(options.seconds, client.shutdown_event.set)
    end.start()
    client.control_loop(task=options.task)
    receiver.join(5.0)
    client.stop()
    return times


if __name__ == "__main__":
    sys.exit(main())
