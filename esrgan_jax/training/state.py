"""What training changes: exactly the arrays that a checkpoint holds."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax import Array

from esrgan_jax.training.optimizers import update_ema


class Skipped(struct.PyTreeNode):
    """Updates of one network that were not applied, because a loss or gradient was not finite (all int32).

    Attributes:
      total: how many in this stage.
      in_a_row: how many since the last one that was applied.
      last: iteration of the newest, 0 if there was none.
    """

    total: Array
    in_a_row: Array
    last: Array

    def count(self, finite: Array, iteration: Array) -> Skipped:
        """Return the counters after the update of `iteration`, which was applied if `finite`."""
        return Skipped(
            jnp.where(finite, self.total, self.total + 1),
            jnp.where(finite, 0, self.in_a_row + 1),
            jnp.where(finite, self.last, iteration),
        )


class NetworkState(struct.PyTreeNode):
    """A network, generator or discriminator, between two iterations.

    Attributes:
      finished: iterations of this stage that are done (int32), those with a skipped update included.
      params: linen parameters.
      model_state: every other linen collection, as {"batch_stats": tree}; {} for networks without state.
      opt_state: the optimizer's.
      skipped: updates that were not applied.
      ema: the parameters' moving average, same structure: what is evaluated and published. None: not kept.
    """

    finished: Array
    params: Any
    model_state: dict[str, Any]
    opt_state: Any
    skipped: Skipped
    ema: Any = None

    @property
    def variables(self) -> dict[str, Any]:
        """What the module's `apply` takes."""
        return {"params": self.params, **self.model_state}

    def apply_update(
        self,
        grads: Any,
        losses: Any,
        optimizer: optax.GradientTransformationExtraArgs,
        *,
        model_state: Any = None,
        ema_decay: float = 0.0,
    ) -> tuple[NetworkState, Array]:
        """Return the state after an update, and the norm of the whole gradient.

        If a loss, the gradient or the new model state is not finite, all but the counters stays as it was. These are
        averages over the devices, so that all devices decide alike.

        Args:
          grads: of `params`.
          losses: a tree of what else has to be finite.
          model_state: after the iteration's forwards; None: unchanged.
          ema_decay: of the moving average, where there is one.
        """
        model_state = self.model_state if model_state is None else model_state
        # A norm whose square overflows counts as infinite: Adam's second moments would never recover from it.
        norm = optax.tree.norm(grads)
        finite = jnp.stack(
            [jnp.isfinite(x).all() for x in jax.tree.leaves((norm, losses, model_state))]
        ).all()
        updates, opt_state = optimizer.update(grads, self.opt_state, self.params, finished=self.finished)
        params = optax.apply_updates(self.params, updates)
        ema = None if self.ema is None else update_ema(self.ema, params, ema_decay)
        updated = self.replace(params=params, model_state=model_state, opt_state=opt_state, ema=ema)
        # A conditional would make GPUs wait for the host, and computes no less of what matters.
        chosen = jax.tree.map(lambda new, old: jnp.where(finite, new, old), updated, self)
        iteration = self.finished + 1
        return chosen.replace(finished=iteration, skipped=self.skipped.count(finite, iteration)), norm


def create_generator_state(
    params: Any, optimizer: optax.GradientTransformation, ema: Any | None = None
) -> NetworkState:
    """Return a generator at iteration 0; its EMA starts as `ema`, else as the parameters themselves."""
    return _create(params, {}, optimizer, params if ema is None else ema)


def create_discriminator_state(variables: Any, optimizer: optax.GradientTransformation) -> NetworkState:
    """Return a discriminator at iteration 0, from all of its variables, {"params", "batch_stats"} or others."""
    model_state = {name: tree for name, tree in variables.items() if name != "params"}
    return _create(variables["params"], model_state, optimizer, None)


def _create(params: Any, model_state: Any, optimizer: Any, ema: Any) -> NetworkState:
    finished, *skipped = (jnp.zeros((), jnp.int32) for _ in range(4))
    # One program, which the compilation cache keeps, instead of one for each shape.
    opt_state = jax.jit(optimizer.init)(params)
    return NetworkState(finished, params, model_state, opt_state, Skipped(*skipped), ema)
