"""How independent the dimensions and the vectors of an embedding are (arXiv:2411.06989)."""

from typing import NamedTuple

import torch


class Independence(NamedTuple):
    """How independent N vectors of D dimensions are.

    Args:
        correlations: Pearson's correlation of each pair of dimensions, `(D (D - 1) / 2,)`.
        cosines: The cosine of each pair of vectors, `(N (N - 1) / 2,)`.
        participation_ratio: How many dimensions the vectors make use of, between 1 and the smaller of D and N - 1:
            (sum of the eigenvalues of their covariance)^2 / sum of the squared eigenvalues. An effective rank.
        dimensions: D.
    """

    correlations: torch.Tensor
    cosines: torch.Tensor
    participation_ratio: float
    dimensions: int

    def summary(self) -> dict[str, float]:
        """Return the mean absolute correlation and cosine, the participation ratio and the number of dimensions."""
        return {
            "mean_absolute_correlation": float(self.correlations.abs().mean()),
            "mean_absolute_cosine": float(self.cosines.abs().mean()),
            "participation_ratio": self.participation_ratio,
            "dimensions": self.dimensions,
        }


@torch.no_grad()
def measure_independence(vectors: torch.Tensor) -> Independence:
    """Measure how independent the dimensions of vectors are, and the vectors themselves.

    Even independent random dimensions correlate a little when N is finite, by about sqrt(2 / (pi N)) on average, and
    independent random vectors have cosines of about sqrt(2 / (pi D)): compare with the vectors before training.

    Args:
        vectors: `(N, D)`, as the rows of a token table or the vectors that a network makes of tokens.

    Raises:
        ValueError: There are fewer than two vectors or two dimensions.
    """
    if vectors.dim() != 2 or min(vectors.shape) < 2:
        raise ValueError(f"vectors has the shape {tuple(vectors.shape)}, but should be at least two by two.")
    vectors = vectors.double()
    covariance = torch.cov(vectors.T)
    unit = torch.nn.functional.normalize(vectors, dim=-1)
    return Independence(
        correlations=pairs(torch.corrcoef(vectors.T)),
        cosines=pairs(unit @ unit.T),
        # Of a symmetric matrix, the trace is the sum of the eigenvalues, and the squared norm that of their squares.
        participation_ratio=float(covariance.trace() ** 2 / covariance.square().sum()),
        dimensions=vectors.shape[1],
    )


def pairs(matrix: torch.Tensor) -> torch.Tensor:
    """Return the values above the diagonal of a symmetric matrix."""
    return matrix[torch.ones_like(matrix).triu(diagonal=1) > 0]
