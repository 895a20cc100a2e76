from setuptools import find_packages, setup

name = "manip_perception"

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
    description="Camera, hand pose estimators and smoothing.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "camera_node = manip_perception.camera_node:main",
            "hand_pose_node = manip_perception.hand_pose_node:main",
            "smoothing_node = manip_perception.smoothing_node:main",
            "action_node = manip_perception.action_node:main",
        ]
    },
)
