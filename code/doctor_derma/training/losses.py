"""Cross entropy that does or does not make up for rare classes."""

import torch
from torch import Tensor
from torch.nn import functional


def class_loss(
    logits: Tensor, targets: Tensor, class_counts: Tensor, imbalance: str, smoothing: float = 0.0
) -> Tensor:
    r"""Return the mean loss of a batch.

    With class shares :math:`\pi_k` of the training split:

    - ``none``: plain cross entropy.
    - ``weighted``: cross entropy with weights proportional to :math:`1/\pi_k`, of mean 1 over
      the training images.
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

    References
    ----------
    .. [1] A. K. Menon, S. Jayasumana, A. S. Rawat, H. Jain, A. Veit, S. Kumar: Long-tail
           learning via logit adjustment. ICLR 2021, arXiv:2007.07314.
    """
    shares = class_counts / class_counts.sum()
    weight = None
    if imbalance == "logit_adjusted":
        logits = logits + shares.log()
    elif imbalance == "weighted":
        weight = 1 / (shares * len(shares))
    elif imbalance != "none":
        raise ValueError(f"imbalance={imbalance!r}: use none, weighted or logit_adjusted")
    return functional.cross_entropy(logits, targets, weight=weight, label_smoothing=smoothing)


def class_counts(targets: list[int], classes: int) -> Tensor:
    """Count the images of each class as float32 of shape (classes,)."""
    return torch.bincount(torch.tensor(targets), minlength=classes).float()
