"""Maps the root folders of the pipeline into the one distribution; everything else stands in pyproject.toml."""

from setuptools import find_packages, setup

SHELLS = ("components", "pipelines", "monitoring")

setup(
    packages=find_packages(include=["reprune", "reprune.*"])
    + [f"reprune.{package}" for shell in SHELLS for package in find_packages(include=[shell, f"{shell}.*"])],
    package_dir={f"reprune.{shell}": shell for shell in SHELLS},
)
