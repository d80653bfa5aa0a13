"""What a report tells; every part may be absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd

from tscl.evaluation.report.points import EmbeddingPoints


class Check(NamedTuple):
    """One thing that was checked against leaking.

    Attributes
    ----------
    passed : bool
        Whether it held.
    text : str
        What was checked, or what is wrong, in one sentence.
    """

    passed: bool
    text: str


@dataclass
class Report:
    """What :func:`write_report` writes; a part that is None or empty has no section.

    Attributes
    ----------
    title : str
        Name of the run.
    lead : str
        What the run is, in one sentence.
    manifest : mapping, optional
        The split, see :attr:`tscl.data.Split.manifest`.
    checks : sequence of Check
        The leakage statement.
    summary : DataFrame, optional
        See :meth:`Results.summary`: numbers with intervals.
    statement : str
        On whom the results were measured.
    results : str
        The results as Markdown, shown where there is no ``summary``.
    patients : DataFrame, optional
        See :meth:`Results.by_patient`.
    points : EmbeddingPoints, optional
        The embedding map.
    history : DataFrame, optional
        A column ``epoch`` and one a logged value, a row an epoch.
    figures : mapping of str to bytes
        PNG images by file name.
    card : str
        The model card, as Markdown.
    config : str
        The resolved configuration, as YAML.
    notes : mapping of str to str
        Why a section (``"results"``, ``"patients"``, ``"map"``) has nothing to show, and what to do.
    """

    title: str
    lead: str
    manifest: Mapping[str, Any] | None = None
    checks: Sequence[Check] = ()
    summary: pd.DataFrame | None = None
    statement: str = ""
    results: str = ""
    patients: pd.DataFrame | None = None
    points: EmbeddingPoints | None = None
    history: pd.DataFrame | None = None
    figures: Mapping[str, bytes] = field(default_factory=dict)
    card: str = ""
    config: str = ""
    notes: Mapping[str, str] = field(default_factory=dict)
