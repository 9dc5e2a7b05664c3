"""The project's own files: pins, documentation of live objects, the compose file, what must not be committed."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel

from genpulse import errors
from genpulse.schemas import attributes, queues
from genpulse.settings import Settings
from tests.tree import project_files

ROOT = Path(__file__).parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.temporal.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def _text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def _codes(error: type[errors.GenPulseError] = errors.GenPulseError) -> Iterator[str]:
    for child in error.__subclasses__():
        if child.__module__ == errors.__name__:
            if "code" in vars(child):
                yield child.code
            yield from _codes(child)


def _model_of(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """The settings group behind a field, and whether it is one of many under a name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, False
    if getattr(annotation, "__origin__", None) is dict:
        return _model_of(get_args(annotation)[1])[0], True
    return None, False


def _variables(group: type[BaseModel] = Settings, prefix: str = "GENPULSE_") -> Iterator[str]:
    for name, field in group.model_fields.items():
        variable = prefix + name.upper()
        model, named = _model_of(field.annotation)
        if model is None or model.__module__ != Settings.__module__:
            yield variable
        else:
            yield from _variables(model, f"{variable}__<NAME>__" if named else f"{variable}__")


# Pins ---------------------------------------------------------------------------------------------------------------


def _constraints() -> dict[str, str]:
    lines = (line for line in _text("constraints.txt").splitlines() if line and not line.startswith("#"))
    return {name.lower().replace("_", "-"): version for name, version in (line.split("==") for line in lines)}


def test_torch_is_pinned_to_the_version_with_a_cpu_build() -> None:
    assert _constraints()["torch"] == "2.13.0"


def test_constraints_hold_plain_versions_only() -> None:
    assert {name: version for name, version in _constraints().items() if not re.fullmatch(r"[\w.]+", version)} == {}
    assert not {"genpulse", "pip", "torchvision"} & _constraints().keys()


def test_every_direct_dependency_is_constrained() -> None:
    project = tomllib.loads(_text("pyproject.toml"))["project"]
    wanted = [
        *project["dependencies"],
        *(line for extra in project["optional-dependencies"].values() for line in extra),
    ]
    names = {re.split(r"[\[~<>=;! ]", line)[0].lower().replace("_", "-") for line in wanted}
    assert names - _constraints().keys() == set()


# Documentation ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_shows_the_two_commands(command: str) -> None:
    assert command in _text("README.md")


@pytest.mark.parametrize("code", sorted(set(_codes())))
def test_error_is_documented(code: str) -> None:
    assert f"`{code}`" in _text("docs/errors.md")


@pytest.mark.parametrize("variable", list(_variables()))
def test_setting_is_documented(variable: str) -> None:
    assert f"`{variable}`" in _text("docs/settings.md")


def test_make_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", _text("Makefile"), re.MULTILINE)
    assert phony
    listed = subprocess.run(["make", "--silent", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(re.findall(r"make ([a-z-]+)\t", listed)) == set(phony[1].split())


# What must not be committed -----------------------------------------------------------------------------------------


def _committed() -> list[Path]:
    return [ROOT / name for name in project_files()]


def test_no_absolute_home_path_is_committed() -> None:
    home = re.compile(rb"(?<![\w.<>{}-])/(?:home/[a-z]|root/|Users/[A-Za-z])")
    found = [str(path.relative_to(ROOT)) for path in _committed() if home.search(path.read_bytes())]
    assert [name for name in found if name != "tests/unit/test_project.py"] == []


def test_no_package_index_is_committed() -> None:
    index = re.compile(rb"--(?:extra-)?index-url|--find-links|--trusted-host")
    found = [str(path.relative_to(ROOT)) for path in _committed() if index.search(path.read_bytes())]
    assert [name for name in found if name != "tests/unit/test_project.py"] == []


# docker-compose.temporal.yml ----------------------------------------------------------------------------------------

KNOWN_KEYS = {
    "build",
    "cap_drop",
    "command",
    "configs",
    "depends_on",
    "entrypoint",
    "environment",
    "healthcheck",
    "image",
    "init",
    "ports",
    "restart",
    "security_opt",
    "stop_grace_period",
    "volumes",
}


@pytest.mark.parametrize("name", SERVICES)
def test_compose_service_uses_known_keys(name: str) -> None:
    assert SERVICES[name].keys() <= KNOWN_KEYS
    assert "image" in SERVICES[name]
    assert "build" in SERVICES[name] or not SERVICES[name]["image"].endswith(":latest")


@pytest.mark.parametrize("name", SERVICES)
def test_compose_dependency_exists_and_can_be_met(name: str) -> None:
    for dependency, wanted in SERVICES[name].get("depends_on", {}).items():
        other = SERVICES[dependency]
        match wanted["condition"]:
            case "service_healthy":
                assert "healthcheck" in other
            case "service_completed_successfully":
                assert other["restart"].startswith("on-failure"), "a one-shot must not be started again when it is done"
            case condition:
                pytest.fail(f"{name} waits for {dependency} with {condition}")


@pytest.mark.parametrize("name", SERVICES)
def test_compose_port_is_bound_to_loopback(name: str) -> None:
    assert [port for port in SERVICES[name].get("ports", []) if not port.startswith("127.0.0.1:")] == []


def test_compose_volumes_and_configs_are_declared() -> None:
    volumes = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    configs = {config["source"] for service in SERVICES.values() for config in service.get("configs", [])}
    assert volumes == COMPOSE["volumes"].keys()
    assert configs == COMPOSE["configs"].keys()


def test_compose_secrets_have_no_default() -> None:
    references = re.findall(r"(?<!\$)\$\{(\w+)([^}]*)\}", _text("docker-compose.temporal.yml"))
    secret = {(name, rest) for name, rest in references if re.search("PASSWORD|KEY|SECRET|TOKEN", name)}
    assert secret
    assert {name for name, rest in secret if rest != ":?"} == set()
    assert {name for name, rest in references if not rest} == set(), "neither required nor with a default"


def test_compose_passes_secrets_by_reference_only() -> None:
    given = [pair for service in SERVICES.values() for pair in service.get("environment", {}).items()]
    named = [(name, value) for name, value in given if re.search("PASSWORD|_PWD|_KEY|SECRET|AUTH", name)]
    assert named
    assert [name for name, value in named if not re.fullmatch(r"\$\{\w+:\?\}", value)] == []


def test_compose_sets_only_settings_that_exist() -> None:
    given = {name for service in SERVICES.values() for name in service.get("environment", {})}
    ours = {name for name in given if name.startswith("GENPULSE_")}
    assert ours
    assert ours - set(_variables()) == set()


def test_compose_creates_the_search_attributes() -> None:
    script = SERVICES["temporal-namespace"]["command"][0]
    created = re.search(r"for name in ([\w ]+);", script)
    assert created
    assert set(created[1].split()) == {key.name for key in attributes.ALL}


def test_compose_has_a_worker_for_every_queue() -> None:
    commands = [service["command"] for service in SERVICES.values() if service.get("command", [""])[0] == "worker"]
    served = {queue for command in commands for queue in command[command.index("--queues") + 1].split(",")}
    assert served == set(queues.QUEUES) - {queues.FAKE_QUEUE}, "the fake model is for load tests only"
