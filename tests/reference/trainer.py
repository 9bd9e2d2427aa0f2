"""The two training stages in torch, one iteration at a time, in the order of the official trainer.

Nothing is shared that the official trainer does not share: D really runs five times per iteration, so that
its running statistics move as they do there. Precision is that of the networks handed in.
"""

import copy
import dataclasses
import math

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 (its usual name)
from torch import Tensor, nn

# --- what can be chosen -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class CosineRestarts:
    """From the base rate times a weight down to eta_min in each period, then up again."""

    periods: tuple[int, ...] = (250_000,) * 4
    restart_weights: tuple[float, ...] = (1.0,) * 4
    eta_min: float = 1e-7
    kind: str = "cosine_restarts"


@dataclasses.dataclass(frozen=True)
class MultiStep:
    """Multiplied by gamma at each milestone."""

    milestones: tuple[int, ...] = (50_000, 100_000, 200_000, 300_000)
    gamma: float = 0.5
    kind: str = "multistep"


@dataclasses.dataclass(frozen=True)
class Adam:
    """torch.optim.Adam: weight decay is added to the gradient (L2), before the moments."""

    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.0


@dataclasses.dataclass(frozen=True)
class PixelRecipe:
    """Stage 1, the PSNR network."""

    pixel_weight: float = 1.0
    optimizer_g: Adam = Adam(lr=2e-4)
    schedule: CosineRestarts | MultiStep = CosineRestarts()
    ema_decay: float = 0.999


@dataclasses.dataclass(frozen=True)
class GanRecipe:
    """Stage 2. A weight of 0 leaves its term out (and out of the log)."""

    pixel_weight: float = 1e-2
    perceptual_weight: float = 1.0
    style_weight: float = 0.0
    layer_weights: tuple[tuple[str, float], ...] = (("conv5_4", 1.0),)
    gan_type: str = "vanilla"
    gan_weight: float = 5e-3
    relativistic: bool = True
    detach_means: bool = True  # False: the discriminator step of the 2018 code, gradient through both means
    optimizer_g: Adam = Adam()
    optimizer_d: Adam = Adam()
    schedule: CosineRestarts | MultiStep = MultiStep()
    net_d_iters: int = 1
    net_d_init_iters: int = 0
    ema_decay: float = 0.999


# --- its parts --------------------------------------------------------------------------------------------


def learning_rate(schedule: CosineRestarts | MultiStep, base: float, iteration: int) -> float:
    """The learning rate of an iteration counted from 1.

    Schedulers count the iterations that are over: iteration k trains at time k - 1.
    """
    time = iteration - 1
    if isinstance(schedule, MultiStep):
        return base * schedule.gamma ** sum(time >= milestone for milestone in schedule.milestones)
    start = 0
    for period, weight in zip(schedule.periods, schedule.restart_weights, strict=True):
        if time <= start + period:  # the boundary belongs to the period it ends
            wave = 0.5 * (1 + math.cos(math.pi * (time - start) / period))
            return schedule.eta_min + weight * (base - schedule.eta_min) * wave
        start += period
    raise ValueError(f"iteration {iteration} lies behind the last period, which ends at {start + 1}")


def gan_loss(gan_type: str, prediction: Tensor, target_is_real: bool, is_disc: bool) -> Tensor:
    """One unweighted GAN term."""
    if gan_type == "vanilla":
        return F.binary_cross_entropy_with_logits(
            prediction, torch.full_like(prediction, float(target_is_real))
        )
    if gan_type == "lsgan":
        return F.mse_loss(prediction, torch.full_like(prediction, float(target_is_real)))
    sign = -1.0 if target_is_real else 1.0
    if gan_type == "wgan":
        return sign * prediction.mean()
    if gan_type == "wgan_softplus":
        return F.softplus(sign * prediction).mean()
    if gan_type == "hinge":
        # For the generator the official trainer ignores the label.
        return F.relu(1 + sign * prediction).mean() if is_disc else -prediction.mean()
    raise ValueError(f"unknown GAN type {gan_type!r}")


def gram(features: Tensor) -> Tensor:
    n, c, h, w = features.shape
    flat = features.reshape(n, c, h * w)
    return flat @ flat.transpose(1, 2) / (c * h * w)


def perceptual_terms(
    vgg: nn.Module, sr: Tensor, hr: Tensor, layer_weights: tuple[tuple[str, float], ...]
) -> tuple[Tensor, Tensor]:
    """(perceptual, style): sums over layers of weight * mean absolute difference; hr gets no gradient."""
    of_sr, of_hr = vgg(sr), vgg(hr.detach())
    perceptual = sum(weight * F.l1_loss(of_sr[layer], of_hr[layer]) for layer, weight in layer_weights)
    style = sum(weight * F.l1_loss(gram(of_sr[layer]), gram(of_hr[layer])) for layer, weight in layer_weights)
    return perceptual, style


def make_adam(network: nn.Module, fields: Adam) -> torch.optim.Adam:
    return torch.optim.Adam(
        network.parameters(), lr=fields.lr, betas=fields.betas, weight_decay=fields.weight_decay
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = value


def grad_norm(network: nn.Module) -> float:
    """The Euclidean norm of all gradients together, as clip_grad_norm_ measures it."""
    return math.sqrt(sum((parameter.grad**2).sum().item() for parameter in network.parameters()))


@torch.no_grad()
def update_ema(ema: nn.Module, network: nn.Module, decay: float) -> None:
    for average, parameter in zip(ema.parameters(), network.parameters(), strict=True):
        average.mul_(decay).add_(parameter, alpha=1 - decay)


def as_arrays(network: nn.Module) -> dict[str, np.ndarray]:
    return {name: value.detach().numpy().copy() for name, value in network.state_dict().items()}


# --- the two stages ---------------------------------------------------------------------------------------


class PixelTrainer:
    """Stage 1: G alone, mean absolute error.

    Args:
        net_g: the generator; it is trained in place.
        recipe: the choices.
        net_g_ema: where the moving average starts; None starts it as a copy of net_g.
    """

    def __init__(self, net_g: nn.Module, recipe: PixelRecipe, net_g_ema: nn.Module | None = None):
        self.recipe = recipe
        self.net_g = net_g.train()
        self.net_g_ema = copy.deepcopy(net_g if net_g_ema is None else net_g_ema)
        self.optimizer_g = make_adam(net_g, recipe.optimizer_g)
        self.iteration = 0

    def step(self, lr: Tensor, hr: Tensor) -> dict[str, float]:
        """One iteration on a batch of low- and high-resolution images; returns what the trainer logs."""
        self.iteration += 1
        rate = learning_rate(self.recipe.schedule, self.recipe.optimizer_g.lr, self.iteration)
        set_learning_rate(self.optimizer_g, rate)

        self.optimizer_g.zero_grad()
        l_g_pix = self.recipe.pixel_weight * F.l1_loss(self.net_g(lr), hr)
        l_g_pix.backward()
        norm = grad_norm(self.net_g)
        self.optimizer_g.step()
        update_ema(self.net_g_ema, self.net_g, self.recipe.ema_decay)
        return {"l_g_pix": l_g_pix.item(), "grad_norm_g": norm, "lr": rate}

    def states(self) -> dict[str, dict[str, np.ndarray]]:
        """{"net_g", "net_g_ema"}: state dicts as NumPy arrays."""
        return {"net_g": as_arrays(self.net_g), "net_g_ema": as_arrays(self.net_g_ema)}


class GanTrainer:
    """Stage 2: G against D.

    Args:
        net_g: the generator; it is trained in place.
        net_d: the discriminator; it is trained in place and never leaves train mode.
        vgg: images -> {layer: features}, frozen; None where neither perceptual nor style term is asked for.
        recipe: the choices.
        net_g_ema: where the moving average starts; None starts it as a copy of net_g.
    """

    def __init__(
        self,
        net_g: nn.Module,
        net_d: nn.Module,
        vgg: nn.Module | None,
        recipe: GanRecipe,
        net_g_ema: nn.Module | None = None,
    ):
        self.recipe = recipe
        self.net_g = net_g.train()
        self.net_d = net_d.train()
        self.vgg = vgg
        self.net_g_ema = copy.deepcopy(net_g if net_g_ema is None else net_g_ema)
        self.optimizer_g = make_adam(net_g, recipe.optimizer_g)
        self.optimizer_d = make_adam(net_d, recipe.optimizer_d)
        self.iteration = 0

    def step(self, lr: Tensor, hr: Tensor) -> dict[str, float]:
        """One iteration on a batch of low- and high-resolution images; returns what the trainer logs.

        Generator terms are missing from the log where the generator step is skipped.
        """
        recipe = self.recipe
        self.iteration += 1
        rate_g = learning_rate(recipe.schedule, recipe.optimizer_g.lr, self.iteration)
        rate_d = learning_rate(recipe.schedule, recipe.optimizer_d.lr, self.iteration)
        set_learning_rate(self.optimizer_g, rate_g)
        set_learning_rate(self.optimizer_d, rate_d)
        log: dict[str, float] = {}

        # One forward serves both steps: D is shown the output from before G's update.
        sr = self.net_g(lr)
        if self.iteration % recipe.net_d_iters == 0 and self.iteration > recipe.net_d_init_iters:
            log |= self._generator_step(sr, hr)
        log |= self._discriminator_step(sr.detach(), hr)
        update_ema(self.net_g_ema, self.net_g, recipe.ema_decay)
        return log | {"lr": rate_g, "lr_d": rate_d}

    def _generator_step(self, sr: Tensor, hr: Tensor) -> dict[str, float]:
        recipe = self.recipe
        terms: dict[str, Tensor] = {}
        if recipe.pixel_weight:
            terms["l_g_pix"] = recipe.pixel_weight * F.l1_loss(sr, hr)
        if recipe.perceptual_weight or recipe.style_weight:
            perceptual, style = perceptual_terms(self.vgg, sr, hr, recipe.layer_weights)
            if recipe.perceptual_weight:
                terms["l_g_percep"] = recipe.perceptual_weight * perceptual
            if recipe.style_weight:
                terms["l_g_style"] = recipe.style_weight * style

        self.net_d.requires_grad_(False)  # gradient passes through D to sr and stays out of D
        if recipe.relativistic:
            real = self.net_d(hr).detach()
            fake = self.net_d(sr)
            of_real = gan_loss(recipe.gan_type, real - fake.mean(), False, is_disc=False)
            of_fake = gan_loss(recipe.gan_type, fake - real.mean(), True, is_disc=False)
            gan = (recipe.gan_weight * of_real + recipe.gan_weight * of_fake) / 2
        else:
            gan = recipe.gan_weight * gan_loss(recipe.gan_type, self.net_d(sr), True, is_disc=False)
        terms["l_g_gan"] = gan

        self.optimizer_g.zero_grad()
        sum(terms.values()).backward()
        norm = grad_norm(self.net_g)
        self.optimizer_g.step()
        self.net_d.requires_grad_(True)
        return {name: term.item() for name, term in terms.items()} | {"grad_norm_g": norm}

    def _discriminator_step(self, sr: Tensor, hr: Tensor) -> dict[str, float]:
        recipe = self.recipe
        if recipe.relativistic:
            # sr goes through twice, the first time for its mean alone. Both give the same values, as D is in
            # train mode and not updated in between, but each moves the running statistics.
            fake_for_mean = self.net_d(sr)
            real = self.net_d(hr)
            fake = self.net_d(sr)
            mean_fake, mean_real = fake_for_mean.mean(), real.mean()
            if recipe.detach_means:
                mean_fake, mean_real = mean_fake.detach(), mean_real.detach()
            l_d_real = 0.5 * gan_loss(recipe.gan_type, real - mean_fake, True, is_disc=True)
            l_d_fake = 0.5 * gan_loss(recipe.gan_type, fake - mean_real, False, is_disc=True)
        else:
            real = self.net_d(hr)
            fake = self.net_d(sr)
            l_d_real = gan_loss(recipe.gan_type, real, True, is_disc=True)
            l_d_fake = gan_loss(recipe.gan_type, fake, False, is_disc=True)

        self.optimizer_d.zero_grad()
        (l_d_real + l_d_fake).backward()
        norm = grad_norm(self.net_d)
        self.optimizer_d.step()
        return {
            "l_d_real": l_d_real.item(),
            "l_d_fake": l_d_fake.item(),
            "out_d_real": real.mean().item(),
            "out_d_fake": fake.mean().item(),
            "grad_norm_d": norm,
        }

    def states(self) -> dict[str, dict[str, np.ndarray]]:
        """{"net_g", "net_g_ema", "net_d"}: state dicts as NumPy arrays, D's running statistics included."""
        return {
            "net_g": as_arrays(self.net_g),
            "net_g_ema": as_arrays(self.net_g_ema),
            "net_d": as_arrays(self.net_d),
        }
