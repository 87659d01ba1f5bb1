"""Cross entropy that does or does not make up for rare classes."""

import torch
from torch import Tensor
from torch.nn import functional


def class_loss(
    logits: Tensor,
    targets: Tensor,
    class_counts: Tensor,
    imbalance: str,
    smoothing: float = 0.0,
    class_cap: int = 0,
) -> Tensor:
    r"""Return the mean loss of a batch.

    With class shares :math:`\pi_k` of the images that an epoch shows:

    - ``none``: plain cross entropy. With a cap it is that of :math:`\mathrm{logit}_k` plus the
      logarithm of the share of the class that is shown, so that the logits still learn how
      frequent the classes of the training split are.
    - ``weighted``: cross entropy with weights proportional to :math:`1/\pi_k`, of mean 1 over
      the images shown.
    - ``logit_adjusted``: cross entropy of :math:`\mathrm{logit}_k + \log \pi_k`, whose
      minimiser gives every class the same weight whatever its share (Menon et al. [1]_,
      eq. 10 with :math:`\tau = 1`).

    Parameters
    ----------
    logits : float, shape (n, classes)
    targets : int64 class indices of shape (n,), or probabilities of shape (n, classes)
    class_counts : training images a class, shape (classes,)
    imbalance : one of the three names above
    smoothing : probability mass moved from the true class to all classes evenly
    class_cap : images of a class that an epoch shows at most, 0 for all

    References
    ----------
    .. [1] A. K. Menon, S. Jayasumana, A. S. Rawat, H. Jain, A. Veit, S. Kumar: Long-tail
           learning via logit adjustment. ICLR 2021, arXiv:2007.07314.
    """
    shown = class_counts.clamp(max=class_cap) if class_cap else class_counts
    shares = shown / shown.sum()
    weight = None
    if imbalance == "logit_adjusted":
        logits = logits + shares.log()
    elif imbalance == "weighted":
        weight = 1 / (shares * len(shares))
    elif imbalance == "none":
        logits = logits + (shown / class_counts).log()
    else:
        raise ValueError(f"imbalance={imbalance!r}: use none, weighted or logit_adjusted")
    return functional.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)


def class_counts(targets: list[int], classes: int) -> Tensor:
    """Count the images of each class as float32 of shape (classes,)."""
    return torch.bincount(torch.tensor(targets), minlength=classes).float()
