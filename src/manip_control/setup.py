from setuptools import find_packages, setup

name = "manip_control"

setup(
    name=name,
    version="0.1.0",
    packages=find_packages(),
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{name}"]),
        (f"share/{name}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="manip maintainers",
    maintainer_email="maintainers@manip.dev",
    description="Clutch, limits, watchdog, driver adapters, and the robot in MuJoCo.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "can_hand_node = manip_control.can_hand_node:main",
            "control_node = manip_control.control_node:main",
            "mujoco_robot_node = manip_control.mujoco_robot_node:main",
        ]
    },
)
