"""Fetching the files of an open PhysioNet project, each verified against the project's SHA-256 sums."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tscl.errors import DataError, DataNotFoundError

SUMS = "SHA256SUMS.txt"


def read_sums(path: Path) -> dict[str, str]:
    """Read lines of ``<sha256> <file>`` into ``{file: sha256}``."""
    registry = {}
    for line in path.read_text().splitlines():
        parts = line.split(maxsplit=1)
        if len(parts) == 2 and len(parts[0]) == 64:
            registry[parts[1].strip().lstrip("*")] = parts[0]
    if not registry:
        raise DataError(f"{path} lists no SHA-256 sums: delete it and download again.")
    return registry


def fetch_all(url: str, folder: Path, wanted: Callable[[str], bool], n_jobs: int = 4) -> None:
    """Fetch every wanted file of the project at ``url`` into ``folder``.

    Files that are there with the right sum are kept; a file with another sum is fetched again; none is left
    half-written.

    Raises
    ------
    DataNotFoundError
        When the source cannot be reached.
    DataError
        When a file does not have the sum that the source lists.
    """
    import pooch
    import requests
    from joblib import Parallel, delayed
    from tqdm.auto import tqdm

    try:
        sums = Path(pooch.retrieve(url + SUMS, known_hash=None, fname=SUMS, path=folder))
        registry = {name: f"sha256:{digest}" for name, digest in read_sums(sums).items() if wanted(name)}
        shelf = pooch.create(path=folder, base_url=url, registry=registry, retry_if_failed=2)
        jobs = (delayed(shelf.fetch)(name) for name in tqdm(registry, desc=f"fetching {folder.name}", unit="file"))
        Parallel(n_jobs=n_jobs, prefer="threads")(jobs)
    except requests.exceptions.RequestException as error:
        raise DataNotFoundError(
            f"{url} cannot be reached ({type(error).__name__}): fetch its files into {folder} by hand."
        ) from error
    except ValueError as error:
        if "hash" not in str(error).lower():
            raise
        raise DataError(f"a file of {url} arrived damaged ({str(error).splitlines()[0]}): download again.") from error
