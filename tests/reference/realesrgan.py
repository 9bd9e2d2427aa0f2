"""One iteration of RealESRGANModel in paired mode, in torch: sharpened targets by flag, no relativistic losses.

D runs three times in an iteration, on sr, gt, sr, and twice where G rests: each forward in train mode moves the
vectors of its spectral norm.
"""

import copy
import dataclasses

import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

from .trainer import (
    GanRecipe,
    as_arrays,
    gan_loss,
    grad_norm,
    learning_rate,
    make_adam,
    perceptual_terms,
    set_learning_rate,
    update_ema,
)

FIVE_LAYERS = (("conv1_2", 0.1), ("conv2_2", 0.1), ("conv3_4", 1.0), ("conv4_4", 1.0), ("conv5_4", 1.0))


@dataclasses.dataclass(frozen=True)
class RealEsrganRecipe(GanRecipe):
    """The values of options/train_realesrgan_x4plus.yml; a flag says that a target is the sharpened picture."""

    pixel_weight: float = 1.0
    layer_weights: tuple[tuple[str, float], ...] = FIVE_LAYERS
    gan_weight: float = 0.1
    relativistic: bool = False
    l1_gt_usm: bool = True
    percep_gt_usm: bool = True
    gan_gt_usm: bool = False


def usm_sharp(img: Tensor, weight: float = 0.5, radius: int = 50, threshold: float = 10.0) -> Tensor:
    """Sharpen where a picture [n, c, h, w] differs from its blurred copy, by one convolution with a square kernel."""
    radius += 1 - radius % 2
    sigma = 0.3 * ((radius - 1) * 0.5 - 1) + 0.8
    row = torch.exp(-((torch.arange(radius, dtype=img.dtype) - radius // 2) ** 2) / (2 * sigma**2))
    row = row / row.sum()
    kernel = torch.outer(row, row).expand(img.shape[1], 1, radius, radius)

    def blur(x: Tensor) -> Tensor:
        return F.conv2d(F.pad(x, (radius // 2,) * 4, mode="reflect"), kernel, groups=img.shape[1])

    residual = img - blur(img)
    soft_mask = blur((residual.abs() * 255 > threshold).to(img.dtype))
    return soft_mask * (img + weight * residual).clamp(0, 1) + (1 - soft_mask) * img


class RealEsrganTrainer:
    """G against D.

    Args:
        net_g: the generator; it is trained in place, and its moving average starts as a copy of it.
        net_d: the discriminator; it is trained in place and never leaves train mode.
        vgg: images -> {layer: features}, frozen.
        recipe: the choices.
    """

    def __init__(self, net_g: nn.Module, net_d: nn.Module, vgg: nn.Module, recipe: RealEsrganRecipe):
        self.recipe, self.vgg = recipe, vgg
        self.net_g, self.net_d = net_g.train(), net_d.train()
        self.net_g_ema = copy.deepcopy(net_g)
        self.optimizer_g = make_adam(net_g, recipe.optimizer_g)
        self.optimizer_d = make_adam(net_d, recipe.optimizer_d)
        self.iteration = 0

    def step(self, lr: Tensor, gt: Tensor) -> dict[str, float]:
        """One iteration on a batch of low- and high-resolution images; returns what the trainer logs."""
        recipe = self.recipe
        self.iteration += 1
        rates = {
            "lr": learning_rate(recipe.schedule, recipe.optimizer_g.lr, self.iteration),
            "lr_d": learning_rate(recipe.schedule, recipe.optimizer_d.lr, self.iteration),
        }
        set_learning_rate(self.optimizer_g, rates["lr"])
        set_learning_rate(self.optimizer_d, rates["lr_d"])
        gt_usm = usm_sharp(gt)
        l1_gt = gt_usm if recipe.l1_gt_usm else gt
        percep_gt = gt_usm if recipe.percep_gt_usm else gt
        gan_gt = gt_usm if recipe.gan_gt_usm else gt
        terms: dict[str, Tensor] = {}
        norms: dict[str, float] = {}

        sr = self.net_g(lr)
        if self.iteration % recipe.net_d_iters == 0 and self.iteration > recipe.net_d_init_iters:
            for parameter in self.net_d.parameters():
                parameter.requires_grad = False
            self.optimizer_g.zero_grad()
            terms["l_g_pix"] = recipe.pixel_weight * F.l1_loss(sr, l1_gt)
            perceptual, _ = perceptual_terms(self.vgg, sr, percep_gt, recipe.layer_weights)
            terms["l_g_percep"] = recipe.perceptual_weight * perceptual
            fake = self.net_d(sr)
            terms["l_g_gan"] = recipe.gan_weight * gan_loss(recipe.gan_type, fake, True, is_disc=False)
            sum(terms.values()).backward()
            norms["grad_norm_g"] = grad_norm(self.net_g)
            self.optimizer_g.step()

        for parameter in self.net_d.parameters():
            parameter.requires_grad = True
        self.optimizer_d.zero_grad()
        real = self.net_d(gan_gt)
        terms["l_d_real"] = gan_loss(recipe.gan_type, real, True, is_disc=True)
        terms["l_d_real"].backward()
        fake = self.net_d(sr.detach().clone())
        terms["l_d_fake"] = gan_loss(recipe.gan_type, fake, False, is_disc=True)
        terms["l_d_fake"].backward()
        norms["grad_norm_d"] = grad_norm(self.net_d)
        self.optimizer_d.step()
        terms |= {"out_d_real": real.mean(), "out_d_fake": fake.mean()}

        update_ema(self.net_g_ema, self.net_g, recipe.ema_decay)
        return {name: term.item() for name, term in terms.items()} | norms | rates

    def states(self) -> dict:
        """{"net_g", "net_g_ema", "net_d"}: state dicts as NumPy arrays, D's with u and v."""
        return {name: as_arrays(getattr(self, name)) for name in ("net_g", "net_g_ema", "net_d")}
