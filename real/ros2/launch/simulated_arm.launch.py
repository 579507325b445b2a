"""`ros2 launch robolearn_ros2 simulated_arm.launch.py bundle:=FOLDER [task:=lift] [robot:=panda]`: no hardware."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

PACKAGE = "robolearn_ros2"


def generate_launch_description() -> LaunchDescription:
    """The simulated arm, and the control node as for any other."""
    launch = Path(get_package_share_directory(PACKAGE)) / "launch" / "policy_controller.launch.py"
    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", description="folder that `robolearn export` wrote"),
            DeclareLaunchArgument("task", default_value="lift", description="what is on the table"),
            DeclareLaunchArgument("robot", default_value="panda", description="panda, ur5e or so101"),
            Node(
                package=PACKAGE,
                executable="simulated_arm",
                name="simulated_arm",
                output="screen",
                arguments=["--task", LaunchConfiguration("task"), "--robot", LaunchConfiguration("robot")],
            ),
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(str(launch)),
                launch_arguments={"bundle": LaunchConfiguration("bundle")}.items(),
            ),
        ]
    )
