"""From a verb and its overrides to a checked configuration; every mistake becomes one sentence."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import keyword
from collections.abc import Iterator, Sequence
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from robolearn.config import VARIANTS, VERBS
from robolearn.errors import UserError, nearest


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a verb: dotted key, value (None where null) and whether it is still to be given."""

    key: str
    value: Any
    missing: bool
    type: str
    help: str
    low: float | None
    high: float | None


def compose(verb: str, overrides: Sequence[str]) -> DictConfig:
    """Compose and check the configuration of a verb.

    Args:
        verb: a key of `VERBS`.
        overrides: `key=value` or `group=option`, as in Hydra.

    Raises:
        UserError: an override that cannot be read, an unknown key or group option (with the nearest valid
            one), a value of a wrong type or beyond its limits.
    """
    for override in overrides:
        if override.startswith(("+", "~", "hydra")):
            raise UserError(f"cannot take '{override}': write key=value with a key of `robolearn {verb} --help`")
    _register()
    with hydra.initialize_config_module("robolearn.configs", version_base="1.3"):
        try:
            config = hydra.compose(_config_name(verb), [_with_field_name(override) for override in overrides])
            OmegaConf.resolve(config)
        except (HydraException, OmegaConfBaseException, ValueError) as error:
            raise UserError(_explain(error, verb, overrides)) from error
    _check_limits(config)
    return config


def build(verb: str, config: DictConfig) -> Any:
    """Turn a composed configuration into its dataclass.

    Raises:
        UserError: naming an option that has no value yet.
    """
    for option in options(config):
        if option.missing:
            raise UserError(f"'{verb}' needs {option.key}=... ({option.help})")
    return OmegaConf.to_object(config)


def options(config: DictConfig, prefix: str = "") -> Iterator[Option]:
    """Yield every option below a composed configuration, in order of declaration.

    An option that is called like a word of Python, e.g. "with", belongs to a field with an underscore behind its name.
    """
    structure = OmegaConf.get_type(config)
    assert structure is not None
    for spec in dataclasses.fields(structure):
        key = f"{prefix}{spec.name.removesuffix('_')}"
        missing = OmegaConf.is_missing(config, spec.name)
        value = None if missing else config[spec.name]
        meta = spec.metadata
        if isinstance(value, DictConfig) and dataclasses.is_dataclass(OmegaConf.get_type(value)):
            yield from options(value, f"{key}.")
        elif isinstance(value, DictConfig):
            for name in map(str, value):
                kind = type(value[name]).__name__
                yield Option(f"{key}.{name}", value[name], False, kind, meta["help"], meta["low"], meta["high"])
        else:
            yield Option(key, value, missing, str(spec.type), meta["help"], meta["low"], meta["high"])


def group_options(verb: str) -> dict[str, list[str]]:
    """Names of the configuration groups of a verb and the options of each."""
    _register()
    with hydra.initialize_config_module("robolearn.configs", version_base="1.3"):
        choices = hydra.compose(_config_name(verb), return_hydra_config=True).hydra.runtime.choices
        groups = [str(group) for group in choices if not str(group).startswith("hydra/")]
        return {group: _choices(group) for group in reversed(groups)}


def _with_field_name(override: str) -> str:
    key, equals, value = override.partition("=")
    return f"{key}_{equals}{value}" if keyword.iskeyword(key) else override


def _config_name(verb: str) -> str:
    return verb.replace("-", "_").replace(" ", "_")


@functools.cache
def _register() -> None:
    store = ConfigStore.instance()
    types = {_config_name(verb): kind for verb, kind in VERBS.items()} | VARIANTS
    for name, kind in types.items():
        store.store(group="types", name=name, node=kind)


def _choices(group: str) -> list[str]:
    return list(GlobalHydra.instance().config_loader().get_group_options(group))


def _check_limits(config: DictConfig) -> None:
    for option in options(config):
        if option.value is None:
            continue
        if option.low is not None and not option.value >= option.low:
            raise UserError(f"{option.key}={option.value} is too small: give at least {option.low:g}")
        if option.high is not None and not option.value <= option.high:
            raise UserError(f"{option.key}={option.value} is too large: give at most {option.high:g}")


def _explain(error: Exception, verb: str, overrides: Sequence[str]) -> str:
    """Find the override that Hydra stumbled over; called inside Hydra's context."""
    parsed = [_parse(override) for override in overrides]
    groups = [override for override in parsed if _choices(override.key_or_group)]
    for override in groups:
        group, choice = override.key_or_group, override.value()
        if choice not in _choices(group):
            valid = [f"{group}={name}" for name in _choices(group)]
            return f"unknown option '{override.input_line}'{nearest(f'{group}={choice}', valid)}"
    try:
        known = list(options(hydra.compose(_config_name(verb), [str(override.input_line) for override in groups])))
    except (HydraException, OmegaConfBaseException) as broken:
        # a configuration file is at fault, not the command line
        return f"configs/{_config_name(verb)}.yaml does not compose: {_reason(broken)}"
    by_key = {option.key: option for option in known}
    for override in parsed:
        key = override.key_or_group
        if override not in groups and key not in by_key and not any(k.startswith(f"{key}.") for k in by_key):
            return f"unknown option '{key}'{_suggestion(key, list(by_key), verb)}"
    culprit = str(getattr(error.__cause__, "full_key", None)).removesuffix("_")
    for override in parsed:
        if (option := by_key.get(override.key_or_group)) and option.key == culprit:
            return f"{override.input_line} is of the wrong type: {option.key} is {option.type}, {option.help}"
    return _reason(error)


def _parse(text: str) -> Override:
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise UserError(f"cannot read '{text}': write key=value, in quotes where it has blanks or brackets") from error
    if override.is_sweep_override():
        raise UserError(f"cannot take '{text}': give one value, or several runs of the command")
    return override


def _suggestion(key: str, valid: list[str], verb: str) -> str:
    valid = valid + sorted({name.partition(".")[0] for name in valid if "." in name})
    close = difflib.get_close_matches(key, valid, n=1, cutoff=0.75)
    leaf = key.rpartition(".")[2]
    close += [name for name in valid if name.rpartition(".")[2] == leaf]
    return f"; did you mean '{close[0]}'?" if close else f"; `robolearn {verb} --help` lists the options"


def _reason(error: Exception) -> str:
    if isinstance(error, MissingConfigException):
        return _first_line(error)
    cause = error.__cause__ if isinstance(error, ConfigCompositionException) else None
    return _first_line(cause or error)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
