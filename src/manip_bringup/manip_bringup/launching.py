"""The node graph as launch actions. Needs ``launch`` and ``launch_ros``, which come with ROS 2."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument as Argument
from launch.actions import IncludeLaunchDescription, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.launch_description_sources import AnyLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from manip_bringup.graph import GRAPHS, environment
from manip_bringup.vendors import Vendor


def describe(name: str) -> LaunchDescription:
    """The graph of that name, with its arguments, for ``ros2 launch``."""
    graph = GRAPHS[name]
    declared = [
        Argument(
            argument.name,
            default_value=argument.default,
            description=argument.help,
            choices=list(argument.choices) or None,
        )
        for argument in graph.arguments
    ]
    declared.append(
        Argument("params", default_value="", description="YAML file of further node parameters")
    )
    variables = [SetEnvironmentVariable(key, value) for key, value in environment().items()]

    def start(context):
        names = [argument.name for argument in graph.arguments]
        params = LaunchConfiguration("params").perform(context)
        given = graph.resolve({name: LaunchConfiguration(name).perform(context) for name in names})
        nodes = [
            Node(
                package=node.package,
                executable=node.executable,
                name=node.name,
                parameters=[*([params] if params else []), node.parameters],
                remappings=list(node.remaps.items()),
                output="screen",
                respawn=True,
                respawn_delay=0.5,
            )
            for node in graph.nodes(given)
        ]
        return [*(_vendor(one) for one in graph.vendors(given)), *nodes]

    return LaunchDescription([*declared, *variables, OpaqueFunction(function=start)])


def _vendor(one: Vendor):
    found = one.file()
    if isinstance(found, str):
        return LogInfo(msg=found)
    source = AnyLaunchDescriptionSource(str(found))
    return IncludeLaunchDescription(source, launch_arguments=one.arguments.items())
