"""One iteration of training: three pure steps, mapped over the devices.

An iteration of the GAN stage (the official trainer's order): the generator step computes sr = G(lr) and updates G;
the discriminator step takes the same sr. `docs/recipes.md` shows how to run them on states and batches of your own.

Batches are {"lr": [devices, n, h, w, 3], "hr": [devices, n, s*h, s*w, 3]}, RGB, uint8 or float in [0, 1]; states
are replicated; both as `parallel.shard` and `parallel.replicate` make them. States are donated: use what a step
returns and drop what it was given.

If a loss or the gradient is not finite, on whatever device, the step leaves parameters, optimizer, EMA and model
state of its network untouched on all of them; it counts the iteration as finished and the update as skipped. G and D
decide each for itself. Metrics include the norm of the whole gradient before clipping, grad_norm_g or grad_norm_d.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax import Array

from esrgan_jax.models.network import Discriminator, Generator
from esrgan_jax.system import parallel
from esrgan_jax.training.losses import PIXEL_LOSSES, GANLoss, Perceptual, tv_loss
from esrgan_jax.training.optimizers import update_ema
from esrgan_jax.training.state import NetworkState

Batch = dict[str, Array]
Metrics = dict[str, Array]
Devices = Sequence[jax.Device] | None

Prepare = Callable[[Batch, Array], Batch]
"""(batch, keys) -> batch, of one device: pure, jittable, of fixed shapes.

The batch is {"lr": [n, h, w, 3], "hr": [n, s*h, s*w, 3]} as it was read (uint8); `keys` [n] are random keys, one per
sample, so that a sample draws the same on any number of devices. Returns what the losses are to see, "lr" and every
target by its name, uint8 or float in [0, 1].
"""

DEFAULT_GAN_LOSS = GANLoss()


class Step:
    """A mapped, jitted function, and the frozen weights that are always its last argument where it has any.

    Args:
      function: of one device.
      frozen: such weights, or their shapes where the step is only lowered; None: there are none. They are put on the
        devices at the first call.
      in_axes, out_axes: of each argument and result: None for what is replicated, 0 for what is cut over the devices.
      donate: the first argument's memory becomes the results'.
    """

    def __init__(
        self,
        function: Callable,
        *,
        in_axes: tuple,
        out_axes: Any,
        frozen: Any = None,
        donate: bool = True,
        devices: Devices = None,
    ):
        self._mapped = parallel.pmap(
            function,
            in_axes=in_axes if frozen is None else (*in_axes, None),
            out_axes=out_axes,
            donate_argnums=(0,) if donate else (),
            devices=devices,
        )
        self._devices = devices
        self._frozen = () if frozen is None else (frozen,)
        self._placed: tuple | None = None

    def __call__(self, *args: Any) -> Any:
        """Run on arrays."""
        if self._placed is None:
            self._placed = parallel.replicate(self._frozen, self._devices)
        return self._mapped(*args, *self._placed)

    def lower(self, *shapes: Any) -> jax.stages.Lowered:
        """Lower for arguments of these shapes, trees of `jax.ShapeDtypeStruct`; no array is needed."""
        frozen = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), self._frozen)
        return self._mapped.lower(*shapes, *frozen)


def make_prepare_step(prepare: Prepare, seed: int, devices: Devices = None) -> Step:
    """Return the step in front of the others, batch -> batch: degradation, sharpening.

    The batch has besides its pictures "patch" [devices, n] (uint32), the number of each training patch in the run. A
    sample's key is made of `seed` and that number alone, so that it is the same on any devices and after a resume.
    """

    def step(batch: Batch) -> Batch:
        batch = dict(batch)
        # The one kind of generator whose numbers stay the same when it is mapped over samples.
        key = jax.random.key(seed, impl="threefry2x32")
        keys = jax.vmap(lambda patch: jax.random.fold_in(key, patch))(batch.pop("patch"))
        return prepare(batch, keys)

    return Step(step, in_axes=(0,), out_axes=0, donate=False, devices=devices)


def make_pixel_step(
    generator: Generator,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    pixel_weight: float = 1.0,
    pixel_type: str = "l1",
    tv_weight: float = 0.0,
    ema_decay: float = 0.999,
    accumulate: int = 1,
    pixel_target: str = "hr",
    devices: Devices = None,
) -> Step:
    """Return the step of the PSNR stage, (g, batch) -> (g, metrics): the pixel loss alone.

    Metrics: l_g_pix, l_g_tv unless its weight is 0, grad_norm_g.

    Args:
      pixel_type: which of `losses.PIXEL_LOSSES`.
      tv_weight: of the total variation of sr.
      accumulate: micro-batches into which each device cuts its share of the batch; they are computed one after the
        other and their gradients averaged, for batches that do not fit into memory at once.
      pixel_target: name of the pictures in the batch that sr is compared with.
    """

    def step(g: NetworkState, batch: Batch) -> tuple[NetworkState, Metrics]:
        def loss_fn(params, micro_batch):
            batch = to_float(micro_batch, params)
            sr = generator.apply({"params": params}, batch["lr"])
            losses = _picture_losses(sr, batch[pixel_target], pixel_type, pixel_weight, tv_weight)
            return sum(losses.values()), losses

        gradient = jax.grad(loss_fn, has_aux=True)
        grads_and_losses = _accumulate(functools.partial(gradient, g.params), batch, accumulate)
        grads, metrics = parallel.all_reduce_mean(grads_and_losses)
        g, norm = g.apply_update(grads, metrics, optimizer, ema_decay=ema_decay)
        return g, metrics | {"grad_norm_g": norm}

    return Step(step, in_axes=(None, 0), out_axes=(None, None), devices=devices)


def make_generator_step(
    generator: Generator,
    discriminator: Discriminator,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    pixel_weight: float = 1e-2,
    pixel_type: str = "l1",
    tv_weight: float = 0.0,
    perceptual: Perceptual | None = None,
    gan_loss: GANLoss = DEFAULT_GAN_LOSS,
    gan_weight: float = 5e-3,
    ema_decay: float = 0.999,
    update: bool = True,
    sync: bool = True,
    pixel_target: str = "hr",
    perceptual_target: str = "hr",
    gan_target: str = "hr",
    devices: Devices = None,
) -> Step:
    """Return the generator's half of a GAN iteration, (g, d, batch) -> (g, sr, metrics).

    sr [devices, n, s*h, s*w, 3] stays on the devices for the discriminator step; it is from before the update.
    Metrics: l_g_pix, l_g_tv, l_g_percep, l_g_style, l_g_gan, each with its weight; those of weight 0 are left out.

    Args:
      pixel_type, tv_weight: see `make_pixel_step`.
      update: False: the step for iterations that do not update G (net_d_iters): compute sr, update the EMA. It has
        no metrics.
      sync: relativistic means and Frobenius norms over the whole batch; False: over each device's share, as PyTorch's
        DDP has it. The discriminator's `axis_name` decides the same for its batch norms.
      pixel_target, perceptual_target, gan_target: names of the pictures in the batch that the losses take as real.

    Raises:
      ValueError: the discriminator's batch statistics would be those of each device, see `check_axis_name`.
    """
    mean, total = (parallel.mean, parallel.total) if sync else (jnp.mean, jnp.sum)
    check_axis_name(discriminator, sync, devices)

    def step(g: NetworkState, d: NetworkState, batch: Batch, vgg: Any = None):
        batch = to_float(batch, g.params)
        if not update:
            sr = generator.apply({"params": g.params}, batch["lr"])
            return g.replace(finished=g.finished + 1, ema=update_ema(g.ema, g.params, ema_decay)), sr, {}
        real_logits, d_state = None, d.model_state
        if gan_loss.relativistic:
            real_logits, d_state = _forward(discriminator, d.params, d_state, batch[gan_target])

        def loss_fn(params):
            sr = generator.apply({"params": params}, batch["lr"])
            losses = _picture_losses(sr, batch[pixel_target], pixel_type, pixel_weight, tv_weight)
            if perceptual is not None:
                losses |= perceptual.losses(vgg, sr, batch[perceptual_target], total)
            fake_logits, _ = _forward(discriminator, d.params, d_state, sr)
            losses["l_g_gan"] = gan_weight * gan_loss.generator(real_logits, fake_logits, mean)
            return sum(losses.values()), (losses, sr)

        grads, (metrics, sr) = jax.grad(loss_fn, has_aux=True)(g.params)
        grads, metrics = parallel.all_reduce_mean((grads, metrics))
        g, norm = g.apply_update(grads, metrics, optimizer, ema_decay=ema_decay)
        return g, sr, metrics | {"grad_norm_g": norm}

    frozen = perceptual.variables if perceptual is not None and update else None
    return Step(step, in_axes=(None, None, 0), out_axes=(None, 0, None), frozen=frozen, devices=devices)


def make_discriminator_step(
    discriminator: Discriminator,
    optimizer: optax.GradientTransformationExtraArgs,
    *,
    gan_loss: GANLoss = DEFAULT_GAN_LOSS,
    net_d_iters: int = 1,
    net_d_init_iters: int = 0,
    sync: bool = True,
    gan_target: str = "hr",
    devices: Devices = None,
) -> Step:
    """Return the discriminator's half of a GAN iteration, (d, sr, batch) -> (d, metrics).

    Metrics: l_d_real, l_d_fake, and the mean logits out_d_real, out_d_fake. D's state after all forwards of the
    iteration is computed here, in the official trainer's order: hr, sr for the generator step (unless that did not
    update G), then sr, hr, sr; not relativistic sr, then hr, sr.

    Args:
      net_d_iters, net_d_init_iters: when G is updated, see `generator_updates`.
      sync: relativistic means over the whole batch; False: over each device's share, and the model state of the
        first device is kept, as PyTorch's DDP has it.
      gan_target: name of the pictures in the batch that are real.

    Raises:
      ValueError: the discriminator's batch statistics would be those of each device, see `check_axis_name`.
    """
    mean = parallel.mean if sync else jnp.mean
    check_axis_name(discriminator, sync, devices)

    def step(d: NetworkState, sr: Array, batch: Batch):
        hr = to_float(batch, d.params)[gan_target]
        g_updates = generator_updates(d.finished + 1, net_d_iters, net_d_init_iters)
        forwards_in_generator_step = (hr, sr) if gan_loss.relativistic else (sr,)

        # The official order is written out. XLA merges equal forwards and drops logits that nobody reads: two run.
        def loss_fn(params):
            state = d.model_state
            for pictures in forwards_in_generator_step:
                _, state = _forward(discriminator, d.params, state, pictures)
            state = jax.tree.map(functools.partial(jnp.where, g_updates), state, d.model_state)
            earlier_fake_logits = None
            if gan_loss.relativistic:
                earlier_fake_logits, state = _forward(discriminator, d.params, state, sr)
            real_logits, state = _forward(discriminator, params, state, hr)
            fake_logits, state = _forward(discriminator, params, state, sr)
            if (
                not gan_loss.detach_means
            ):  # gradients through the means as well: one forward, one backward pass
                earlier_fake_logits = fake_logits
            l_d_real, l_d_fake = gan_loss.discriminator(real_logits, fake_logits, mean, earlier_fake_logits)
            metrics = {
                "l_d_real": l_d_real,
                "l_d_fake": l_d_fake,
                "out_d_real": jnp.mean(real_logits),
                "out_d_fake": jnp.mean(fake_logits),
            }
            return l_d_real + l_d_fake, (metrics, state)

        grads, (metrics, model_state) = jax.grad(loss_fn, has_aux=True)(d.params)
        grads, metrics = parallel.all_reduce_mean((grads, metrics))
        model_state = parallel.from_first_device(model_state)
        d, norm = d.apply_update(grads, metrics, optimizer, model_state=model_state)
        return d, metrics | {"grad_norm_d": norm}

    return Step(step, in_axes=(None, 0, 0), out_axes=(None, None), devices=devices)


def check_axis_name(discriminator: Discriminator, sync: bool, devices: Devices) -> None:
    """Check that batch statistics are those of the whole batch, where several devices are to act as one.

    Raises:
      ValueError: the discriminator has a field `axis_name`, and it is None.
    """
    count = len(devices) if devices is not None else jax.device_count()
    if sync and count > 1 and getattr(discriminator, "axis_name", parallel.AXIS) is None:
        raise ValueError(
            f"`axis_name` (=None) of {type(discriminator).__name__} must be {parallel.AXIS!r} for batch statistics "
            f"over {count} devices: clone(axis_name=parallel.AXIS), or take sync=False for those of each device."
        )


def generator_updates(iteration: Any, net_d_iters: int, net_d_init_iters: int) -> Any:
    """Whether G is updated in iteration k (from 1): every `net_d_iters`-th after the first `net_d_init_iters`."""
    return (iteration % net_d_iters == 0) & (iteration > net_d_init_iters)


def to_float(batch: Batch, params: Any) -> Batch:
    """Return the pictures of a batch in [0, 1]; uint8 becomes float on the device, in the parameters' precision."""
    dtype = jax.tree.leaves(params)[0].dtype
    return {name: x.astype(dtype) / 255 if x.dtype == jnp.uint8 else x for name, x in batch.items()}


def _picture_losses(
    sr: Array, target: Array, pixel_type: str, pixel_weight: float, tv_weight: float
) -> dict[str, Array]:
    """The weighted terms that need no network, those of weight 0 left out."""
    losses = {"l_g_pix": pixel_weight * PIXEL_LOSSES[pixel_type](sr, target)} if pixel_weight else {}
    return losses | ({"l_g_tv": tv_weight * tv_loss(sr)} if tv_weight else {})


def _forward(discriminator: Any, params: Any, state: dict[str, Any], pictures: Array) -> tuple[Array, Any]:
    """The logits, and the model state after this forward."""
    logits, moved = discriminator.apply({"params": params, **state}, pictures, mutable=list(state))
    return logits, {**state, **moved}


def _accumulate(function: Callable, batch: Batch, micro_batches: int) -> Any:
    """The mean of `function` over equal parts of a batch, one at a time."""
    if micro_batches == 1:
        return function(batch)
    cut = jax.tree.map(lambda x: x.reshape(micro_batches, x.shape[0] // micro_batches, *x.shape[1:]), batch)

    def add(total, micro_batch):
        return jax.tree.map(lambda t, x: t + x / micro_batches, total, function(micro_batch)), None

    first = jax.eval_shape(function, jax.tree.map(lambda x: x[0], cut))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), first)
    return jax.lax.scan(add, zeros, cut)[0]
