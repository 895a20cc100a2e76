from setuptools import find_packages, setup

name = "manip_training"

setup(
    name=name,
    version="0.1.0",
    packages=find_packages(),
    # Built where they run: for the processor or the GPU that is there.
    package_data={f"{name}.synthetic": ["kernels/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{name}"]),
        (f"share/{name}", ["package.xml"]),
    ],
    install_requires=["setuptools"],
    zip_safe=False,
    maintainer="manip maintainers",
    maintainer_email="maintainers@manip.dev",
    description="Data, losses, training and evaluation of the pose transformer.",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "training_node = manip_training.training_node:main",
        ]
    },
)
