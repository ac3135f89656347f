"""The command line of the analysis.

    python -m wave_hf.analysis MODEL_DIR --out DIR

It writes report.md, its figures, and their numbers in results.json to DIR.
"""

from transformers import HfArgumentParser

from ..training.checks import check_numbers
from ..training.errors import exit_on_error
from .report import AnalysisArguments, write_report


def main() -> None:
    """Parse the command line and write the report."""
    description = "Report on the waves and decisions of a Wave Network, and on its training compared with a BERT's."
    parser = HfArgumentParser(AnalysisArguments, prog="python -m wave_hf.analysis", description=description)  # type: ignore[arg-type]
    parser.add_argument("model_dir", metavar="MODEL_DIR", help="Folder or Hub id of a trained classifier.")
    args, positional = parser.parse_args_into_dataclasses()
    with exit_on_error(f"Analysis of {positional.model_dir}"):
        check_numbers(args)
        write_report(positional.model_dir, args)


if __name__ == "__main__":
    main()
