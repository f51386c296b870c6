"""Settings of any kind: frozen dataclasses from and to strict JSON, changed by `--set` words, stored in a folder."""

from __future__ import annotations

import difflib
import json
import math
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, asdict, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from frmdn.agent.errors import shortened

from .files import read_json, write_json

Record = TypeVar("Record")
Plain = dict[str, Any]
# What follows other settings unless it is set by hand: its name -> (their name or names, its value from all settings).
Links = Mapping[str, tuple[str | tuple[str, ...], Callable[[Plain], Any]]]
FORMAT = 3  # of folders: one more whenever this frmdn cannot go on with those that were made before


# In a folder


def write_settings(path: Path, settings: Mapping[str, Any]) -> None:
    """Store settings, with the format of the folder that they stand in."""
    write_json(path, {"format": FORMAT, **settings})


def read_settings(path: Path, maker: str, lost: str = "") -> Plain:
    """The settings in a folder that the command `maker` made; ValueError where it is of another format, or damaged.

    `lost` is the remedy for damage.
    """
    stored = read_json(path, lost or f"restore it from a copy; without one, make it anew with {maker} --out NEW")
    found = stored.pop("format", "no number")
    if found != FORMAT:
        raise ValueError(
            f"{path.parent} was made by another version of frmdn (its format is {found}, not {FORMAT}): make it anew "
            f"with {maker} --out NEW, or use the frmdn that made it"
        )
    return stored


def settle(
    path: Path, asked: Mapping[str, Any], maker: str, replace: Callable[[Plain], bool] | None = None, hint: str = ""
) -> list[str]:
    """Store settings where there are none yet, or make sure that they are those that the folder was made with.

    Others are taken only where `replace(those that are there)` says so; their differences are returned. Else they raise
    ValueError, which ends with `hint`: what else could be done.
    """
    if not path.exists():
        write_settings(path, asked)
        return []
    stored, wanted = read_settings(path, maker), json.loads(json.dumps(asked))
    different = differences(stored, wanted)
    if different and not (replace and replace(stored)):
        texts = "; ".join(different)
        raise ValueError(f"{path.parent} was made with other settings ({texts}): use another folder{hint}")
    if different:
        write_settings(path, wanted)
    return different


# To JSON and back


def to_json(settings: Any) -> Plain:
    """A dataclass as plain JSON values."""
    plain: Plain = json.loads(json.dumps(asdict(settings), allow_nan=False))
    return plain


def from_json(kind: type[Record], value: Any, where: str = "") -> Record:
    """The dataclass of a JSON object; ValueError names a key that is unknown, missing or of the wrong type.

    `where` is the name of the object in the settings around it.
    """
    if not isinstance(value, Mapping):
        raise ValueError(f"{where or 'the settings'} must be an object, not {value!r:.80}")
    hints, prefix = typing.get_type_hints(kind), f"{where}." if where else ""
    known = {item.name: item for item in fields(kind)}  # type: ignore[arg-type]
    for key in value:
        if key not in known:
            raise ValueError(f"{prefix}{key:.80}: no such setting{_near(key, list(known), prefix)}")
    arguments = {}
    for name, known_field in known.items():
        if name in value:
            arguments[name] = _typed(hints[name], value[name], prefix + name)
        elif known_field.default is MISSING and known_field.default_factory is MISSING:
            raise ValueError(f"{prefix}{name} is missing: give it a value")
    try:
        return kind(**arguments)
    except ValueError as error:
        told = shortened(str(error), 400)  # it may quote a value of any length
        raise ValueError(f"{where}: {told}" if where else told) from None


def _typed(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        return from_json(typing.cast(type, hint), value, where)
    origin, options = typing.get_origin(hint), typing.get_args(hint)
    if origin is Literal:
        if value not in options:
            raise ValueError(f"{where} must be one of {', '.join(map(str, options))}, not {value!r:.80}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in options:
            return None
        return _typed(next(option for option in options if option is not type(None)), value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where} must be a list, not {value!r:.80}")
        return tuple(_typed(options[0], item, f"{where}[{i}]") for i, item in enumerate(value))
    return _scalar(hint, value, where)


def _scalar(hint: type, value: Any, where: str) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{where} holds a number that is too large, of {len(str(value))} digits") from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} must be a finite number, not {value}")
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise ValueError(f"{where} must be of type {hint.__name__}, not {value!r:.80} ({type(value).__name__})")
    return value


# Changed by hand


def override(settings: Record, words: Sequence[str], links: Links | None = None) -> Record:
    """The dataclass with words such as `search.population=32` applied.

    Raises ValueError where a word has no `=`, its key is unknown (naming the nearest ones), or its type is wrong.
    """
    plain = to_json(settings)
    known = list(flatten(plain))
    chosen: Plain = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise ValueError(f"--set {word!r:.80} has no '=': write --set KEY=VALUE, e.g. {known[-1]}=VALUE")
        if key not in known:
            raise ValueError(f"--set {key:.80}: no such setting{_near(key, known)}")
        chosen[key] = _parse(text)
        _place(plain, key, chosen[key])
    for follower, (leaders, value) in (links or {}).items():
        leaders = (leaders,) if isinstance(leaders, str) else leaders
        if follower not in chosen and not chosen.keys().isdisjoint(leaders):
            _place(plain, follower, value(plain))
    return from_json(type(settings), plain)


def _place(plain: Plain, key: str, value: Any) -> None:
    *sections, name = key.split(".")
    for section in sections:
        plain = plain[section]
    plain[name] = value


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):  # JSONDecodeError, too many digits, too deep
        words = {"none": None, "true": True, "false": False}
        return words.get(text.lower(), text)


def _near(key: str, known: Sequence[str], prefix: str = "") -> str:
    """`; did you mean a, b?`, from names alike or from the same name in another section."""
    near = difflib.get_close_matches(key, known, n=3, cutoff=0.6)
    near += [name for name in known if name.rpartition(".")[2] == key.rpartition(".")[2] and name not in near]
    return f"; did you mean {', '.join(prefix + name for name in near[:3])}?" if near else ""


# Compared


def flatten(plain: Mapping[str, Any]) -> Plain:
    """{"search": {"sigma": 0.1}} -> {"search.sigma": 0.1}, however deep."""
    flat: Plain = {}
    for key, item in plain.items():
        if isinstance(item, Mapping):
            flat |= {f"{key}.{name}": inner for name, inner in flatten(item).items()}
        else:
            flat[key] = item
    return flat


def differences(stored: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """One text for each key that differs, e.g. `search.sigma: 0.1 there, 0.2 asked for`."""
    old, new = flatten(stored), flatten(asked)
    names = sorted(name for name in old.keys() | new.keys() if old.get(name, MISSING) != new.get(name, MISSING))
    return [f"{name}: {_show(old, name)} there, {_show(new, name)} asked for" for name in names]


def _show(flat: Mapping[str, Any], name: str) -> str:
    return json.dumps(flat[name]) if name in flat else "absent"
