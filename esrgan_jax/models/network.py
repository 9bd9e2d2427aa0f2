"""What a generator and a discriminator are: structural protocols, from which nobody inherits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import flax.linen as nn
import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float


class Network(Protocol):
    """What every network has: linen's own methods, and an input to try them on.

    Attributes:
      example_shape: of a small input, for initialisation and shapes.
    """

    @property
    def example_shape(self) -> tuple[int, ...]:
        """See the class."""

    def init(self, rngs: Any, *args: Any, **kwargs: Any) -> Any:
        """Return variables, {"params", ...}."""

    def apply(self, variables: Any, *args: Any, **kwargs: Any) -> Any:
        """Return what `__call__`, or another method, returns for these variables."""

    def clone(self, **fields: Any) -> Any:
        """Return the same module with other fields."""


class Generator(Network, Protocol):
    """A linen module that enlarges pictures. Besides what is named here it needs nothing.

    Attributes:
      scale: output pixels per input pixel, along one axis.
      num_in_ch, num_out_ch: channels of the pictures that go in and come out.
      dtype: of the computation; None follows inputs and parameters.
      unshuffle: height and width must be multiples of it; 1 for most.
      receptive_radius: how far an output pixel sees, in pixels of the trunk (`unshuffle` input pixels each).
      inference_fields: optional, as all below: what to clone the module with where nothing is trained, as
        {"remat": False}.
      head_radius: with `extract(x, mask)` and `reconstruct(features, mask)`, the network in two parts:
        how far `reconstruct` sees, in pixels of the trunk. It then goes over a tile in bands, because it needs most
        of the memory. A network without the two runs whole.
    """

    scale: int
    num_in_ch: int
    num_out_ch: int
    dtype: Any

    @property
    def unshuffle(self) -> int:
        """See the class."""

    @property
    def receptive_radius(self) -> int:
        """See the class."""

    def live_bytes(self, value_bytes: int) -> tuple[int, int]:
        """The most memory in use at once, in bytes per pixel of the trunk and per output pixel; tiles follow from it.

        Args:
          value_bytes: of one number of the computation: 4 for float32, 2 for bfloat16.
        """

    def __call__(
        self, x: Float[Array, "n h w in"], mask: Bool[Array, "n h/u w/u 1"] | None = None
    ) -> Float[Array, "n scale*h scale*w out"]:
        """Enlarge pictures; what lies outside of `mask` is zero in front of every convolution."""


class Discriminator(Network, Protocol):
    """A linen module that tells real pictures from generated ones.

    State lives in any linen collections but `params`; a forward in train mode may move them where they are mutable,
    as torch modules move theirs.

    Attributes:
      num_in_ch: channels of the pictures.
      input_size: the only side of pictures it takes; None: any.
      axis_name: only of networks with batch statistics: the mapped axis over which they are taken.
    """

    num_in_ch: int

    @property
    def input_size(self) -> int | None:
        """See the class."""

    def __call__(self, x: Float[Array, "n h w in"], train: bool = True) -> Float[Array, "n *hw 1"]:
        """Return logits, one per picture [n, 1] or per pixel [n, h, w, 1]."""


def initial_variables(module: Network, seed: int) -> Any:
    """Return random variables of a network, {"params", ...}; float32 unless the module says otherwise.

    Raises:
      ValueError: a field of the module cannot be used; names it.
    """
    # Of the kind of generator that XLA compiles in a fifth of the time of JAX's default one.
    key = jax.random.key(seed, impl="rbg")
    return jax.jit(module.init)(key, jnp.zeros(module.example_shape))


def check_positive(module: nn.Module, *fields: str) -> None:
    """Check that fields of a module are whole numbers from 1.

    Raises:
      ValueError: one is not; names it.
    """
    for field in fields:
        value = getattr(module, field)
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"`{field}` (={value}) must be 1 or larger.")


def count_parameters(module: Any) -> int:
    """Return how many numbers a network learns; nothing is computed."""
    variables = jax.eval_shape(lambda: module.init(jax.random.key(0), jnp.zeros(module.example_shape)))
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))
