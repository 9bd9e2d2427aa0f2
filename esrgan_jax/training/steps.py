"""One iteration of training: three pure steps, mapped over the devices.

An iteration of the GAN stage (the official trainer's order): the generator step makes sr = G(lr) and updates G;
the discriminator step takes the same sr. `docs/recipes.md` shows how to run them on states and batches of your own.

Batches are {"lr": [devices, n, h, w, 3], "hr": [devices, n, s*h, s*w, 3]}, RGB, uint8 or float in [0, 1]; states
are replicated; both as `parallel.shard` and `parallel.replicate` make them. States are donated: use what a step
returns and drop what it was given.

If a loss or the gradient is not finite, on whatever device, the step leaves parameters, optimizer, EMA and running
statistics of its network untouched on all of them; it counts the iteration as finished and the update as skipped.
G and D decide each for itself. Metrics include the norm of the whole gradient before clipping, grad_norm_g or
grad_norm_d.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jax import Array

from esrgan_jax.models.layers import move_statistics
from esrgan_jax.system import parallel
from esrgan_jax.training.losses import GANLoss, l1_loss, perceptual_loss, style_loss
from esrgan_jax.training.optimizers import update_ema
from esrgan_jax.training.state import DiscriminatorState, GeneratorState

Batch = dict[str, Array]
Metrics = dict[str, Array]
Devices = Sequence[jax.Device] | None
DEFAULT_GAN_LOSS = GANLoss()


@dataclass(frozen=True)
class Perceptual:
    """A frozen feature extractor and how much each of its layers counts.

    Attributes:
      extractor: maps pictures to {layer: features}.
      variables: its weights.
      layer_weights: {layer: weight}.
      perceptual_weight: of the distance between feature maps; 0 leaves it out.
      style_weight: of the distance between their Gram matrices; 0 leaves it out.
    """

    extractor: nn.Module
    variables: Any
    layer_weights: dict[str, float] = field(default_factory=lambda: {"conv5_4": 1.0})
    perceptual_weight: float = 1.0
    style_weight: float = 0.0

    def losses(self, variables: Any, sr: Array, hr: Array) -> Metrics:
        """The weighted terms l_g_percep and l_g_style that are asked for.

        `variables` are handed in, so that they are not compiled in.
        """
        sr_features = self.extractor.apply(variables, sr)
        hr_features = self.extractor.apply(variables, hr)
        terms = {}
        if self.perceptual_weight:
            distance = perceptual_loss(sr_features, hr_features, self.layer_weights)
            terms["l_g_percep"] = self.perceptual_weight * distance
        if self.style_weight:
            distance = style_loss(sr_features, hr_features, self.layer_weights)
            terms["l_g_style"] = self.style_weight * distance
        return terms


def make_pixel_step(
    generator: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    pixel_weight: float = 1.0,
    ema_decay: float = 0.999,
    accumulate: int = 1,
    devices: Devices = None,
) -> Callable[[GeneratorState, Batch], tuple[GeneratorState, Metrics]]:
    """The step of the PSNR stage, (g, batch) -> (g, {"l_g_pix", "grad_norm_g"}): L1 alone.

    Args:
      accumulate: parts into which each device cuts its share of the batch; they are computed one after the other
        and their gradients averaged, for batches that do not fit into memory at once.
    """

    def step(g: GeneratorState, batch: Batch) -> tuple[GeneratorState, Metrics]:
        def loss_fn(params, part):
            lr, hr = to_float(part, params)
            return pixel_weight * l1_loss(generator.apply({"params": params}, lr), hr)

        loss, grads = _accumulate(functools.partial(jax.value_and_grad(loss_fn), g.params), batch, accumulate)
        grads, loss = parallel.all_reduce_mean((grads, loss))
        return _update_generator(g, grads, {"l_g_pix": loss}, optimizer, ema_decay)

    return parallel.pmap(step, in_axes=(None, 0), out_axes=(None, None), donate_argnums=(0,), devices=devices)


def make_generator_step(
    generator: nn.Module,
    discriminator: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    pixel_weight: float = 1e-2,
    perceptual: Perceptual | None = None,
    gan_loss: GANLoss = DEFAULT_GAN_LOSS,
    gan_weight: float = 5e-3,
    ema_decay: float = 0.999,
    update: bool = True,
    sync: bool = True,
    devices: Devices = None,
) -> Callable[[GeneratorState, DiscriminatorState, Batch], tuple[GeneratorState, Array, Metrics]]:
    """The generator's half of a GAN iteration, (g, d, batch) -> (g, sr, metrics).

    sr [devices, n, s*h, s*w, 3] stays on the devices for the discriminator step; it is from before the update.
    Metrics: l_g_pix, l_g_percep, l_g_style, l_g_gan, each with its weight; those of weight 0 are left out.

    Args:
      update: False makes the form for iterations in which G rests: it makes sr and moves the EMA, nothing else,
        and has no metrics.
      sync: relativistic means over the whole batch; False: over each device's share, as PyTorch's DDP has it.
        The discriminator's `axis_name` decides the same for its batch norms.
    """
    mean = parallel.mean if sync else jnp.mean

    def step(g: GeneratorState, d: DiscriminatorState, batch: Batch, vgg: Any):
        lr, hr = to_float(batch, g.params)
        if not update:
            sr = generator.apply({"params": g.params}, lr)
            ema = update_ema(g.ema, g.params, ema_decay)
            return g.replace(finished=g.finished + 1, ema=ema), sr, {}
        d_variables = {"params": d.params, "batch_stats": d.batch_stats}
        real_logits = discriminator.apply(d_variables, hr) if gan_loss.relativistic else None

        def loss_fn(params):
            sr = generator.apply({"params": params}, lr)
            losses = {"l_g_pix": pixel_weight * l1_loss(sr, hr)} if pixel_weight else {}
            if perceptual is not None:
                losses |= perceptual.losses(vgg, sr, hr)
            fake_logits = discriminator.apply(d_variables, sr)
            losses["l_g_gan"] = gan_weight * gan_loss.generator(real_logits, fake_logits, mean)
            return sum(losses.values()), (losses, sr)

        grads, (metrics, sr) = jax.grad(loss_fn, has_aux=True)(g.params)
        grads, metrics = parallel.all_reduce_mean((grads, metrics))
        g, metrics = _update_generator(g, grads, metrics, optimizer, ema_decay)
        return g, sr, metrics

    mapped = parallel.pmap(
        step, in_axes=(None, None, 0, None), out_axes=(None, 0, None), donate_argnums=(0,), devices=devices
    )
    vgg = parallel.replicate(perceptual.variables, devices) if perceptual is not None and update else {}
    return lambda g, d, batch: mapped(g, d, batch, vgg)


def make_discriminator_step(
    discriminator: nn.Module,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    gan_loss: GANLoss = DEFAULT_GAN_LOSS,
    net_d_iters: int = 1,
    net_d_init_iters: int = 0,
    sync: bool = True,
    devices: Devices = None,
) -> Callable[[DiscriminatorState, Array, Batch], tuple[DiscriminatorState, Metrics]]:
    """The discriminator's half of a GAN iteration, (d, sr, batch) -> (d, metrics).

    Metrics: l_d_real, l_d_fake, and the mean logits out_d_real, out_d_fake. All movements of the running
    statistics of the whole iteration are applied here, as often as the official trainer runs D and in its order:
    hr, sr for the generator step (unless G rests), then sr, hr, sr; not relativistic sr, then hr, sr.

    Args:
      net_d_iters, net_d_init_iters: when G rests, see `generator_updates`.
      sync: relativistic means over the whole batch; False: over each device's share, and the running statistics
        of the first device are kept, as PyTorch's DDP has it.
    """
    mean = parallel.mean if sync else jnp.mean

    def step(d: DiscriminatorState, sr: Array, batch: Batch):
        _, hr = to_float(batch, d.params)

        def judge(params, pictures):
            variables = {"params": params, "batch_stats": d.batch_stats}
            logits, seen = discriminator.apply(variables, pictures, mutable=["batch_moments"])
            return logits, seen["batch_moments"]

        def loss_fn(params):
            real_logits, hr_moments = judge(params, hr)
            fake_logits, sr_moments = judge(params, sr)
            l_d_real, l_d_fake = gan_loss.discriminator(real_logits, fake_logits, mean)
            metrics = {
                "l_d_real": l_d_real,
                "l_d_fake": l_d_fake,
                "out_d_real": jnp.mean(real_logits),
                "out_d_fake": jnp.mean(fake_logits),
            }
            return l_d_real + l_d_fake, (metrics, hr_moments, sr_moments)

        grads, (metrics, hr_moments, sr_moments) = jax.grad(loss_fn, has_aux=True)(d.params)
        grads, metrics = parallel.all_reduce_mean((grads, metrics))
        hr_moments, sr_moments = parallel.from_first_device((hr_moments, sr_moments))

        runs_of_g = (hr_moments, sr_moments) if gan_loss.relativistic else (sr_moments,)
        runs_of_d = (
            (sr_moments, hr_moments, sr_moments) if gan_loss.relativistic else (hr_moments, sr_moments)
        )
        batch_stats = functools.reduce(move_statistics, runs_of_g, d.batch_stats)
        g_updates = generator_updates(d.finished + 1, net_d_iters, net_d_init_iters)
        batch_stats = jax.tree.map(
            lambda moved, still: jnp.where(g_updates, moved, still), batch_stats, d.batch_stats
        )
        batch_stats = functools.reduce(move_statistics, runs_of_d, batch_stats)

        norm, finite = _norm_and_finiteness(grads, metrics, batch_stats)
        updates, opt_state = optimizer.update(grads, d.opt_state, d.params, finished=d.finished)
        params = optax.apply_updates(d.params, updates)
        params, batch_stats, opt_state = _choose(
            finite, (params, batch_stats, opt_state), (d.params, d.batch_stats, d.opt_state)
        )
        skipped = d.skipped.count(finite, d.finished + 1)
        d = DiscriminatorState(d.finished + 1, params, batch_stats, opt_state, skipped)
        return d, metrics | {"grad_norm_d": norm}

    return parallel.pmap(
        step, in_axes=(None, 0, 0), out_axes=(None, None), donate_argnums=(0,), devices=devices
    )


def _accumulate(function: Callable, batch: Batch, parts: int) -> Any:
    """The mean of `function` over equal parts of a batch, one at a time."""
    if parts == 1:
        return function(batch)
    cut = jax.tree.map(lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), batch)

    def add(total, part):
        return jax.tree.map(lambda t, x: t + x / parts, total, function(part)), None

    first = jax.eval_shape(function, jax.tree.map(lambda x: x[0], cut))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)
    return jax.lax.scan(add, zeros, cut)[0]


def generator_updates(iteration: Any, net_d_iters: int, net_d_init_iters: int) -> Any:
    """Whether G is updated in iteration k (from 1): every `net_d_iters`-th after the first `net_d_init_iters`."""
    return (iteration % net_d_iters == 0) & (iteration > net_d_init_iters)


def to_float(batch: Batch, params: Any) -> tuple[Array, Array]:
    """Both pictures in [0, 1]; uint8 becomes float on the device, in the parameters' precision."""
    dtype = jax.tree.leaves(params)[0].dtype

    def to_float(x):
        return x.astype(dtype) / 255 if x.dtype == jnp.uint8 else x

    return to_float(batch["lr"]), to_float(batch["hr"])


def _update_generator(
    g: GeneratorState, grads: Any, losses: Metrics, optimizer: Any, ema_decay: float
) -> tuple[GeneratorState, Metrics]:
    """The state after an update, or untouched but for its counters; the losses and the gradient's norm."""
    norm, finite = _norm_and_finiteness(grads, losses)
    updates, opt_state = optimizer.update(grads, g.opt_state, g.params, finished=g.finished)
    params = optax.apply_updates(g.params, updates)
    ema = update_ema(g.ema, params, ema_decay)
    params, ema, opt_state = _choose(finite, (params, ema, opt_state), (g.params, g.ema, g.opt_state))
    skipped = g.skipped.count(finite, g.finished + 1)
    return GeneratorState(g.finished + 1, params, ema, opt_state, skipped), losses | {"grad_norm_g": norm}


def _norm_and_finiteness(grads: Any, *others: Any) -> tuple[Array, Array]:
    """The gradient's global norm, and whether it and all of `others` are finite.

    Asked of values that are averaged over the devices, so that all devices decide alike. A norm whose square
    overflows counts as infinite: Adam's second moments would never recover from it.
    """
    norm = optax.tree.norm(grads)
    return norm, jnp.stack([jnp.isfinite(x).all() for x in jax.tree.leaves((norm, others))]).all()


def _choose(first: Array, tree: Any, other: Any) -> Any:
    # A conditional would make GPUs wait for the host, and computes no less of what matters.
    return jax.tree.map(lambda x, y: jnp.where(first, x, y), tree, other)
