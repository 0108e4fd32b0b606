"""A job as a batch script for Slurm. All shell quoting lives here.

Two languages are written, and each has its quoting: bash, and the `#SBATCH` lines, which sbatch takes apart by
itself (spaces and `#` end a value, quotes group, a backslash escapes; seen with 22.05, and read back in the tests).
"""

from __future__ import annotations

import importlib.resources
import json
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import jinja2

from hpcdl.errors import Mistake
from hpcdl.mounting import list_named_mounts, list_names, list_own_mounts
from hpcdl.store import RunFolder
from hpcdl.walltime import format_walltime

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.resources.abc import Traversable

    from hpcdl.plan import Job

TEMPLATE = "train.sbatch.j2"

# What the script itself relies on: set by the plan, or by the keys of the site file that have these names.
OWN_OPTIONS = frozenset(
    {
        "array",
        "cpus-per-task",
        "error",
        "export",
        "export-file",
        "gpus",
        "gpus-per-node",
        "gpus-per-task",
        "job-name",
        "no-requeue",
        "nodes",
        "ntasks",
        "ntasks-per-node",
        "open-mode",
        "output",
        "parsable",
        "requeue",
        "signal",
        "tasks-per-node",
        "test-only",
        "time",
        "wait",
        "wrap",
    }
)
SETUP = ("modules", "spack", "spack_root", "venv", "environment")
_OPTION_NAME = re.compile(r"[a-z][a-z0-9]+(-[a-z0-9]+)*")
# What of a path the node expands; all the rest is taken as it is written.
LEADING_VARIABLE = re.compile(
    r"^(?:~|\$(?P<name>[A-Za-z_]\w*)|\$\{(?P<braced>[A-Za-z_]\w*)\})(?=/|$)", re.ASCII
)
_PLAIN = re.compile(r"[\w@%+=:,./*&|()-]+", re.ASCII)


class Shell(str):
    """Text that is shell already, by intent: it passes the quoting filter unchanged."""

    __slots__ = ()


def render(job: Job) -> str:
    """The batch script of a job: complete in itself, the same whether it is piped to sbatch or submitted.

    Args:
        job: To be run by Slurm. Nothing is read but the template.

    Raises:
        Mistake: A value that no script can carry (control characters), an option that is the script's own,
            or a site template that is missing or cannot be filled.
    """
    name = job.site.slurm.template or TEMPLATE
    try:
        template = _environment().from_string(_read_template(job.site.slurm.template))
        return template.render(
            job=job,
            slurm=job.site.slurm,
            node=job.site.node,
            container=_contain(job),
            setup={
                **{key: getattr(job.site.setup, key) for key in SETUP},
                "lines": [Shell(line) for line in job.site.setup.lines],
            },
            output=str(RunFolder(Path(job.run_dir)).output_path),
            directives=[Shell(line) for line in directives(job)],
            payload=Shell(_payload(job)),
        )
    except jinja2.TemplateSyntaxError as problem:
        raise Mistake(f"{name}, line {problem.lineno}: {problem.message}.") from None
    except jinja2.TemplateError as problem:
        raise Mistake(f"{name} cannot be filled: {problem.message}.") from None


def _contain(job: Job) -> dict[str, object] | None:
    """What the template needs to know of the image: which one, what is mounted, and whose values hold inside."""
    container = job.site.container
    if container is None:
        return None
    mounts = [":".join(map(quote, mount)) for mount in list_own_mounts(job)]
    mounts += [":".join(map(quote_path, mount)) for mount in list_named_mounts(container)]
    return {
        "runtime": container.runtime,
        "image": container.image,
        "is_file": container.image_is_path,
        "options": container.options,
        "gpus": any(launch.gpus_per_node for launch in job.launches),
        "store": str(Path(job.run_dir).parent),
        "mounts": [Shell(mount) for mount in mounts],
        "names": list_names(job),
    }


def directives(job: Job) -> list[str]:
    """What follows `#SBATCH ` on each line, quoted for sbatch's parser."""
    return [_directive(option, value) for option, value in _options(job) if value not in (None, False)]


def job_name(job: Job) -> str:
    """The name under which Slurm knows a run; by it a job is found again whose submission stayed unanswered."""
    return f"hpcdl-{job.run_id}"


def _options(job: Job) -> Iterator[tuple[str, str | int | bool | None]]:
    slurm = job.site.slurm
    tasks = max(launch.tasks_per_node for launch in job.launches)
    cores = max(launch.tasks_per_node * launch.cpus_per_task for launch in job.launches)
    yield "job-name", job_name(job)
    yield "nodes", job.nodes
    yield "ntasks-per-node", tasks
    yield "cpus-per-task", -(-cores // tasks)
    yield "gpus-per-node", max(launch.gpus_per_node for launch in job.launches) or None
    yield "mem", slurm.memory
    for name in ("partition", "account", "qos", "constraint", "nodelist", "exclude"):
        yield name, getattr(slurm, name)
    yield "dependency", slurm.dependency
    yield "reservation", slurm.reservation
    yield "exclusive", slurm.exclusive
    yield "time", format_walltime(job.walltime_s)
    yield "signal", slurm.signal
    yield "open-mode", "append"
    # A node that is lost between two checks is what they are to find: the others are still to be checked.
    yield "no-kill", any(launch.kind == "check" for launch in job.launches)
    # A measurement that was started twice is not one.
    yield ("requeue" if slurm.requeue else "no-requeue"), True
    yield "export", slurm.export
    for name, extra in slurm.options.items():
        _check_option(name)
        yield name, extra


def _check_option(name: str) -> None:
    if name in OWN_OPTIONS:
        raise Mistake(
            f"[slurm] options cannot set {name!r}: the job script relies on its own.",
            do="Most of these follow from the benchmark, from other keys of the site file, or from a flag.",
        )
    if not _OPTION_NAME.fullmatch(name):
        raise Mistake(
            f"[slurm] options: {name!r} is not the long name of an sbatch option.",
            do="Write it as after the two dashes, for example mail-user.",
        )


def _directive(option: str, value: object) -> str:
    if value is True:
        return f"--{option}"
    return f"--{option}={quote_directive(str(value))}"


def quote_directive(value: str) -> str:
    """A value as sbatch's parser of `#SBATCH` lines reads it back unchanged.

    Raises:
        Mistake: It holds control characters.
    """
    _refuse_control_characters(value)
    if _PLAIN.fullmatch(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def quote(value: object) -> str:
    """A value as bash reads it back unchanged; what is marked as Shell stays as it is.

    Raises:
        Mistake: It holds control characters, or it is no text or number at all.
    """
    if isinstance(value, Shell):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Mistake(f"a batch script cannot hold {value!r}.", do="Test for it in the template.")
    text = str(value)
    _refuse_control_characters(text)
    return shlex.quote(text)


def quote_path(value: str) -> Shell:
    """A path for bash whose leading `~`, `$NAME` or `${NAME}` the node expands; all the rest is taken literally."""
    match = LEADING_VARIABLE.match(value)
    if match is None:
        return Shell(quote(value))
    name = match["name"] or match["braced"] or "HOME"
    rest = value[match.end() :]
    return Shell(f'"${{{name}:?}}"' + (quote(rest) if rest else ""))


def _refuse_control_characters(text: str) -> None:
    # C0, DEL and C1; and lone surrogates, which no file can hold.
    bad = next((c for c in text if ord(c) < 32 or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000), None)
    if bad is not None:
        raise Mistake(
            f"{text!r} holds the control character {bad!r}, which has no place in a batch script.",
            do="Remove it where this value comes from.",
        )


def _payload(job: Job) -> str:
    """The job as ASCII JSON, a line for each field and each launch.

    No line can be the one that ends the here-document: each begins with a brace, a bracket or a space, and a
    string holds no line break.
    """
    fields = job.model_dump(mode="json")
    launches = ",\n".join(f"  {json.dumps(launch)}" for launch in fields.pop("launches"))
    lines = [f" {json.dumps(name)}: {json.dumps(value)},\n" for name, value in fields.items()]
    return "{\n" + "".join(lines) + f' "launches": [\n{launches}\n ]\n}}'


def _finalize(value: object) -> str:
    # A strict Undefined says what is undefined when it is made into text.
    return quote(str(value) if isinstance(value, jinja2.Undefined) else value)


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(  # noqa: S701 - autoescape is for HTML; `finalize` quotes for the shell
        undefined=jinja2.StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["path"] = quote_path
    environment.filters["directive"] = lambda value: Shell(quote_directive(str(value)))
    return environment


def _read_template(named: str | None) -> str:
    source: Traversable = Path(named).expanduser() if named else _shipped(TEMPLATE)
    try:
        return source.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise Mistake(
            f"the batch-script template {source} cannot be read ({problem}).",
            do="Correct `template` in [slurm] of the site file, or leave it out to use hpcdl's own.",
        ) from None


def _shipped(name: str) -> Traversable:
    """In the wheel the templates lie inside the package; in a checkout beside it."""
    inside = importlib.resources.files("hpcdl") / "_jobscripts" / name
    return inside if inside.is_file() else Path(__file__).parents[1] / "jobscripts" / name
