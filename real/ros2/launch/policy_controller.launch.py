"""`ros2 launch robolearn_ros2 policy_controller.launch.py bundle:=FOLDER [arm:=ur5e|franka|so101]`."""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

PACKAGE = "robolearn_ros2"


def generate_launch_description() -> LaunchDescription:
    """The control node with the parameters of an arm, or of `params`, and the launch's own on top."""
    config = f"{Path(get_package_share_directory(PACKAGE)) / 'config'}/"
    autostart = ParameterValue(LaunchConfiguration("autostart"), value_type=bool)
    return LaunchDescription(
        [
            DeclareLaunchArgument("bundle", description="folder that `robolearn export` wrote"),
            DeclareLaunchArgument(
                "arm", default_value="policy_controller", description="name of a parameter file of this package"
            ),
            DeclareLaunchArgument(
                "params",
                default_value=[config, LaunchConfiguration("arm"), ".yaml"],
                description="parameter file of your own",
            ),
            DeclareLaunchArgument(
                "autostart", default_value="true", description="false: a lifecycle manager configures and activates"
            ),
            Node(
                package=PACKAGE,
                executable="policy_controller",
                name="policy_controller",
                output="screen",
                parameters=[
                    LaunchConfiguration("params"),
                    {"bundle": LaunchConfiguration("bundle"), "autostart": autostart},
                ],
            ),
        ]
    )
