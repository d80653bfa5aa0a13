"""Find the command, run it, and turn errors into one sentence."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

import tscl
from tscl.cli.arguments import call, sentence


def _fit(args: list[str]) -> None:
    from tscl.cli.fit import fit

    fit(args)


def _prepare(args: list[str]) -> None:
    from tscl.cli.prepare import prepare

    prepare(args)


def _evaluate(args: list[str]) -> None:
    from tscl.cli.run import kind_of

    command: Callable[..., None]
    kind = kind_of(args)
    if kind == "series":
        from tscl.cli.evaluate_series import evaluate_series as command
    elif kind == "anomalies":
        from tscl.cli.evaluate_anomalies import evaluate_anomalies as command
    elif kind == "speech":
        from tscl.cli.evaluate_speech import evaluate_speech as command
    else:
        from tscl.cli.evaluate import evaluate_run as command
    call(command, args)


def _embed(args: list[str]) -> None:
    from tscl.cli.run import kind_of

    command: Callable[..., None]
    kind = kind_of(args)
    if kind == "windows":
        from tscl.cli.embed import embed_run as command
    elif kind == "speech":
        from tscl.cli.embed_speech import embed_speech as command
    else:
        from tscl.cli.embed_series import embed_steps as command
    call(command, args)


def _sweep(args: list[str]) -> None:
    from tscl.cli.sweep import sweep

    sweep(args)


def _export(args: list[str]) -> None:
    from tscl.cli.export import export_run

    call(export_run, args)


def _report(args: list[str]) -> None:
    from tscl.cli.report import report_run

    call(report_run, args)


def _datasets(args: list[str]) -> None:
    from tscl.cli.datasets import list_datasets

    call(list_datasets, args)


def _demo(args: list[str]) -> None:
    from tscl.cli.demo import demo

    call(demo, args)


COMMANDS: dict[str, tuple[Callable[[list[str]], None], str]] = {
    "fit": (_fit, "train a model from a configuration file"),
    "prepare": (_prepare, "read, cut and keep a configuration's recordings, on all cores or a cluster"),
    "evaluate": (_evaluate, "judge a run on patients, speech, or the part of a series, that it never saw"),
    "embed": (_embed, "write the embeddings of a run's recordings or series to a table"),
    "sweep": (_sweep, "try settings out, and keep the best by the validation patients"),
    "export": (_export, "write a run's encoder as ONNX or a torch.export program, to run without tscl"),
    "report": (_report, "write everything of a run into one HTML file that opens offline"),
    "datasets": (_datasets, "list the data sets known by name, and which are found here"),
    "demo": (_demo, "simulate a cohort, train on it, and judge the model on unseen patients"),
}


def _usage() -> str:
    lines = [f"tscl {tscl.__version__}: {tscl.__doc__.splitlines()[0] if tscl.__doc__ else ''}", "", "commands:"]
    lines += [f"  tscl {name:<9} {text}" for name, (_, text) in COMMANDS.items()]
    lines += ["", "tscl COMMAND --help shows a command's options; --debug shows the traceback of an error."]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; those of the process by default.

    Returns
    -------
    int
        Exit status: 0 well, 1 an error, 2 wrong usage, 130 interrupted.
    """
    args = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in args
    args = [argument for argument in args if argument != "--debug"]
    logger = logging.getLogger("tscl")
    logger.setLevel(logging.INFO)
    logger.handlers = [logging.StreamHandler()]
    if not args or args[0] in ("-h", "--help"):
        print(_usage())
        return 0
    if args[0] == "--version":
        print(tscl.__version__)
        return 0
    if args[0] not in COMMANDS:
        print(f"error: there is no command {args[0]!r}.\n\n{_usage()}", file=sys.stderr)
        return 2
    try:
        COMMANDS[args[0]][0](args[1:])
    except KeyboardInterrupt as interrupt:
        print(f"interrupted: {interrupt}." if interrupt.args else "interrupted.", file=sys.stderr)
        return 130
    except Exception as error:
        if debug:
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
