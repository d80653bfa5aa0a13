"""Run all speed benchmarks, one after the other, and write ``docs/benchmarks.md`` with machine, versions and figures.

    python benchmarks/run.py --reference DIR --data DIR
    python benchmarks/run.py --only loss_memory store_opening
    python benchmarks/run.py --quick

Run nothing beside it. Each benchmark runs in a process of its own; its result is kept in
``docs/results/speed/NAME.json``, and the page is written after each of them from the results that are there. So a part
can be measured again alone, also on another machine. ``--resume`` goes on after a stop; ``--only`` without a name
measures nothing and writes the page. ``--quick`` tries everything at small sizes, and writes into ``build/quick``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import torch  # noqa: E402
from page import page  # noqa: E402
from parts import GIVE, PARTS, Part  # noqa: E402

import tscl  # noqa: E402
from tscl.files import atomic_file  # noqa: E402

INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def machine() -> dict[str, str]:
    """Return what the page says about this machine."""
    about = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = {line.split(":")[0].strip(): line.split(":")[1].strip() for line in about.splitlines() if ":" in line}
    has = [one for one in INSTRUCTIONS if one in fields.get("flags", "").split()]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "CPU": " ".join([fields.get("model name", platform.processor() or platform.machine()), *has]),
        "cores": str(os.cpu_count()),
        "memory": f"{memory:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "GPU": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU was at hand",
    }


def versions() -> dict[str, str]:
    """Return the versions that the figures depend on; the commit is marked where the code differs from it."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    found = {"tscl": tscl.__version__, "commit": git("rev-parse", "--short=10", "HEAD") or "unknown"}
    if git("status", "--porcelain", "--", "tscl", "benchmarks"):
        found["commit"] += " with changes"
    found["Python"] = platform.python_version()
    for package in ("torch", "numpy", "mne"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def left_out(part: Part, args: argparse.Namespace) -> str:
    """Return why a part cannot run here; empty where it can."""
    if part.on_gpu and not torch.cuda.is_available():
        return "no GPU is at hand"
    absent = [one for one in part.inputs(args.quick) if getattr(args, one) is None]
    return "give " + " and ".join(GIVE[one] for one in absent) if absent else ""


def arguments(part: Part, args: argparse.Namespace) -> tuple[list[str], str]:
    """Return the arguments of the script, and the command as the page shows it."""
    template = part.quick if args.quick else part.full
    words = [word.format(reference=args.reference, data=args.data) for word in shlex.split(template)]
    return words, " ".join([f"benchmarks/{part.script}", template.format(reference="DIR", data="DATA")]).strip()


def measure(part: Part, args: argparse.Namespace) -> dict[str, Any] | None:
    """Run a part, and return its result; None when it stopped with an error."""
    words, command = arguments(part, args)
    load, date = f"{os.getloadavg()[0]:.1f}", datetime.date.today().isoformat()
    known = [one for one in os.environ.get("PYTHONPATH", "").split(os.pathsep) if one]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *known])}
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "result.json"
        begun = time.perf_counter()
        script = str(ROOT / "benchmarks" / part.script)
        done = subprocess.run([sys.executable, script, *words, "--json", str(path)], env=environment)
        took = time.perf_counter() - begun
        if done.returncode or not path.exists():
            return None
        measured = json.loads(path.read_text())
    about = {"quick": args.quick, "command": command, "date": date, "took": round(took, 1), "load": load}
    return {**about, "machine": machine(), "versions": versions(), **measured}


def is_done(path: Path, command: str) -> bool:
    """Return whether the result of this very command, on this machine and with these versions, is there."""
    if not path.exists():
        return False
    there = json.loads(path.read_text())
    return (there["command"], there["machine"], there["versions"]) == (command, machine(), versions())


def main() -> None:
    """Measure, and write the results and the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [part.name for part in PARTS]
    parser.add_argument("--only", nargs="*", choices=names, metavar="NAME", help="of " + ", ".join(names))
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the command")
    parser.add_argument("--resume", action="store_true", help="leave out what was measured at this commit already")
    parser.add_argument("--reference", type=Path, metavar="DIR", help="a checkout of DL4mHealth/COMET")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a folder that holds eegmat/*.edf and ett/ETTh1.csv")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the page (docs; with --quick build/quick)")
    args = parser.parse_args()
    out = args.out or ROOT / ("build/quick" if args.quick else "docs")
    results = out / "results" / "speed"
    stopped = []
    for part in PARTS:
        if args.only is not None and part.name not in args.only:
            continue
        path = results / f"{part.name}.json"
        if why := left_out(part, args):
            print(f"== {part.name}: left out, {why}", flush=True)
        elif args.resume and is_done(path, arguments(part, args)[1]):
            print(f"== {part.name}: was measured at this commit", flush=True)
        else:
            print(f"== {part.name}: {part.title}", flush=True)
            result = measure(part, args)
            if result is None:
                stopped.append(part.name)
                continue
            with atomic_file(path) as temporary:
                temporary.write_text(json.dumps(result, indent=1) + "\n")
            write(out)
    write(out)
    if stopped:
        sys.exit(f"{', '.join(stopped)} stopped with an error, which stands above; the others are on the page.")


def write(out: Path) -> None:
    """Write the page from the results that are there."""
    with atomic_file(out / "benchmarks.md") as temporary:
        temporary.write_text(page(out / "results" / "speed", torch.cuda.is_available()))


if __name__ == "__main__":
    main()
