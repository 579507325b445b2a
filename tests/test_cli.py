import errno
import subprocess
import sys
import types

import pytest

import robolearn
from robolearn.cli import explain, main
from robolearn.config import VERBS
from robolearn.errors import UserError
from robolearn.schema import SchemaError


@pytest.fixture
def verb(monkeypatch):
    """Stand in for `robolearn.commands.collect`: calls what the test puts there."""
    module = types.ModuleType("robolearn.commands.collect")
    monkeypatch.setitem(sys.modules, module.__name__, module)

    def install(run):
        module.run = run

    return install


def raiser(error):
    def run(config):
        raise error

    return run


def test_help_lists_every_verb(capsys):
    assert main([]) == 0
    out = capsys.readouterr().out
    for name, kind in VERBS.items():
        assert name in out
        assert kind.__doc__.partition("\n")[0] in out
    assert main(["--help"]) == 0
    assert capsys.readouterr().out == out


@pytest.mark.parametrize("name", VERBS)
def test_help_of_a_verb_has_examples_and_every_option(name, capsys):
    assert main([name, "--help"]) == 0
    out = capsys.readouterr().out
    assert f"robolearn {name}" in out.partition("examples:")[2]
    assert "options with their defaults" in out


def test_help_shows_defaults_and_types(capsys):
    main(["quickstart", "-h"])
    lines = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if "=" in line}
    assert lines["policy.horizon=16"][0] == "int"
    assert lines["fresh=false"][0] == "bool"
    assert lines["deploy.domain_id=null"][:3] == ["int", "|", "None"]
    assert "budget=fast|full" in lines


def test_help_needs_none_of_the_heavy_packages():
    heavy = {"torch", "lerobot", "mujoco", "gymnasium", "rclpy", "onnxruntime", "matplotlib", "pyarrow"}
    code = (
        "import sys; from robolearn.cli import main; main(['--help']); main(['quickstart', '--help']);"
        "main(['bench', '--list']); main(['data']); main(['data', 'import', '--help']);"
        "main(['collect', '--cfg']); main(['collect', 'tsk=1']);"
        f"print('loaded:', *sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded:"


def test_version(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == robolearn.__version__


def test_a_verb_gets_its_configuration(verb):
    got = []
    verb(got.append)
    assert main(["collect", "seed=5", "task=lift", "expert.noise=0.25"]) == 0
    (config,) = got
    assert type(config) is VERBS["collect"]
    assert (config.seed, config.task.name, config.expert.noise) == (5, "lift", 0.25)


def test_cfg_prints_and_does_not_run(verb, capsys):
    verb(raiser(AssertionError("ran")))
    assert main(["collect", "seed=5", "--cfg"]) == 0
    assert "seed: 5\n" in capsys.readouterr().out


def test_fast_is_a_budget(capsys):
    assert main(["quickstart", "--fast", "--cfg"]) == 0
    assert "budget: fast\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["quickstrat"], "unknown verb 'quickstrat'; did you mean 'quickstart'?"),
        (["quickstart", "--fats"], "unknown flag '--fats'; did you mean '--fast'?"),
        (["collect", "--fast"], "unknown flag '--fast'"),
        (["collect", "--seed=1"], "options are written without dashes, seed=1"),
        (["collect", "polcy.horizon=8"], "unknown option 'polcy.horizon'"),
        (["train"], "'train' needs dataset="),
        (["bench"], "'bench' needs name="),
        (["data", "inof"], "unknown verb 'data inof'; did you mean 'data info'?"),
        (["bench", "wind"], "unknown benchmark 'wind'; valid: "),
    ],
)
def test_mistakes_end_in_one_sentence_and_status_2(words, sentence, capsys):
    assert main(words) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_debug_shows_the_traceback_too(verb, capsys):
    verb(raiser(UserError("no such dataset: give dataset=FOLDER")))
    assert main(["collect", "--debug"]) == 2
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.endswith("robolearn: no such dataset: give dataset=FOLDER\n")


def test_a_bug_keeps_its_traceback_and_has_another_status(verb, capsys):
    verb(raiser(ZeroDivisionError("oops")))
    assert main(["collect"]) == 1
    assert "ZeroDivisionError: oops" in capsys.readouterr().err


def test_an_interrupt_says_how_to_go_on(verb, capsys):
    verb(raiser(KeyboardInterrupt()))
    assert main(["collect"]) == 130
    assert "the same command resumes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "demos/data"), ("disk full at 'demos/data'", "resumes")),
        (OSError(errno.EDQUOT, "Quota exceeded"), ("disk full", "GB free space")),
        (PermissionError(errno.EACCES, "Permission denied", "/etc/x"), ("no permission for '/etc/x'", "out=FOLDER")),
        (ModuleNotFoundError("", name="rclpy"), ("'rclpy' is missing", "--extra ros")),
        (ModuleNotFoundError("", name="sensor_msgs.msg"), ("'sensor_msgs.msg' is missing", "robolearn[ros]")),
        (ModuleNotFoundError("", name="robosuite"), ("--extra robosuite",)),
        (ModuleNotFoundError("", name="ray"), ("--extra ray",)),
        (ModuleNotFoundError("", name="mujoco_warp"), ("--extra warp",)),
        (RuntimeError("an OpenGL platform library has not been loaded"), ("no display", "MUJOCO_GL=egl")),
        (SchemaError("channel 'action' is missing on the robot"), ("channel 'action' is missing on the robot",)),
    ],
)
def test_what_a_user_can_mend_is_explained(error, words):
    sentence = explain(error)
    assert sentence is not None
    assert "\n" not in sentence
    for word in words:
        assert word in sentence


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("", name="robolearn.commands.colect"), OSError("odd"), KeyError("x")]
)
def test_a_bug_is_not_explained_away(error):
    assert explain(error) is None


def test_the_extras_named_exist():
    from importlib.metadata import metadata

    from robolearn.cli import EXTRAS

    assert set(EXTRAS.values()) <= set(metadata("robolearn").get_all("Provides-Extra"))


def test_the_module_is_the_command(robolearn):
    done = robolearn("collect", "tsk=lift")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "robolearn: unknown option 'tsk'; did you mean 'task'?\n"
