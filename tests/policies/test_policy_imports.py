"""Listing policies must stay cheap: LeRobot takes seconds to import."""

import subprocess
import sys


def test_packages_do_not_import_lerobot():
    code = (
        "import sys, robolearn.policies, robolearn.policies.flow, robolearn.data.writer, robolearn.data.dataset;"
        "print([m for m in ('lerobot', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
