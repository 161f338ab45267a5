"""How far the rows of two models are apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from nibblevec._blocks import slices
from nibblevec._float_environment import in_default_float_environment

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nibblevec._model import Model

# Weights of a block of rows that is compared at a time.
BLOCK_WEIGHTS = 1 << 20


class Distance(NamedTuple):
    """How far the rows of two models are apart.

    Attributes:
        rmse: root of the mean squared difference of their weights.
        mean_cosine: of each row with its counterpart, on average; two rows of zeros have 1.
        least_cosine: the least of these.
    """

    rmse: float
    mean_cosine: float
    least_cosine: float


@in_default_float_environment
def distance(model: Model, other: Model) -> Distance:
    """Compare the weighted rows of each id in two models of the same dims, in float64.

    Where one knows fewer ids than the other, these are compared.
    """
    ids, dim = min(_ids(model), _ids(other)), model.table.dim
    squares = cosines = 0.0
    least = 1.0
    for block in slices(ids, max(1, BLOCK_WEIGHTS // dim)):
        block_ids = np.arange(block.start, block.stop)
        rows, other_rows = _rows_of(model, block_ids), _rows_of(other, block_ids)
        difference = rows - other_rows
        squares += float(np.vdot(difference, difference))
        products = np.einsum("ij,ij->i", rows, other_rows)
        norms, other_norms = (np.sqrt(np.einsum("ij,ij->i", r, r)) for r in (rows, other_rows))
        lengths = norms * other_norms
        cosine = np.divide(products, lengths, out=np.zeros(len(rows)), where=lengths > 0)
        cosine[(norms == 0) & (other_norms == 0)] = 1
        cosines += float(cosine.sum())
        least = min(least, float(cosine.min()))
    return Distance((squares / (ids * dim)) ** 0.5, cosines / ids, least)


def _ids(model: Model) -> int:
    ids = model.token_rules.ids
    return model.table.rows if ids is None else ids


def _rows_of(model: Model, ids: NDArray[np.int64]) -> NDArray[np.float64]:
    rules = model.token_rules
    rows = model.table.dequantize(ids if rules.row_of_id is None else rules.row_of_id[ids])
    if rules.weight_of_id is None:
        return rows.astype(np.float64)
    weights = rules.weight_of_id[ids, np.newaxis].astype(np.float64)
    return rows.astype(np.float64) * weights
