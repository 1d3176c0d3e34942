"""What an accuracy matrix says: R[n, i] is the accuracy on task i after phase n, in per cent."""

from jaxtyping import Float
from torch import Tensor


def final_average(accuracy: Float[Tensor, "*members phases tasks"]) -> Float[Tensor, "*members"]:
    """Return A_N = 1/N Σ_i R[N,i]: the mean over tasks after the last phase; R[n,i] is of task i after phase n."""
    return accuracy[..., -1, :].mean(-1)


def worst_task(accuracy: Float[Tensor, "*members phases tasks"]) -> Float[Tensor, "*members"]:
    """Return the lowest accuracy of any task after the last phase."""
    return accuracy[..., -1, :].amin(-1)


def forgetting(accuracy: Float[Tensor, "*members phases tasks"]) -> Float[Tensor, "*members"]:
    """Return 1/(N-1) Σ_{i<N} (max_n R[n,i] - R[N,i]): how far each task but the last fell from its best."""
    older = accuracy[..., :-1]
    return (older.amax(-2) - older[..., -1, :]).mean(-1)
