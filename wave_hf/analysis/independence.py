"""Independence of the dimensions and of the vectors of an embedding (arXiv:2411.06989)."""

from typing import NamedTuple

import torch


class Independence(NamedTuple):
    """The independence of N vectors of D dimensions.

    Args:
        correlations: Pearson's correlation of each pair of dimensions, `(D (D - 1) / 2,)`.
        cosines: The cosine of each pair of vectors, `(N (N - 1) / 2,)`.
        participation_ratio: An effective rank, between 1 and the smaller of D and N - 1:
            (sum of the eigenvalues of the covariance)^2 / sum of the squared eigenvalues.
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
    """Measure the independence of the dimensions of vectors, and of the vectors themselves.

    With finite N, even independent dimensions have a mean absolute correlation of about sqrt(2 / (pi N)), and
    independent random vectors a mean absolute cosine of about sqrt(2 / (pi D)). The vectors before training are
    therefore the reference.

    Args:
        vectors: `(N, D)`, such as the rows of a token table or the output vectors of tokens.

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
        # The trace of a symmetric matrix is the sum of its eigenvalues; its squared norm is the sum of their squares.
        participation_ratio=float(covariance.trace() ** 2 / covariance.square().sum()),
        dimensions=vectors.shape[1],
    )


def pairs(matrix: torch.Tensor) -> torch.Tensor:
    """Return the values above the diagonal of a symmetric matrix."""
    return matrix[torch.ones_like(matrix).triu(diagonal=1) > 0]
