"""Hypothesis: training through HubLayer needs at most 1.05 × the peak memory of a hand-written loop.

    python benchmarks/memory.py [mobilenet | bert]

Each measurement is a process of its own that loads the SavedModel, takes ten steps and reports its peak.
"""

import resource
import subprocess
import sys
from statistics import median

import common

LIMIT = 1.05
REPETITIONS = 3
STEPS = 10


def main(names: list[str]) -> int:
    verdicts = common.Verdicts()
    for name in names:
        common.model(name)
        peaks: dict[str, list[float]] = {"Raw": [], "Ours": []}
        for number in range(REPETITIONS):
            for variant in sorted(peaks, reverse=number % 2 == 0):
                peaks[variant].append(_peak_in_a_process(variant, name))
        raw, ours = median(peaks["Raw"]), median(peaks["Ours"])
        spread = "; ".join(f"{variant} {min(found):.0f} to {max(found):.0f}" for variant, found in peaks.items())
        verdicts.row(f"{name}: peak memory of a training loop", f"{raw:.0f} MB", f"{ours:.0f} MB", ours / raw, LIMIT,
                     f"MB: {spread}")  # fmt: skip
    return verdicts.exit_code


def _peak_in_a_process(variant: str, name: str) -> float:
    """Megabytes, from a process that does nothing else."""
    command = [sys.executable, __file__, "--one", variant, name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def _one(variant: str, name: str) -> None:
    import loops

    step = loops.training_step(getattr(loops, variant)(name), name)
    for _ in range(STEPS):
        step()
    unit = 1e6 if sys.platform == "darwin" else 1e3  # ru_maxrss is in bytes there, in kilobytes elsewhere
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _one(*sys.argv[2:])
    else:
        sys.exit(main(sys.argv[1:] or list(common.NAMES)))
