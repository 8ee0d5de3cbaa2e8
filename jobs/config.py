"""A job's config, from flags, environment and a YAML file.

Flags win over the environment (``SCENEHASH_TABLE``, ``SCENEHASH_STORE__ENDPOINT``), which wins over the
YAML file named by ``--config`` or ``SCENEHASH_CONFIG``.
"""

import argparse
import difflib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from jobs.program import called
from pipelines.errors import ConfigError, one_line

ENV_PREFIX = "SCENEHASH_"

Config = TypeVar("Config", bound=BaseModel)

_NO_JSON = re.compile(r"Parsing error encountered for (\w+)|error parsing value for field \"(\w+)\"")
_NEGATIVE = re.compile(r"-\.?\d")


def load_config(name: str, config_type: type[Config], arguments: Sequence[str]) -> Config:
    """Return the config. Raises ConfigError that names each unknown key and bad value."""
    _check_environment(config_type)  # first, as a mistyped variable may be why a key is missing
    file = _read_yaml(_config_file(arguments))
    try:
        settings = _settings(name, config_type, file, _joined(arguments))
    except ValidationError as error:
        raise ConfigError(_explain(error)) from error
    except SettingsError as error:
        raise ConfigError(_explain_json(one_line(error), config_type)) from error
    return config_type.model_validate(
        {
            field: getattr(settings, field)
            for field in config_type.model_fields
            if field in settings.model_fields_set
        }
    )


def _settings(
    name: str, config_type: type[BaseModel], file: dict[str, Any], arguments: list[str]
) -> BaseSettings:
    class Settings(BaseSettings, config_type):  # type: ignore[misc, valid-type]
        __doc__ = config_type.__doc__
        config: str | None = Field(None, description="YAML file with any of these keys")
        model_config = SettingsConfigDict(
            env_prefix=ENV_PREFIX,
            env_nested_delimiter="__",
            cli_parse_args=arguments,
            cli_prog_name=called(name),
            cli_kebab_case=True,
            cli_implicit_flags=True,
            cli_avoid_json=True,
            cli_hide_none_type=True,
            cli_exit_on_error=False,
            frozen=False,
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return env_settings, init_settings  # pydantic-settings puts the flags before these

    return Settings(**file)


def _joined(arguments: Sequence[str]) -> list[str]:
    """Join negative numbers to the flags before them: argparse would take ``-62,-3`` for a flag."""
    joined: list[str] = []
    for argument in arguments:
        last = joined[-1] if joined else ""
        if _NEGATIVE.match(argument) and last.startswith("--") and "=" not in last:
            joined[-1] = f"{last}={argument}"
        else:
            joined.append(argument)
    return joined


def _config_file(arguments: Sequence[str]) -> str | None:
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--config", default=os.environ.get(f"{ENV_PREFIX}CONFIG"))
    try:
        file: str | None = parser.parse_known_args(arguments)[0].config
    except argparse.ArgumentError as error:
        raise ConfigError(str(error)) from error
    return file


def _read_yaml(file: str | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        content = yaml.safe_load(Path(os.path.expanduser(file)).read_text())  # noqa: PTH111 - see `absolute`
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"config file {file}: {one_line(error)}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"config file {file} must hold a mapping of keys to values")
    return content


def _explain_json(message: str, config_type: type[BaseModel]) -> str:
    """Return a message of pydantic-settings; if a value isn't JSON, with an example of what to write."""
    found = _NO_JSON.search(message)
    field = config_type.model_fields.get(found[1] or found[2]) if found else None
    if not found or field is None or not field.examples:
        return message
    return f"{found[1] or found[2]}: is no JSON; write it as {field.examples[0]}"


def _explain(error: ValidationError) -> str:
    """Return one line that names each key and what is wrong with it."""
    problems = []
    for detail in error.errors():
        key = ".".join(str(part) for part in detail["loc"])
        message = {"missing": "is required", "extra_forbidden": "is unknown; --help lists the keys"}.get(
            detail["type"], detail["msg"].removeprefix("Value error, ")
        )
        problems.append(f"{key}: {message}" if key else message)
    return "; ".join(problems)


def _check_environment(config_type: type[BaseModel]) -> None:
    """Raise ConfigError if a SCENEHASH_ variable is no job's key: it is mistyped."""
    given = {
        variable.removeprefix(ENV_PREFIX).lower().split("__")[0]: variable
        for variable in os.environ
        if variable.startswith(ENV_PREFIX)
    }
    unknown = given.keys() - {*config_type.model_fields, "config"}
    if unknown:
        known = {key for config in _all_configs() for key in config.model_fields}
        for key in sorted(unknown - known):
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {ENV_PREFIX}{close[0].upper()}?" if close else ""
            raise ConfigError(f"environment variable {given[key]} is unknown{hint}")


def _all_configs() -> list[type[BaseModel]]:
    from pipelines.demo.config import DemoConfig
    from pipelines.encode.config import EncodeConfig
    from pipelines.evaluate.config import EvaluateConfig
    from pipelines.maintain.config import MaintainConfig
    from pipelines.publish.config import PublishConfig
    from pipelines.query.config import QueryConfig
    from pipelines.query.explore_config import WORDS
    from pipelines.serve.config import ServeConfig
    from pipelines.submit.config import SubmitConfig
    from pipelines.train.config import TrainConfig
    from pipelines.watch.config import AddWatchConfig, RunWatchesConfig

    return [
        AddWatchConfig,
        DemoConfig,
        EncodeConfig,
        EvaluateConfig,
        MaintainConfig,
        PublishConfig,
        QueryConfig,
        RunWatchesConfig,
        ServeConfig,
        SubmitConfig,
        TrainConfig,
        *WORDS.values(),
    ]
