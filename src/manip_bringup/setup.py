import os
from pathlib import Path

from setuptools import find_packages, setup

name = "manip_bringup"

# These folders stand at the root of the repository, where a reader looks for them.
root = Path(__file__).resolve().parents[2]
shared = [
    (f"share/{name}/{folder}", [os.path.relpath(file) for file in files])
    for folder in (
        "launch",
        "config",
        "urdf",
        "assets/demo",
        "assets/hand",
        "assets/amt/small",
        "assets/temporal",
        "assets/transition",
        "assets/action",
        "models",
    )
    if (files := sorted(file for file in (root / folder).glob("*") if file.is_file()))
]

setup(
    name=name,
    version="0.1.0",
    packages=find_packages(),
    package_data={name: ["page/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{name}"]),
        (f"share/{name}", ["package.xml"]),
        *shared,
    ],
    install_requires=["setuptools"],
    zip_safe=True,
    maintainer="manip maintainers",
    maintainer_email="maintainers@manip.dev",
    description="Launch files, configuration, robot description, the node graph and the manip command.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "viewer_node = manip_bringup.viewer_node:main",
            "rviz_node = manip_bringup.rviz_node:main",
            "recorder_node = manip_bringup.recorder_node:main",
            "replay_node = manip_bringup.replay_node:main",
            "manip = manip_bringup.cli:main",
        ]
    },
)
