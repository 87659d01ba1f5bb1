"""What a step of training and a validation do, and the loss, which may make up for rare classes."""

import math
from typing import Any, cast

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from timm.data.mixup import Mixup
from timm.scheduler.cosine_lr import CosineLRScheduler
from timm.utils.model_ema import ModelEmaV3
from torch import Tensor
from torch.nn import functional
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassAUROC, MulticlassRecall

from doctor_derma.errors import DermaError
from doctor_derma.models.networks import create_network
from doctor_derma.models.preprocessing import scale_pixels
from doctor_derma.training.augmentation import augment
from doctor_derma.training.batches import Batch
from doctor_derma.training.config import Size, TrainConfig

MONITOR = "val_balanced_accuracy"


class LesionModule(lightning.LightningModule):
    """A network, its moving average, and the losses and metrics of a run.

    ``class_counts`` are the training images a class, shape (classes,); ``aspect_ratio`` is width
    over height of the pictures, whatever they were stretched to.
    """

    def __init__(
        self, config: TrainConfig, class_counts: Tensor, aspect_ratio: float = 1.0
    ) -> None:
        super().__init__()
        self.config = config
        self.aspect_ratio = aspect_ratio
        classes = len(class_counts)
        network = create_network(
            config.model,
            classes,
            pretrained=config.pretrained,
            weights=config.weights,
            dropout=config.dropout,
            drop_path=config.drop_path,
            colour_constancy=config.colour_constancy,
        )
        if config.freeze:
            network.freeze(config.freeze)
        self.network = network.to(memory_format=torch.channels_last)
        self.ema = ModelEmaV3(self.network, decay=config.ema_decay, use_warmup=True)
        # Several processes wait for the gradient of every weight that may have one.
        self.ema.requires_grad_(False)
        self.class_counts: Tensor
        self.register_buffer("class_counts", class_counts)
        self.mixup = None
        if config.mixup or config.cutmix:
            smoothing = config.label_smoothing
            self.mixup = Mixup(
                config.mixup, config.cutmix, label_smoothing=smoothing, num_classes=classes
            )
        self.val_loss = MeanMetric()
        self.balanced_accuracy = MulticlassRecall(classes, average="macro")
        self.macro_auc = MulticlassAUROC(classes, average="macro")

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Start from a network's weights; a head for other classes stays fresh.

        Those of another backbone raise `DermaError`.
        """
        own = self.network.state_dict()
        # Checkpoints from before gates had a scale have those of the papers.
        scales = {name: torch.ones_like(own[name]) for name in own if name.endswith(".se.scale")}
        fitting = {
            name: value
            for name, value in (scales | weights).items()
            if name in own and own[name].shape == value.shape
        }
        if missing := [name for name in own if name not in fitting and "head." not in name]:
            raise DermaError(
                f"initial: the run's network is not a {self.config.model} "
                f"({missing[0]} is missing); start from a run of the same model"
            )
        self.network.load_state_dict(own | fitting)
        self.ema.set(self.network)

    def on_train_start(self) -> None:
        """Raise `DermaError` where the run goes on with another number of steps than it began with.

        Its schedule comes with the checkpoint, and would end too early or not at all.
        """
        began = cast(CosineLRScheduler, self.lr_schedulers()).t_initial
        steps = int(self.trainer.estimated_stepping_batches)
        if steps != began:
            raise DermaError(
                f"--resume: the run began with {began:,} steps, by which its learning rate falls, "
                f"and would have {steps:,} here; go on with as many processes, epochs and images "
                "a batch as it began with"
            )

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Return the mean loss, float32 (), of uint8 pixels (n, H, W, 3) and int64 classes (n,)."""
        pixels, targets = batch
        config = self.config
        size = epoch_size(self.current_epoch, config)
        images = augment(pixels, size, config, self.aspect_ratio)
        smoothing = config.label_smoothing
        if self.mixup is not None and len(images) % 2 == 0:
            # Mixup smooths the labels itself.
            images, targets = self.mixup(images, targets)
            smoothing = 0.0
        logits = self.network(images).float()
        loss = class_loss(
            logits, targets, self.class_counts, config.imbalance, smoothing, config.class_cap
        )
        self.log(
            "train_loss", loss, on_epoch=True, on_step=False, sync_dist=True, batch_size=len(pixels)
        )
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """Update the moving average of the weights."""
        self.ema.update(self.network, self.global_step)

    def validation_step(self, batch: Batch, index: int) -> None:
        """Measure the averaged network: loss, balanced accuracy and macro ROC AUC."""
        pixels, targets = batch
        logits = self.ema(scale_pixels(pixels)).float()
        loss = functional.cross_entropy(logits, targets)
        self.balanced_accuracy.update(logits, targets)
        self.macro_auc.update(logits.softmax(1), targets)
        # Lightning's own mean over processes takes their counts of images for whole numbers.
        self.val_loss.update(loss, len(pixels))
        self.log("val_loss", self.val_loss)
        self.log(MONITOR, self.balanced_accuracy, prog_bar=True)
        self.log("val_macro_auc", self.macro_auc, prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW and its schedule, a linear warm-up and then a cosine, by steps.

        Biases and the weights of normalisation, which have one dimension, are not decayed.
        """
        rate, decay = self.config.learning_rate, self.config.weight_decay
        learnt = [weight for weight in self.network.parameters() if weight.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [weight for weight in learnt if weight.ndim > 1]},
            {"params": [weight for weight in learnt if weight.ndim <= 1], "weight_decay": 0},
        ]
        optimizer = torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=True)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = CosineLRScheduler(
            optimizer,
            t_initial=steps,
            lr_min=rate / 1000,
            warmup_t=round(steps * self.config.warmup),
            warmup_lr_init=rate / 25,
            t_in_epochs=False,
        )
        schedule = {"scheduler": scheduler, "interval": "step"}
        return cast(OptimizerLRScheduler, {"optimizer": optimizer, "lr_scheduler": schedule})

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Set the learning rate by the number of steps so far."""
        scheduler.step_update(self.global_step)


def epoch_size(epoch: int, config: TrainConfig) -> Size:
    """Return the size of the training images in one epoch.

    It grows from ``start_size`` to ``train_size`` over the share ``growth`` of the run, as small
    images teach the coarse part sooner. Sides between are multiples of 16 in the same ratio.

    Examples
    --------
    >>> config = TrainConfig(epochs=48, start_size=48, train_size=112, growth=0.85)
    >>> [epoch_size(epoch, config).height for epoch in (0, 10, 20, 30, 40, 47)]
    [48, 48, 64, 80, 96, 112]
    """
    start, end = config.start_size, config.train_size
    share = epoch / (config.growth * config.epochs)
    if share >= 1 or epoch + 1 == config.epochs or start.height >= end.height:
        return end
    step = 16 * end.height // math.gcd(*end)
    height = int(start.height + share * (end.height - start.height)) // step * step
    return max(start, Size(height, height * end.width // end.height))


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

    - ``none``: plain cross entropy. With a cap it is that of the logits plus the logarithm of the
      share of the class that is shown, so that they still learn how frequent the classes are.
    - ``weighted``: weights proportional to :math:`1/\pi_k`, of mean 1 over the images shown.
    - ``logit_adjusted``: cross entropy of :math:`\mathrm{logit}_k + \log \pi_k`, which gives every
      class the same weight whatever its share (Menon et al. [1]_, eq. 10 with :math:`\tau = 1`).

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
