"""Install torch's build for the CPU into this environment where it is the right one; else leave torch to pip.

    python tools/torch_build.py auto|cpu|cuda

On Linux the torch of PyPI brings CUDA along, some gigabytes. `auto` takes the build for the CPU where there is no GPU
and torch's own index answers within seconds, and does nothing elsewhere; `cpu` insists on it; `cuda` does nothing.
"""

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
INDEX = "https://download.pytorch.org/whl/cpu"
SECONDS = 5  # that the index has to answer


def main(build: str) -> int:
    """Install what `build` asks for; the exit status is not 0 when that was the CPU's and it cannot be had."""
    if build not in ("auto", "cpu", "cuda"):
        print(f"error: TORCH is auto, cpu or cuda, not {build}", file=sys.stderr)
        return 2
    if sys.platform != "linux" or build == "cuda" or (build == "auto" and (has_gpu() or not answers())):
        return 0
    status = install()
    if status and build == "auto":
        print("The build for the CPU could not be installed; taking the usual one", file=sys.stderr)
        return 0
    return status


def has_gpu() -> bool:
    """Whether NVIDIA's driver shows a GPU."""
    driver = shutil.which("nvidia-smi")
    return driver is not None and subprocess.run([driver, "-L"], capture_output=True).returncode == 0


def answers() -> bool:
    """Whether torch's index answers in time; a process of its own can be stopped even while it looks for an address."""
    ask = f"from urllib.request import urlopen; urlopen({INDEX + '/torch/'!r})"
    try:
        return subprocess.run([sys.executable, "-c", ask], capture_output=True, timeout=SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def install() -> int:
    """Install the pinned release from torch's index, by itself: what it needs is pinned too and comes from PyPI."""
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (torch,) = (line for line in pins if line.startswith("torch=="))
    pip = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-deps"]
    return subprocess.run([*pip, "--index-url", INDEX, torch]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "auto"))
