"""`robolearn view`: a video and a film strip without a display, a window where there is one."""

import contextlib
import types

import av
import numpy as np
import pytest
from PIL import Image

from robolearn.cli import main
from robolearn.commands import view as view_module
from robolearn.sim.backends.mujoco import MujocoVecEnv


@pytest.fixture(autouse=True)
def small_and_without_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr(view_module, "WIDTH", 64)
    monkeypatch.setattr(view_module, "HEIGHT", 48)


def view(out, *words):
    return main(["view", f"out={out}", *words])


def video_frames(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_without_a_display_it_writes_video_and_film_strip_and_says_where(tmp_path, capsys):
    assert view(tmp_path, "seed=3") == 0
    video, strip = tmp_path / "lift_3.mp4", tmp_path / "lift_3.png"
    out = capsys.readouterr().out
    assert str(video) in out
    assert str(strip) in out
    assert "done after" in out
    frames = video_frames(video)
    assert len(frames) > 10
    assert frames[0].shape == (48, 64, 3)
    assert np.abs(frames[0].astype(int) - frames[-1]).max() > 50  # something moves
    assert Image.open(strip).height == 24


def test_every_episode_is_drawn(tmp_path):
    assert view(tmp_path, "actor=hold", "task.max_episode_steps=2", "episodes=2") == 0
    assert {path.name for path in tmp_path.iterdir()} == {f"lift_{k}.{kind}" for k in (0, 1) for kind in ("mp4", "png")}
    assert len(video_frames(tmp_path / "lift_1.mp4")) == 3


def last_tool(actor, steps):
    env = MujocoVecEnv(max_episode_steps=steps, autoreset=False)
    if actor == "random":
        low, high = np.array(env.schema.action.low), np.array(env.schema.action.high)
    else:
        low = high = np.zeros(env.schema.action.shape)
    moments = list(view_module.play(env, view_module.RandomActor(low, high), seed=0))
    assert [moment.over for moment in moments] == [False] * steps + [True]
    return env.worlds.state.tool_pos[0]


def test_hold_stays_where_it_is_and_random_moves():
    start = last_tool("hold", 1)
    assert np.linalg.norm(last_tool("hold", 15) - start) < 0.005
    assert np.linalg.norm(last_tool("random", 15) - start) > 0.02
    np.testing.assert_array_equal(last_tool("random", 15), last_tool("random", 15))


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("camera=wirst", "unknown camera 'wirst'; did you mean 'wrist'?"),
        ("actor=exprt", "unknown actor 'exprt'; did you mean 'expert'?"),
    ],
)
def test_a_misspelt_name_is_refused_with_the_nearest(tmp_path, capsys, word, sentence):
    assert view(tmp_path, word) == 2
    assert sentence in capsys.readouterr().err


class Window:
    """Stands in for MuJoCo's window: counts what it is shown and is closed after some pictures."""

    def __init__(self, pictures):
        self.left, self.cam = pictures, types.SimpleNamespace(lookat=np.zeros(3))
        self.tools = []

    def launch(self, model, data, **options):
        self.model, self.data = model, data
        return contextlib.nullcontext(self)

    def is_running(self):
        return self.left > 0

    def lock(self):
        return contextlib.nullcontext()

    def sync(self):
        self.left -= 1
        self.tools.append(self.data.site("tool").xpos.copy())


def test_with_a_display_it_shows_episode_after_episode_until_the_window_is_closed(tmp_path, monkeypatch):
    import mujoco.viewer

    window = Window(pictures=9)
    monkeypatch.setattr(mujoco.viewer, "launch_passive", window.launch)
    monkeypatch.setattr(view_module, "has_display", lambda: True)
    monkeypatch.setattr(view_module.time, "sleep", lambda seconds: None)
    assert view(tmp_path, "task.max_episode_steps=3") == 0
    assert len(window.tools) == 9  # two episodes of four pictures, and the first of a third
    assert np.linalg.norm(window.tools[3] - window.tools[0]) > 0.01  # the arm moves
    assert not np.allclose(window.tools[4], window.tools[0])  # another seed
    assert window.cam.elevation < 0  # from above
    assert list(tmp_path.iterdir()) == []


def test_a_display_that_does_not_answer_is_none(monkeypatch):
    assert not view_module.has_display()
    monkeypatch.setenv("DISPLAY", ":987654")
    assert not view_module.has_display()
