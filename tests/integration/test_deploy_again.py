"""`robolearn deploy` into a folder that holds episodes already."""

import pytest
from bundle_factory import write_bundle

from robolearn.commands import deploy
from robolearn.compose import build, compose
from robolearn.errors import UserError
from robolearn.real.ros2 import episodes


@pytest.fixture
def ran(monkeypatch):
    """Bundles whose episodes were run or reused."""
    bundles = []
    monkeypatch.setattr(episodes, "run_episodes", lambda bundle, **options: bundles.append(bundle.name) or {})
    return bundles


def deployed(bundle, out, *words):
    config = build("deploy", compose("deploy", [f"bundle={bundle}", *words]))
    return deploy.deploy(config.deploy, bundle=bundle, first_seed=0, out=out)


def test_episodes_of_another_bundle_or_other_settings_are_not_taken_for_these(ran, tmp_path):
    out = tmp_path / "out"
    for name, objects in (("one", ("cube",)), ("other", ("ball",))):
        write_bundle(tmp_path / name, objects=objects)
    deployed(tmp_path / "one", out)
    deployed(tmp_path / "one", out, "deploy.episodes=9")
    with pytest.raises(UserError, match="was begun with bundle="):
        deployed(tmp_path / "other", out)
    with pytest.raises(UserError, match="was begun with settings="):
        deployed(tmp_path / "one", out, "deploy.control_rate=100")
    (tmp_path / "one").rename(tmp_path / "moved")
    deployed(tmp_path / "moved", out)
    assert ran == ["one", "one", "moved"]
