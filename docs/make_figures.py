"""Draw the figures of README and documentation: ``python docs/make_figures.py``."""

from pathlib import Path

from tscl.plotting import hierarchy

FIGURES = Path(__file__).parent / "figures"


def main() -> None:
    FIGURES.mkdir(exist_ok=True)
    hierarchy().figure.savefig(FIGURES / "hierarchy.png", dpi=110, facecolor="white", metadata={"Software": None})


if __name__ == "__main__":
    main()
