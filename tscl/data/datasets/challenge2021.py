"""PhysioNet/Computing in Cardiology Challenge 2021: 12-lead ECG of several hospitals with SNOMED CT diagnoses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from tscl.data.datasets.base import Study, natural_order, yes_no
from tscl.data.datasets.leads import TWELVE_LEADS, as_number, comment_value, header_comments, read_leads
from tscl.data.preprocessing import BandPass, FixedTrials, PickChannels, Preprocessing, Resample, SlidingWindows
from tscl.data.sources import Source
from tscl.errors import ConfigError, DataError

# Database: folder of the source, number of public records.
DATABASES = {
    "CPSC": ("cpsc_2018", 6877),
    "CPSC-Extra": ("cpsc_2018_extra", 3453),
    "INCART": ("st_petersburg_incart", 74),
    "PTB": ("ptb", 516),
    "PTB-XL": ("ptb-xl", 21837),
    "Georgia": ("georgia", 10344),
    "Chapman-Shaoxing": ("chapman_shaoxing", 10247),
    "Ningbo": ("ningbo", 34905),
}
PREFIXES = {"HR": "PTB-XL", "E": "Georgia", "A": "CPSC", "Q": "CPSC-Extra", "I": "INCART", "S": "PTB"}
LAST_CHAPMAN = 10646  # JS00001 to JS10646 are Chapman-Shaoxing, those after it Ningbo

# Target: SNOMED CT codes, one of which makes it 1.
FINDINGS = {
    "sinus_rhythm": ("426783006",),
    "atrial_fibrillation": ("164889003",),
    "atrial_flutter": ("164890007",),
    "sinus_bradycardia": ("426177001",),
    "sinus_tachycardia": ("427084000",),
    "left_ventricular_hypertrophy": ("164873001", "55827005"),
    "right_bundle_branch_block": ("59118001", "713427006"),
    "left_bundle_branch_block": ("164909002", "733534002"),
    "first_degree_av_block": ("270492004",),
    "t_wave_abnormal": ("164934002", "59931005"),
}


def database_of(stem: str) -> str:
    """Return the database that a record's name tells, ``"other"`` where it tells none."""
    letters = stem.rstrip("0123456789")
    if letters == "JS" and stem[2:].isdigit():
        return "Chapman-Shaoxing" if int(stem[2:]) <= LAST_CHAPMAN else "Ningbo"
    return PREFIXES.get(letters, "other")


def labels_of(path: Path) -> dict[str, Any]:
    """Return the label columns that the header of a record gives.

    Raises
    ------
    DataError
        When the header has no ``Dx`` line.
    """
    comments = header_comments(path)
    said = comment_value(comments, "Dx")
    if said is None:
        raise DataError(f"{path} has no '# Dx:' line with diagnoses: fetch the header again.")
    codes = [code.strip() for code in said.split(",") if code.strip().isdigit()]
    sex = (comment_value(comments, "Sex") or "").lower()
    found = {name: yes_no(set(codes) & set(wanted)) for name, wanted in FINDINGS.items()}
    return {
        "normal": yes_no(codes == ["426783006"]),
        **found,
        "diagnoses": ",".join(codes),
        "database": database_of(path.stem),
        "sex": {"male": "M", "m": "M", "female": "F", "f": "F"}.get(sex),
        "age": as_number(comment_value(comments, "Age")),
    }


class Challenge2021(Study):
    """PhysioNet/Computing in Cardiology Challenge 2021 (Reyna et al.): PTB-XL, Georgia, Chapman-Shaoxing and others.

    12 leads, mostly 500 Hz and 10 s; a record counts as a patient, for the headers tell no more. By default 0.5 to 40
    Hz at 125 Hz in mV, trials of 5 s, each of four half-overlapping windows of 2 s, at most two trials a record.

    Parameters
    ----------
    target : str, default="normal"
        ``normal`` (sinus rhythm is the only diagnosis), ``sinus_rhythm``, ``atrial_fibrillation``,
        ``atrial_flutter``, ``sinus_bradycardia``, ``sinus_tachycardia``, ``left_ventricular_hypertrophy`` (or its
        voltage criteria), ``right_bundle_branch_block``, ``left_bundle_branch_block``, ``first_degree_av_block``,
        ``t_wave_abnormal`` (0 or 1), ``sex`` or ``database``. ``diagnoses`` (SNOMED CT codes) and ``age`` (years) are
        further label columns.
    databases : sequence of str, optional
        Only these: CPSC, CPSC-Extra, INCART, PTB, PTB-XL, Georgia, Chapman-Shaoxing, Ningbo. All by default.

    Examples
    --------
    >>> data = Challenge2021(databases=["PTB-XL", "Georgia"]).load("challenge-2021", n_jobs=8)  # doctest: +SKIP
    """

    name: ClassVar[str] = "challenge2021"
    title: ClassVar[str] = "PhysioNet/CinC Challenge 2021: 12-lead ECG of PTB-XL, Georgia, Chapman-Shaoxing and others"
    licence: ClassVar[str] = "CC BY 4.0"
    url: ClassVar[str] = "https://physionet.org/content/challenge-2021/1.0.3/"
    files_url: ClassVar[str | None] = "https://physionet.org/files/challenge-2021/1.0.3/"
    access: ClassVar[str] = f"It is open: load with download=True, or fetch it from {url}."
    folders: ClassVar[tuple[str, ...]] = ("challenge-2021", "cinc2021")
    patterns = tuple(f"**/{prefix}[0-9][0-9][0-9][0-9]*.hea" for prefix in ("HR", "E", "JS", "A", "Q", "I", "S"))
    targets: ClassVar[tuple[str, ...]] = ("normal", *FINDINGS, "sex", "database")
    target = "normal"

    def __init__(self, target: str | None = None, databases: Sequence[str] | None = None) -> None:
        super().__init__(target)
        unknown = [name for name in databases or () if name not in DATABASES]
        if unknown:
            raise ConfigError(f"challenge2021 has no database {unknown[0]!r}: choose among {', '.join(DATABASES)}.")
        self.databases = None if databases is None else tuple(databases)
        counted = sum(DATABASES[name][1] for name in self.databases or DATABASES)
        self.expected = {"patients": counted, "recordings": counted}

    def __repr__(self) -> str:
        return f"Challenge2021(target={self.target!r}, databases={self.databases!r})"

    def wanted_file(self, path: str) -> bool:
        """Headers and signals of the chosen databases."""
        parts = path.split("/")
        folders = [DATABASES[name][0] for name in self.databases or DATABASES]
        return parts[0] == "training" and len(parts) > 2 and parts[1] in folders and path.endswith((".hea", ".mat"))

    def sources(self, root: Path) -> list[Source]:
        """One source a record, with the diagnoses, age and sex of its header."""
        headers = [path for path in natural_order(root.rglob("*.hea")) if database_of(path.stem) != "other"]
        if self.databases is not None:
            headers = [path for path in headers if database_of(path.stem) in self.databases]
        if not headers:
            raise DataError(
                f"{root} has no records of {', '.join(self.databases or DATABASES)}: fetch them or choose others."
            )
        return [Source(str(path), {"patient": path.stem}, labels_of(path), reader=read_leads) for path in headers]

    def preprocessing(self) -> Preprocessing:
        """0.5 to 40 Hz at 125 Hz in mV, up to two trials of 5 s, half-overlapping windows of 2 s."""
        return Preprocessing(
            steps=[PickChannels(TWELVE_LEADS), BandPass(0.5, 40.0), Resample(125.0)],
            trials=FixedTrials(5.0, max_trials=2),
            windows=SlidingWindows(2.0, overlap=0.5),
        )
