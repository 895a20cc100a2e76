from setuptools import find_packages, setup

name = "manip_physics"

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
    description="Differentiable physics: the same robot in MJX, and what its gradients are good for.",
    license="Apache-2.0",
)
