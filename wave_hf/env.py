# Copyright 2026 The wave_hf authors. Licensed under the Apache License, Version 2.0.
"""What a bug report needs to know of an installation, without paths and names.

python -m wave_hf.env
"""

import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from . import __version__

PACKAGES = ("transformers", "tokenizers", "datasets", "accelerate", "huggingface_hub", "safetensors")


def describe_environment() -> dict[str, str]:
    """Return the versions of Python and the packages, and the kind of processor and device."""
    return {
        "wave_hf": __version__,
        "Python": platform.python_version(),
        "torch": torch.__version__,
        **{package: installed_version(package) for package in PACKAGES},
        "system": f"{platform.system()} on {platform.machine()}",
        "CPU": f"{torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads",
        "device": device_name(),
    }


def installed_version(package: str) -> str:
    """Return the version of a package, which need not be installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def device_name() -> str:
    """Return the kind of the accelerator that torch uses, and their number, or `cpu`."""
    if not torch.accelerator.is_available():
        return "cpu"
    kind = torch.accelerator.current_accelerator().type  # type: ignore[union-attr]
    model = f" ({torch.cuda.get_device_name()})" if kind == "cuda" else ""
    return f"{torch.accelerator.device_count()} x {kind}{model}"


def main() -> None:
    """Print a line for each fact."""
    for name, value in describe_environment().items():
        print(f"- {name}: {value}")


if __name__ == "__main__":
    main()
