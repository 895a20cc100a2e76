from setuptools import find_packages, setup

name = "manip_retargeting"

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
    description="Human hand keypoints to the 22 joint angles of arm and hand, in one solve.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "retargeting_node = manip_retargeting.retargeting_node:main",
        ]
    },
)
