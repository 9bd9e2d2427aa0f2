"""The two stages of ESRGAN's training: which states each has, and what one iteration of it does."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from esrgan_jax.errors import ConfigError
from esrgan_jax.training.losses import GANLoss
from esrgan_jax.training.state import create_discriminator_state, create_generator_state
from esrgan_jax.training.steps import (
    DEFAULT_GAN_LOSS,
    Batch,
    Devices,
    Metrics,
    Perceptual,
    generator_updates,
    make_discriminator_step,
    make_generator_step,
    make_pixel_step,
)

States = dict[str, Any]


class PixelRecipe:
    """The PSNR stage: the generator alone, L1 loss."""

    name = "psnr"

    def __init__(
        self,
        generator: nn.Module,
        optimizer_g: optax.GradientTransformationExtraArgs,
        *,
        pixel_weight: float,
        ema_decay: float,
        accumulate: int = 1,
        devices: Devices = None,
    ):
        self._optimizer = optimizer_g
        self._step = make_pixel_step(
            generator,
            optimizer_g,
            pixel_weight=pixel_weight,
            ema_decay=ema_decay,
            accumulate=accumulate,
            devices=devices,
        )

    def initial_states(self, seed: int, params: Any, ema: Any | None = None) -> States:
        """{"g"} at iteration 0 with a fresh optimizer."""
        return {"g": create_generator_state(params, self._optimizer, ema)}

    def iterate(self, states: States, batch: Batch, iteration: int) -> tuple[States, Metrics]:
        """One iteration; `states` are donated."""
        g, metrics = self._step(states["g"], batch)
        return {"g": g}, metrics


class GanRecipe:
    """The GAN stage: generator, then discriminator, in the official trainer's order."""

    name = "gan"

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        optimizer_g: optax.GradientTransformationExtraArgs,
        optimizer_d: optax.GradientTransformationExtraArgs,
        *,
        pixel_weight: float,
        perceptual: Perceptual | None,
        gan_weight: float,
        ema_decay: float,
        gan_loss: GANLoss = DEFAULT_GAN_LOSS,
        net_d_iters: int = 1,
        net_d_init_iters: int = 0,
        sync: bool = True,
        devices: Devices = None,
    ):
        self.discriminator = discriminator
        self._optimizer_g, self._optimizer_d = optimizer_g, optimizer_d
        self._rest = (net_d_iters, net_d_init_iters)

        def generator_step(update):
            return make_generator_step(
                generator,
                discriminator,
                optimizer_g,
                pixel_weight=pixel_weight,
                perceptual=perceptual,
                gan_loss=gan_loss,
                gan_weight=gan_weight,
                ema_decay=ema_decay,
                update=update,
                sync=sync,
                devices=devices,
            )

        self._generator_step, self._resting_step = generator_step(True), generator_step(False)
        self._discriminator_step = make_discriminator_step(
            discriminator,
            optimizer_d,
            gan_loss=gan_loss,
            net_d_iters=net_d_iters,
            net_d_init_iters=net_d_init_iters,
            sync=sync,
            devices=devices,
        )

    def initial_states(
        self, seed: int, params: Any, ema: Any | None = None, d_variables: Any | None = None
    ) -> States:
        """{"g", "d"} at iteration 0 with fresh optimizers; the discriminator is random unless given."""
        if d_variables is None:
            d_variables = initial_discriminator(self.discriminator, seed)
        return {
            "g": create_generator_state(params, self._optimizer_g, ema),
            "d": create_discriminator_state(d_variables, self._optimizer_d),
        }

    def iterate(self, states: States, batch: Batch, iteration: int) -> tuple[States, Metrics]:
        """One iteration (counted from 1); `states` are donated."""
        step = self._generator_step if generator_updates(iteration, *self._rest) else self._resting_step
        g, sr, g_metrics = step(states["g"], states["d"], batch)
        d, d_metrics = self._discriminator_step(states["d"], sr, batch)
        return {"g": g, "d": d}, g_metrics | d_metrics


Stage = PixelRecipe | GanRecipe


def random_key(seed: int) -> jax.Array:
    """A random key whose generator XLA compiles in a fifth of the time of JAX's default one."""
    return jax.random.key(seed, impl="rbg")


def initial_generator(generator: nn.Module, seed: int) -> Any:
    """Random parameters of a generator."""
    # Each scale has its own unshuffle factor; 4 x 4 pixels are a multiple of all.
    pictures = jnp.zeros((1, 4, 4, generator.num_in_ch))
    return jax.jit(generator.init)(random_key(seed), pictures)["params"]


def initial_discriminator(discriminator: nn.Module, seed: int) -> Any:
    """Random variables of a discriminator, {"params", "batch_stats"}."""
    size, channels = discriminator.input_size, discriminator.num_in_ch
    return jax.jit(discriminator.init)(random_key(seed), jnp.zeros((1, size, size, channels)))


def check_shapes(network: str, expected: Any, given: Any, source: str) -> None:
    """Checks that given variables have the shapes of the network that is to be trained.

    Raises:
      ConfigError: they belong to another network; names `source`.
    """
    wanted, found = (jax.tree.map(lambda x: tuple(x.shape), tree) for tree in (expected, given))
    if wanted != found:
        raise ConfigError(
            f"{source} holds a {network} of another size or scale: give the fields of the configuration "
            "(scale, network_g, network_d, gan.gt_size) the values it was trained with."
        )
