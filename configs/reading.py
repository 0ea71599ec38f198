"""Settings files and environment variables as nested values; what is wrong is a sentence that names the key."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError


class SettingsError(Exception):
    """The settings cannot be used; the message names the key, what was found and what was expected."""


def read(path: Path) -> dict[str, Any]:
    """The sections of a settings file; raises SettingsError."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error}") from error
    if not isinstance(values, dict):
        raise SettingsError(f"the settings file {path} holds {type(values).__name__}, expected sections.")
    return values


def parsed(value: str, name: str) -> Any:
    """What a variable says, as YAML reads it; raises SettingsError."""
    try:
        return yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise SettingsError(f"{name} is {value!r}, which YAML cannot read: put it into quotes.") from error


def merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """`below` with what `above` says otherwise."""
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def put(values: dict[str, Any], path: str, value: Any, name: str) -> None:
    """Set the value at a dotted path, which came from the variable `name`; raises SettingsError."""
    *sections, key = path.split(".")
    for section in sections:
        if not isinstance(values.get(section), dict):
            if section in values:
                raise SettingsError(f"section {section} is {values[section]!r}, expected its settings below it.")
            raise SettingsError(f"unknown section {section} in {name}.")
        values = values[section]
    values[key] = value


def sentence(error: ValidationError, file: Path) -> str:
    """The first thing that is wrong, by its key."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown setting {key} (from {file.name} or the environment): remove it or correct its name."
    return f"setting {key} is {first['input']!r}: {first['msg'].removeprefix('Value error, ')}."
