"""The one base of everything that is data here, and the one door through which data comes in."""

from __future__ import annotations

import difflib
import re
import tomllib
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from hpcdl.errors import Mistake

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pydantic_core import ErrorDetails


class Frozen(BaseModel):
    """A value: it does not change, compares by content, and refuses keys that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


Model = TypeVar("Model", bound=Frozen)


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file.

    Raises:
        Mistake: The file is missing, unreadable, or not TOML; the message names the line.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Mistake(
            f"{path}: there is no such file.", do="Check the path, seen from this folder."
        ) from None
    except (OSError, UnicodeDecodeError) as problem:
        raise Mistake(f"{path}: cannot be read ({problem}).") from None
    except tomllib.TOMLDecodeError as problem:
        raise Mistake(f"{path}: this is not TOML: {problem}.") from None


def parse(model: type[Model], data: object, *, where: str, flags: Mapping[str, str] | None = None) -> Model:
    """Data as a `model`, or an error that a person can act on.

    Args:
        model: What the data should be.
        data: Tables as TOML or JSON give them.
        where: Names the source in the message: a file, a flag.
        flags: Dotted key -> flag, of what was typed: those that are at fault are named in place of `where`.

    Raises:
        Mistake: Names the key, what is wrong with it, and for an unknown key the nearest known one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as problem:
        lines = [_explain(model, detail) for detail in problem.errors()]
        guilty = _find_guilty(problem.errors(), flags or {}, data)
        raise Mistake(
            f"{' '.join(guilty) or where}: "
            + "; ".join(lines).rstrip(".?")
            + ("?" if lines[-1].endswith("?") else "."),
            do="--help says what each flag takes." if guilty else "",
        ) from None


def _find_guilty(details: list[ErrorDetails], flags: Mapping[str, str], data: object) -> list[str]:
    """The flags whose settings the errors are about: of one value, or of those of a table that contradict."""
    guilty: list[str] = []
    for detail in details:
        place = ".".join(str(part) for part in detail["loc"])
        own = [key for key in flags if f"{place}.".startswith(f"{key}.")]
        below = [key for key in flags if f"{key}.".startswith(f"{place}.")]
        named = [key for key in below if _is_named(key, data, detail["msg"])]
        guilty += [flags[key] for key in own or named or below]
    return list(dict.fromkeys(guilty))


def _is_named(key: str, data: object, message: str) -> bool:
    """Whether a sentence about a table names this setting, or the word that it was given."""
    value, said = data, set(re.findall(r"\w+", message.lower()))
    for part in key.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return bool({key.rpartition(".")[2], str(value).lower()} & said)


def _explain(model: type[BaseModel], detail: ErrorDetails) -> str:
    key = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return _explain_unknown(model, tuple(str(part) for part in detail["loc"]))
    if detail["type"] == "missing":
        return f"{key} is missing"
    if detail["type"] == "value_error":  # our own sentence, which says what was given
        message = detail["msg"].removeprefix("Value error, ")
        return f"{key}: {message}" if key else message
    message = detail["msg"][0].lower() + detail["msg"][1:]
    given = detail["input"]
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool) else ""
    return f"{key}: {message}{shown}{_suggest(detail)}"


def _suggest(detail: ErrorDetails) -> str:
    """For a choice among words: the nearest one to what was given."""
    allowed = re.findall(r"'([^']*)'", str(detail.get("ctx", {}).get("expected", "")))
    near = difflib.get_close_matches(str(detail["input"]), allowed, n=1, cutoff=0.5)
    return f". Did you mean {near[0]!r}?" if near else ""


def _explain_unknown(model: type[BaseModel], loc: tuple[str, ...]) -> str:
    known = sorted(fields_at(model, loc[:-1]))
    near = difflib.get_close_matches(loc[-1], known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"there is no key {'.'.join(loc)!r}. {hint}Allowed here: {', '.join(known)}"


def fields_at(model: type[BaseModel], loc: tuple[str, ...]) -> set[str]:
    """The names of the fields of the model that is nested in `model` at `loc`."""
    named = False
    for part in loc:
        # What stands under a name of the person's own, in a table of such names, is the model found above it.
        if named:
            named = False
            continue
        # The place of one in a list of such tables: what it is, was found above.
        if part.isdecimal():
            continue
        field = model.model_fields.get(part)
        inner = None if field is None else _find_model(field.annotation)
        if field is None or inner is None:
            return set()
        model, named = inner, get_origin(field.annotation) is dict
    return set(model.model_fields)


def _find_model(annotation: Any) -> type[BaseModel] | None:
    """The model that a field holds, alone, with None beside it, annotated, or several of it by name."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    # Of an annotated type what follows the first argument are no types.
    inner = (found for part in get_args(annotation) if (found := _find_model(part)) is not None)
    return next(inner, None)
