"""`ros2 launch robolearn_ros2 policy_controller.launch.py bundle:=FOLDER`."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PACKAGE = "robolearn_ros2"


def generate_launch_description() -> LaunchDescription:
    """The control node with the parameters of `params`, and `bundle` on top."""
    defaults = Path(get_package_share_directory(PACKAGE)) / "config" / "policy_controller.yaml"
    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", description="folder that `robolearn export` wrote"),
            DeclareLaunchArgument("params", default_value=str(defaults), description="parameter file"),
            Node(
                package=PACKAGE,
                executable="policy_controller",
                name="policy_controller",
                output="screen",
                parameters=[LaunchConfiguration("params"), {"bundle": LaunchConfiguration("bundle")}],
            ),
        ]
    )
