"""colcon's view of this folder: launch and configuration files, and executables that run the installed robolearn.

The Python code is part of the `robolearn` distribution, which must be installed for the Python that ROS 2 uses;
nothing is copied here, so that the two can never differ.
"""

from glob import glob

from setuptools import setup  # type: ignore[import-untyped]

PACKAGE = "robolearn_ros2"

if __name__ == "__main__":
    setup(
        name=PACKAGE,
        version="0.1.0",
        packages=[],
        py_modules=[],
        data_files=[
            ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
            (f"share/{PACKAGE}", ["package.xml"]),
            (f"share/{PACKAGE}/launch", glob("launch/*.launch.py")),
            (f"share/{PACKAGE}/config", glob("config/*.yaml")),
        ],
        entry_points={
            "console_scripts": [
                "policy_controller = robolearn.real.ros2.policy_controller:main",
                "keyboard = robolearn.real.ros2.keyboard:main",
                "simulated_arm = robolearn.real.ros2.simulated_arm:main",
            ]
        },
        zip_safe=False,
    )
