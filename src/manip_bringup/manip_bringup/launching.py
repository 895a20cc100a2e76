"""The node graph as launch actions. Needs ``launch`` and ``launch_ros``, which come with ROS 2."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from manip_bringup.graph import GRAPHS, environment


def describe(name: str) -> LaunchDescription:
    """The graph of that name, with its arguments, for ``ros2 launch``."""
    graph = GRAPHS[name]
    declared = [
        DeclareLaunchArgument(
            argument.name,
            default_value=argument.default,
            description=argument.help,
            choices=list(argument.choices) or None,
        )
        for argument in graph.arguments
    ]
    variables = [SetEnvironmentVariable(key, value) for key, value in environment().items()]

    def start(context):
        given = {
            argument.name: LaunchConfiguration(argument.name).perform(context)
            for argument in graph.arguments
        }
        return [
            Node(
                package=node.package,
                executable=node.executable,
                name=node.name,
                parameters=[node.parameters],
                output="screen",
                respawn=True,
                respawn_delay=0.5,
            )
            for node in graph.nodes(graph.resolve(given))
        ]

    return LaunchDescription([*declared, *variables, OpaqueFunction(function=start)])
