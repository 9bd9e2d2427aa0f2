"""The losses of ESRGAN and Real-ESRGAN: each one a mean over this device's pictures, without a weight of its own.

Means over logits are taken over the whole batch by the function `mean` that the caller gives: `jnp.mean` for one
device, `parallel.mean` inside a mapped step; the Frobenius norm's sums likewise by `total`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import lax

if TYPE_CHECKING:
    from jaxtyping import Array, Float

    Features = dict[str, Array]
    Mean = Callable[[Array], Array]
    Total = Callable[[Array], Array]

GAN_TYPES = ("vanilla", "lsgan", "wgan", "wgan_softplus", "hinge")
CRITERIA = ("l1", "fro")


def l1_loss(pred: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, ""]:
    """Return the mean absolute error."""
    return jnp.mean(jnp.abs(pred - target))


def mse_loss(pred: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, ""]:
    """Return the mean squared error."""
    return jnp.mean(jnp.square(pred - target))


def charbonnier_loss(
    pred: Float[Array, "..."], target: Float[Array, "..."], eps: float = 1e-12
) -> Float[Array, ""]:
    """Return the mean of sqrt(error^2 + eps), an L1 loss that is smooth at 0 (BasicSR; Lai et al. 2017)."""
    return jnp.mean(jnp.sqrt(jnp.square(pred - target) + eps))


PIXEL_LOSSES = {"l1": l1_loss, "mse": mse_loss, "charbonnier": charbonnier_loss}
"""What compares pictures with their targets, by `pixel_type`."""


def tv_loss(
    pictures: Float[Array, "n h w c"], weight: Float[Array, "n h w #c"] | None = None
) -> Float[Array, ""]:
    """Return the total variation: mean absolute differences of neighbours along rows, plus those along columns.

    Args:
      pictures: of any channels.
      weight: of each difference, taken at its upper or left pixel; the means are then weighted ones (BasicSR's
        WeightedTVLoss).
    """

    def variation(axis: int) -> Array:
        differences = jnp.abs(jnp.diff(pictures, axis=axis))
        if weight is None:
            return jnp.mean(differences)
        of_first = jnp.broadcast_to(
            lax.slice_in_dim(weight, 0, weight.shape[axis] - 1, axis=axis), differences.shape
        )
        return jnp.sum(differences * of_first) / jnp.sum(of_first)

    return variation(1) + variation(2)


def frobenius(a: Float[Array, "..."], b: Float[Array, "..."], total: Total = jnp.sum) -> Float[Array, ""]:
    """Return the Frobenius norm of the difference, over the whole batch; its gradient at 0 is 0, as torch's."""
    squares = total(jnp.square(a - b))
    return jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1)), 0)


def perceptual_loss(
    sr_features: Features,
    hr_features: Features,
    layer_weights: dict[str, float],
    distance: Callable[[Array, Array], Array] = l1_loss,
) -> Float[Array, ""]:
    """Return the sum over the layers of weight x distance between feature maps."""
    terms = [w * distance(sr_features[layer], hr_features[layer]) for layer, w in layer_weights.items()]
    return sum(terms, jnp.zeros(()))


def style_loss(
    sr_features: Features,
    hr_features: Features,
    layer_weights: dict[str, float],
    distance: Callable[[Array, Array], Array] = l1_loss,
) -> Float[Array, ""]:
    """Return the perceptual loss between Gram matrices instead of feature maps."""
    return perceptual_loss(
        jax.tree.map(gram, sr_features), jax.tree.map(gram, hr_features), layer_weights, distance
    )


def gram(features: Float[Array, "n h w c"]) -> Float[Array, "n c c"]:
    """Return products of channels, summed over the pixels and divided by c * h * w (BasicSR)."""
    n, h, w, c = features.shape
    flat = features.reshape(n, h * w, c)
    return jnp.einsum("npc,npd->ncd", flat, flat) / (c * h * w)


@dataclass(frozen=True)
class Perceptual:
    """A frozen feature extractor and how much each of its layers counts.

    Attributes:
      extractor: maps pictures to {layer: features}.
      variables: its weights, or their shapes (`jax.ShapeDtypeStruct`) for lowering.
      layer_weights: {layer: weight}.
      perceptual_weight: of the distance between feature maps; 0 leaves it out.
      style_weight: of the distance between their Gram matrices; 0 leaves it out.
      criterion: the distance: "l1", a mean, or "fro", the Frobenius norm over the whole batch.
    """

    extractor: nn.Module
    variables: Any = field(compare=False, repr=False)  # arrays say neither equal nor different
    layer_weights: dict[str, float] = field(default_factory=lambda: {"conv5_4": 1.0})
    perceptual_weight: float = 1.0
    style_weight: float = 0.0
    criterion: str = "l1"

    def __post_init__(self):
        """Refuse unknown criteria (ValueError)."""
        if self.criterion not in CRITERIA:
            raise ValueError(f"`criterion` (={self.criterion!r}) must be one of {', '.join(CRITERIA)}.")

    def losses(
        self,
        variables: Any,
        sr: Float[Array, "n h w 3"],
        hr: Float[Array, "n h w 3"],
        total: Total = jnp.sum,
    ) -> dict[str, Array]:
        """Return the weighted terms l_g_percep and l_g_style that are asked for.

        `variables` are handed in, so that they are not compiled in; `total` sums over the whole batch.
        """
        between = l1_loss if self.criterion == "l1" else partial(frobenius, total=total)
        sr_features = self.extractor.apply(variables, sr)
        hr_features = self.extractor.apply(variables, hr)
        terms = {}
        if self.perceptual_weight:
            distance = perceptual_loss(sr_features, hr_features, self.layer_weights, between)
            terms["l_g_percep"] = self.perceptual_weight * distance
        if self.style_weight:
            distance = style_loss(sr_features, hr_features, self.layer_weights, between)
            terms["l_g_style"] = self.style_weight * distance
        return terms


@dataclass(frozen=True)
class GANLoss:
    """The adversarial losses of generator and discriminator.

    Attributes:
      gan_type: vanilla (binary cross-entropy with logits), lsgan, wgan, wgan_softplus or hinge.
      relativistic: compare each logit with the mean of the other side (RaGAN, Jolicoeur-Martineau 2018,
        arXiv:1807.00734) and halve the losses, as the official trainer of ESRGAN does.
      detach_means: no gradient through the means in the discriminator's losses; False is ESRGAN's code of 2018.
    """

    gan_type: str = "vanilla"
    relativistic: bool = True
    detach_means: bool = True

    def __post_init__(self):
        """Refuse unknown types (ValueError)."""
        if self.gan_type not in GAN_TYPES:
            raise ValueError(f"`gan_type` (={self.gan_type!r}) must be one of {', '.join(GAN_TYPES)}.")

    def generator(
        self, real_logits: Float[Array, "n 1"] | None, fake_logits: Float[Array, "n 1"], mean: Mean = jnp.mean
    ) -> Float[Array, ""]:
        """Return the generator's loss: fakes are to look real, and if relativistic more real than real pictures.

        `real_logits` get no gradient, and are not looked at (None) unless relativistic. The mean of
        `fake_logits` does pass its gradient on.
        """
        if not self.relativistic or real_logits is None:
            return self._loss(fake_logits, is_real=True, for_generator=True)
        real_logits = lax.stop_gradient(real_logits)
        real = self._loss(real_logits - mean(fake_logits), is_real=False, for_generator=True)
        fake = self._loss(fake_logits - mean(real_logits), is_real=True, for_generator=True)
        return (real + fake) / 2

    def discriminator(
        self,
        real_logits: Float[Array, "n 1"],
        fake_logits: Float[Array, "n 1"],
        mean: Mean = jnp.mean,
        earlier_fake_logits: Float[Array, "n 1"] | None = None,
    ) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Return the discriminator's losses (l_d_real, l_d_fake); their sum is what it minimises.

        Relativistic ones of the official trainer compare real logits with those of a forward on the fakes before:
        `earlier_fake_logits`, of which only a discriminator whose state changes its logits makes other ones.
        """
        if not self.relativistic:
            return self._loss(real_logits, is_real=True), self._loss(fake_logits, is_real=False)
        earlier = fake_logits if earlier_fake_logits is None else earlier_fake_logits
        mean_real, mean_fake = mean(real_logits), mean(earlier)
        if self.detach_means:
            mean_real, mean_fake = lax.stop_gradient((mean_real, mean_fake))
        l_d_real = 0.5 * self._loss(real_logits - mean_fake, is_real=True)
        l_d_fake = 0.5 * self._loss(fake_logits - mean_real, is_real=False)
        return l_d_real, l_d_fake

    def _loss(self, logits, *, is_real: bool, for_generator: bool = False):
        sign = -1 if is_real else 1
        if self.gan_type == "vanilla":
            return jnp.mean(optax.sigmoid_binary_cross_entropy(logits, jnp.full_like(logits, is_real)))
        if self.gan_type == "lsgan":
            return jnp.mean(jnp.square(logits - is_real))
        if self.gan_type == "wgan":
            return sign * jnp.mean(logits)
        if self.gan_type == "wgan_softplus":
            return jnp.mean(jax.nn.softplus(sign * logits))
        # The official trainer's hinge ignores the label for the generator, so that a relativistic one, whose
        # two halves cancel, gives it no gradient.
        return -jnp.mean(logits) if for_generator else jnp.mean(jax.nn.relu(1 + sign * logits))
