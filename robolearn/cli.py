"""The command line: `robolearn <verb> [key=value ...]`.

Verbs live in `robolearn.commands.<verb>` and are imported only when they run, so that help is quick. A verb of two
words, such as `data info`, lives in the module of the first.
"""

from __future__ import annotations

import errno
import importlib
import shutil
import sys
import traceback
from collections.abc import Sequence

from robolearn import __version__
from robolearn.config import VERBS
from robolearn.errors import UserError, nearest
from robolearn.schema import SchemaError

FLAGS = {
    "--help": "this text",
    "--cfg": "print the configuration and exit",
    "--debug": "show the traceback of an error",
    "--version": "print the version and exit",
}
VERB_FLAGS = {
    "quickstart": {"--fast": "toy budgets, a smoke test of the whole chain (budget=fast)"},
    "bench": {
        "--list": "name the benchmarks",
        "--readme": "rewrite the tables of README.md and docs/benchmarks.md from the result files",
    },
}

EXAMPLES = {
    "quickstart": (
        "robolearn quickstart",
        "robolearn quickstart --fast",
        "robolearn quickstart seed=1 policy.horizon=8",
    ),
    "collect": (
        "robolearn collect",
        "robolearn collect expert.noise=0.3 num_episodes=200 workers=2 out=outputs/noisy",
    ),
    "train": (
        "robolearn train dataset=outputs/demos",
        "robolearn train dataset=outputs/demos policy.horizon=8",
    ),
    "train-reward": (
        "robolearn train-reward dataset=outputs/attempts",
        "robolearn train-reward dataset=outputs/attempts reward=recurrent observations=[observation.state]",
    ),
    "annotate": (
        "robolearn annotate dataset=outputs/demos with=decompose out=outputs/annotated",
        "robolearn annotate dataset=outputs/demos with=outputs/reward/model out=outputs/annotated",
        "robolearn annotate dataset=outputs/demos with=outputs/reward/model",
    ),
    "teach": (
        "robolearn teach task=edge_grasp",
        "robolearn teach task=stack privilege=none ppo.reward=dense out=outputs/plain",
    ),
    "finetune": (
        "robolearn finetune checkpoint=outputs/policy dataset=outputs/demos algo.total_steps=100000",
        "robolearn finetune algo=noise_steering checkpoint=outputs/policy dataset=outputs/demos out=outputs/steered",
        "robolearn finetune checkpoint=outputs/policy dataset=outputs/demos launcher=ray actors=4",
        "robolearn finetune checkpoint=outputs/policy dataset=outputs/demos shaping.potential=simulator",
    ),
    "eval": (
        "robolearn eval checkpoint=outputs/policy",
        "robolearn eval checkpoint=outputs/policy episodes=500",
        "robolearn eval checkpoint=outputs/guided candidates=16",
    ),
    "export": ("robolearn export checkpoint=outputs/finetuned out=outputs/bundle",),
    "deploy": (
        "robolearn deploy bundle=outputs/bundle",
        "robolearn deploy bundle=outputs/bundle deploy.episodes=5",
    ),
    "sim-arm": ("robolearn sim-arm domain_id=7",),
    "view": (
        "robolearn view task=stack",
        "robolearn view task=lift actor=random camera=wrist window=false out=outputs/look",
    ),
    "data info": ("robolearn data info dataset=outputs/demos",),
    "data check": (
        "robolearn data check dataset=outputs/demos",
        "robolearn data check dataset=outputs/demos strict=true jump=10",
    ),
    "data view": (
        "robolearn data view dataset=outputs/demos out=outputs/demos.html",
        "robolearn data view dataset=outputs/demos only=[3,17]",
    ),
    "data merge": ("robolearn data merge datasets=[outputs/demos,outputs/more] out=outputs/all",),
    "data split": (
        "robolearn data split dataset=outputs/demos share=0.9 out=outputs/split",
        "robolearn data split dataset=outputs/demos episodes=[0,5,10-19] names=[bad,good] out=outputs/sorted",
        "robolearn data split dataset=outputs/demos column=success value=true names=[successes,failures] out=outputs/s",
    ),
    "data import": (
        "robolearn data import source=low_dim.hdf5 out=outputs/imported",
        "robolearn data import source=recordings contract=contract.yaml out=outputs/recorded",
    ),
    "bench": (
        "robolearn bench --list",
        "robolearn bench sim",
        "robolearn bench sim out=sim.json",
        "robolearn bench policies tasks=[stack] seeds=[0]",
    ),
}

EXTRAS = {
    "rclpy": "ros",
    "rcl_interfaces": "ros",
    "diagnostic_msgs": "ros",
    "geometry_msgs": "ros",
    "sensor_msgs": "ros",
    "std_msgs": "ros",
    "std_srvs": "ros",
    "trajectory_msgs": "ros",
    "h5py": "recordings",
    "rosbags": "recordings",
    "accelerate": "training",
    "tensorboard": "training",
    "robosuite": "robosuite",
    "mujoco_warp": "warp",
    "warp": "warp",
    "ray": "ray",
    "transformers": "vla",
    "qwen_vl_utils": "vla",
}
DISPLAY_WORDS = ("GLFW", "OpenGL", "EGL", "OSMesa", "glGetError", "DISPLAY")

OK, FAILED, USER_ERROR, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status.

    It is 0, 1 (a bug; or a check that found faults), 2 (the user can mend it) or 130 (stopped).
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _dispatch(words)
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        sentence = explain(error)
        if sentence is None or "--debug" in words:
            traceback.print_exc()
        if sentence is None:
            return FAILED
        print(f"robolearn: {sentence}", file=sys.stderr)
        return USER_ERROR


def explain(error: BaseException) -> str | None:
    """Return the sentence for a mistake that a user can mend, or None for a bug."""
    if isinstance(error, UserError | SchemaError):
        return str(error)
    if _is_full_disk(error):
        free = shutil.disk_usage(".").free / 1e9
        where = f" at '{name}'" if (name := getattr(error, "filename", None)) else ""
        return f"disk full{where}: {free:.1f} GB free space here; make room, the same command resumes"
    if isinstance(error, PermissionError) and error.filename:
        return f"no permission for '{error.filename}': choose another folder with out=FOLDER"
    if isinstance(error, ModuleNotFoundError) and (extra := EXTRAS.get((error.name or "").partition(".")[0])):
        return (
            f"the package '{error.name}' is missing: install the extra '{extra}' "
            f"(`uv sync --inexact --extra {extra}`, or `pip install 'robolearn[{extra}]'`)"
        )
    if any(word in str(error) for word in DISPLAY_WORDS):
        return (
            f"no display to draw on ({str(error).partition(chr(10))[0]}): set MUJOCO_GL=egl "
            "and install its libraries (`apt install libegl1 libopengl0 libgl1-mesa-dri`)"
        )
    return None


def _is_full_disk(error: BaseException) -> bool:
    codes = (errno.ENOSPC, errno.EDQUOT)
    if isinstance(error, OSError):
        return error.errno in codes
    # safetensors is written in Rust and has the system's error in its text only
    return type(error).__name__ == "SafetensorError" and any(f"(os error {code})" in str(error) for code in codes)


def _dispatch(words: list[str]) -> int:
    flags = ["--help" if word == "-h" else word for word in words if word.startswith("-")]
    verb, *overrides = [word for word in words if not word.startswith("-")] or [""]
    verb = verb.replace("_", "-")
    families = {name.partition(" ")[0] for name in VERBS if " " in name}
    if verb in families and overrides:
        verb, overrides = f"{verb} {overrides[0]}", overrides[1:]
    if "--version" in flags:
        print(__version__)
        return OK
    if verb and verb not in VERBS and verb not in families:
        raise UserError(f"unknown verb '{verb}'{nearest(verb, VERBS)}")
    _check_flags(verb, flags)
    if verb not in VERBS:
        print(overview(verb))
    elif "--help" in flags:
        print(verb_help(verb))
    else:
        return _run(verb, flags, overrides)
    return OK


def _check_flags(verb: str, flags: list[str]) -> None:
    valid = FLAGS | VERB_FLAGS.get(verb, {})
    for flag in flags:
        if "=" in flag:
            raise UserError(f"cannot take '{flag}': options are written without dashes, {flag.lstrip('-')}")
        if flag not in valid:
            raise UserError(f"unknown flag '{flag}'{nearest(flag, valid)}")


def _run(verb: str, flags: list[str], overrides: list[str]) -> int:
    command = f"robolearn.commands.{verb.partition(' ')[0].replace('-', '_')}"
    if "--list" in flags or "--readme" in flags:
        bench = importlib.import_module(command)
        print(bench.overview() if "--list" in flags else "\n".join(bench.update_documents()))
        return OK
    from omegaconf import OmegaConf

    from robolearn.compose import build, compose

    if "--fast" in flags:
        overrides = [*overrides, "budget=fast"]
    if verb == "bench":
        overrides = [word if "=" in word else f"name={word}" for word in overrides]
    config = compose(verb, overrides)
    if "--cfg" in flags:
        print(OmegaConf.to_yaml(config), end="")
        return OK
    checked = build(verb, config)
    status: int | None = importlib.import_module(command).run(checked)
    return status or OK


def overview(family: str = "") -> str:
    """Return the help text that lists the verbs, all or those that begin with one word, e.g. "data"."""
    shown = [verb for verb in VERBS if verb.startswith(family)]
    width = max(map(len, shown))
    verbs = [f"  {verb:<{width}}  {_summary(verb)}" for verb in shown]
    return "\n".join(
        (
            f"usage: robolearn {family or '<verb>'}{' <what>' if family else ''} [key=value ...] [flags]",
            "",
            "Teach a robot arm in simulation, refine it with online RL, run it through ROS 2.",
            "",
            *verbs,
            "",
            "`robolearn <verb> --help` shows examples and every option. Begin with `robolearn quickstart`.",
        )
    )


def verb_help(verb: str) -> str:
    """Return the help text of a verb: examples, groups, and every option with type and default."""
    from robolearn.compose import compose, group_options, options

    known = list(options(compose(verb, [])))
    shown = {o.key: o.key + ("=..." if o.missing else f"={_text(o.value)}") for o in known}
    wide, types = max(map(len, shown.values())), max(len(o.type) for o in known)
    groups = group_options(verb)
    flags = VERB_FLAGS.get(verb, {}) | FLAGS
    name = "bench <name>" if verb == "bench" else verb
    lines = [f"usage: robolearn {name} [key=value ...] [flags]", "", _summary(verb), "", "examples:"]
    lines += [f"  {example}" for example in EXAMPLES[verb]]
    lines += ["", "flags:", *(f"  {flag:<{max(map(len, flags))}}  {text}" for flag, text in flags.items())]
    if groups:
        lines += ["", "groups, each a set of the options below:"]
        lines += [f"  {group}={'|'.join(names)}" for group, names in groups.items()]
    lines += ["", "options with their defaults (... must be given):"]
    lines += [f"  {shown[o.key]:<{wide}}  {o.type:<{types}}  {o.help}" for o in known]
    return "\n".join(lines)


def _summary(verb: str) -> str:
    return (VERBS[verb].__doc__ or "").partition("\n")[0]


def _text(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
