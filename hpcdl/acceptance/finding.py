"""How an acceptance is named: by its folder, by its id, by the beginning or the end of that, or `last`."""

from __future__ import annotations

from pathlib import Path

from hpcdl.acceptance.folder import AcceptanceFolder, list_acceptances
from hpcdl.errors import Mistake


def find_acceptance(text: str, root: Path) -> AcceptanceFolder:
    """One acceptance of a store.

    Raises:
        Mistake: None fits, or more than one.
    """
    if (Path(text) / "acceptance.json").is_file():
        return AcceptanceFolder(Path(text).absolute())
    folders = list_acceptances(root)
    if not folders:
        raise Mistake(f"there are no acceptances in {root}.", do="Start one: hpcdl accept run smoke.")
    if text == "last":
        return folders[-1]
    exact = [one for one in folders if one.accept_id == text]
    fits = exact or [one for one in folders if text and one.accept_id.startswith(text)]
    fits = fits or [one for one in folders if text and one.accept_id.endswith(text)]
    if len(fits) > 1:
        raise Mistake(
            f"{text!r} is {len(fits)} acceptances: {', '.join(one.accept_id for one in fits[:5])}.",
            do="Write more of the id.",
        )
    if not fits:
        raise Mistake(
            f"there is no acceptance {text!r} in {root}.", do="`hpcdl accept list` shows what there is."
        )
    return fits[0]
