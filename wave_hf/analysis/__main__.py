"""The command line of the analysis.

    python -m wave_hf.analysis MODEL_DIR --out DIR

DIR then holds report.md, its figures, and results.json with their numbers.
"""

from huggingface_hub.errors import StrictDataclassError
from transformers import HfArgumentParser

from .report import AnalysisArguments, write_report


def main() -> None:
    """Do what the command line asks for."""
    description = "Look inside a Wave Network, and compare how its kind learns with a BERT."
    parser = HfArgumentParser(AnalysisArguments, prog="python -m wave_hf.analysis", description=description)  # type: ignore[arg-type]
    parser.add_argument("model_dir", metavar="MODEL_DIR", help="Folder or Hub id of a trained classifier.")
    args, positional = parser.parse_args_into_dataclasses()
    try:
        write_report(positional.model_dir, args)
    except (OSError, StrictDataclassError, ValueError) as error:
        raise SystemExit(f"Analysis of {positional.model_dir}: {' '.join(str(error).split())}") from error


if __name__ == "__main__":
    main()
