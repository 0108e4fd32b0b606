"""What --help says below the options: examples, exit codes, files. The same stands in docs/commands.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from hpcdl.cli.later import Later

if TYPE_CHECKING:
    from collections.abc import Iterator

    import typer
    from typer.models import CommandInfo

Codes = dict[int, str]

USUAL: Codes = {
    0: "it was done",
    1: "it failed",
    2: "a mistake in what was typed or in a file",
    130: "Ctrl-C",
}
PASSED_ON: Codes = {0: "the command's own exit code, whatever it is", 2: "a mistake before it was started"}
VERDICT: Codes = USUAL | {0: "pass", 1: "fail", 3: "not enough evidence"}
TRAINED: Codes = USUAL | {0: "submitted, or with --wait completed", 1: "refused by Slurm, failed or lost"}
RAN: Codes = USUAL | {0: "completed", 1: "a launch failed"}
HELD: Codes = USUAL | {0: "it holds", 1: "it does not hold, or a part of it could not be judged"}


class Page(NamedTuple):
    """Of one command: examples (what is typed, what for), and what its exit codes mean."""

    examples: tuple[tuple[str, str], ...]
    codes: Codes = USUAL


PAGES: dict[str, Page] = {
    "submit": Page(
        (
            ("hpcdl submit --nodes 4 --model alexnet", "AlexNet on four nodes, whatever their GPUs"),
            (
                "hpcdl submit scaling --nodes 1,2,4,8 --repeat 3 --wait",
                "a scaling sweep, followed to its report",
            ),
            ("hpcdl submit overfeat --nodes 2 --data /data/imagenet", "on images, fed by DALI"),
            (
                "hpcdl submit alexnet --nodes 4 --dry-run > train.sbatch",
                "the batch script, to read or change",
            ),
        ),
        TRAINED,
    ),
    "run": Page(
        (
            ("hpcdl run smoke", "does it work here? a minute"),
            ("hpcdl run lenet-digits --ranks 2", "LeNet on handwritten digits, two ranks"),
            ("hpcdl run alexnet --ranks 1 --attribution", "where the time of a step goes"),
        ),
        RAN,
    ),
    "tune": Page(
        (
            ("hpcdl tune alexnet --budget 20m", "what is fastest on this node, kept in the site file"),
            ("hpcdl tune --model lenet --data digits --dry-run", "what would be tried"),
        )
    ),
    "probe": Page(
        (
            ("hpcdl probe --nodes 4", "allreduce over all nodes, and from node to node"),
            ("hpcdl probe --ranks 2", "the same between two ranks here"),
        ),
        TRAINED,
    ),
    "cancel": Page((("hpcdl cancel last", "end the newest run; what it measured is kept"),)),
    "list": Page(
        (
            ("hpcdl list", "the newest runs"),
            ("hpcdl list --where \"model='alexnet' and nodes>1\" --launches", "their launches, with energy"),
            ("hpcdl list --all --json", "everything, for a script"),
        )
    ),
    "status": Page(
        (("hpcdl status last", "how far it is"), ("hpcdl status 4711 --json", "by Slurm's job id"))
    ),
    "logs": Page((("hpcdl logs last", "what was printed, and the stacks of what hung"),)),
    "report show": Page(
        (
            ("hpcdl report last", "the newest run's"),
            ("hpcdl report last --format html --out report", "a page for a browser, with its pictures"),
        )
    ),
    "report bundle": Page(
        (("hpcdl report bundle last --output sweep.tar.gz", "records and report, for others"),)
    ),
    "report verify": Page(
        (("hpcdl report verify sweep.tar.gz", "are these the files, and does the report follow from them?"),),
        HELD,
    ),
    "compare": Page((("hpcdl compare 3f2a last", "is the newer one slower, and what changed around it?"),)),
    "predict": Page((("hpcdl predict last --nodes 16,32", "sizes that were not measured"),)),
    "history": Page((("hpcdl history alexnet", "where it became slower over the weeks"),)),
    "estimate equivalent": Page(
        (("hpcdl estimate equivalent last published:dgx-1", "how many of these nodes give a DGX-1?"),)
    ),
    "estimate train": Page(
        (("hpcdl estimate train last --images 1281167 --epochs 90", "hours, energy and money of a training"),)
    ),
    "models": Page((("hpcdl models", "all of them"), ("hpcdl models overfeat", "its layers"))),
    "published": Page(
        (
            ("hpcdl published", "all of them"),
            ("hpcdl published tensorflow-dgx-1", "its rows, and what follows"),
        )
    ),
    "doctor": Page(
        (
            ("hpcdl doctor", "this machine"),
            ("hpcdl doctor --nodes 2", "the nodes of a job: layout, links, software, and where they differ"),
        )
    ),
    "site init": Page(
        (
            ("hpcdl site init", "on a login node: what Slurm tells, with comments"),
            ("hpcdl site init --partition gpu --output gpu.toml", "of another partition, into another file"),
        )
    ),
    "site show": Page((("hpcdl site show", "every value, and where it is from"),)),
    "site check": Page((("hpcdl site check --nodes 2", "a job of a minute that proves each entry"),), HELD),
    "site example": Page(
        (("hpcdl site example", "all of them"), ("hpcdl site example pyxis", "one to begin with"))
    ),
    "accept run": Page(
        (
            ("hpcdl accept run standard --nodes 4", "test four nodes and judge them"),
            ("hpcdl accept run benchmarks/acceptance.toml --nodes 4 --junit out.xml", "by one's own suite"),
        ),
        VERDICT,
    ),
    "accept resume": Page((("hpcdl accept resume last", "go on after Ctrl-C or a lost node"),), VERDICT),
    "accept report": Page(
        (
            ("hpcdl accept report last", "the verdict, with its reasons"),
            ("hpcdl accept report last --out certificate --key ~/.ssh/id_ed25519", "signed, for others"),
        )
    ),
    "accept verify": Page(
        (("hpcdl accept verify certificate", "signature, files, and whether it follows"),), HELD
    ),
    "accept simulate": Page(
        (("hpcdl accept simulate", "how many bad nodes it finds, how many good ones it accuses"),)
    ),
    "accept list": Page((("hpcdl accept list", "the newest last"),)),
    "accept suites": Page(
        (("hpcdl accept suites", "all of them"), ("hpcdl accept suites standard", "what it requires"))
    ),
    "accept suspects": Page((("hpcdl accept suspects last", "who is at fault, and what is known of it"),)),
    "baseline make": Page((("hpcdl baseline make last --out baseline.toml", "for a person to review"),)),
    "baseline show": Page((("hpcdl baseline show baseline.toml", "what it holds"),)),
    "baseline compare": Page((("hpcdl baseline compare baseline.toml last", "how far each node has moved"),)),
    "power sensors": Page((("hpcdl power sensors", "what can be metered, and what would open the rest"),)),
    "power watch": Page((("hpcdl power watch", "until Ctrl-C"),)),
    "power idle": Page((("hpcdl power idle", "once on each kind of node, when nobody works on it"),)),
    "power run": Page((("hpcdl power run -- python train.py", "any command, with its energy"),), PASSED_ON),
    "data make": Page(
        (
            (
                "hpcdl data make /data/imagenet /data/imagenet-lmdb --format lmdb --shorter 256",
                "Caffe's LMDB",
            ),
            (
                "hpcdl data make /data/imagenet /data/imagenet-raw --format raw --size 256x256",
                "pixels, mapped",
            ),
        )
    ),
    "data info": Page((("hpcdl data info /data/imagenet-lmdb", "format, parts, classes, how it was made"),)),
    "data verify": Page(
        (("hpcdl data verify /data/imagenet-lmdb", "every sample decoded, and the digest"),), HELD
    ),
    "data mean": Page((("hpcdl data mean /data/imagenet-raw --output mean.npy", "mean image and means"),)),
    "data bench": Page(
        (("hpcdl data bench /data/imagenet --model alexnet", "images/s, before anybody trains"),)
    ),
    "completion": Page(
        (
            (
                "hpcdl completion bash > ~/.local/share/bash-completion/completions/hpcdl",
                "for every new shell",
            ),
            ("source <(hpcdl completion bash)", "for this shell"),
        )
    ),
}


def attach(app: typer.Typer) -> None:
    """Give each command its page, as what --help prints last."""
    for path, command in walk(app):
        if path in PAGES:
            command.epilog = write_epilog(PAGES[path])


def walk(app: typer.Typer, prefix: str = "") -> Iterator[tuple[str, CommandInfo]]:
    """Every command with its words, as they are typed after `hpcdl`."""
    for command in app.registered_commands:
        name = command.name or (command.callback.__name__.replace("_", "-") if command.callback else "")
        yield f"{prefix}{name}", command
    for group in app.registered_groups:
        found = group.typer_instance
        if found is not None:
            yield from walk(found.whole if isinstance(found, Later) else found, f"{prefix}{group.name} ")


def write_epilog(page: Page) -> str:
    """Examples, what each is for below it, and exit codes. (Older versions of Typer run the lines together.)"""
    lines = ["Examples:"]
    for typed, purpose in page.examples:
        lines += [f"  {typed}", f"      {purpose}"]
    return "\n".join([*lines, "", f"Exit codes: {explain_codes(page)}."])


def explain_codes(page: Page) -> str:
    """`0 pass; 1 fail`."""
    return "; ".join(f"{code} {meaning}" for code, meaning in sorted(page.codes.items()))
