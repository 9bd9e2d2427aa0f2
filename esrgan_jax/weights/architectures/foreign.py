"""Networks that files are recognised as although they cannot be run here; each row can go when its entry comes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from esrgan_jax.weights.architectures.architecture import Dialect, Role, StateDict, names_in, official_dialect


@dataclass(frozen=True, eq=False)
class Foreign:
    """A network that is only named.

    Attributes:
      role: what it is for.
      dialect: the names in its files.
      axes: names of arrays that it has, and their numbers of axes.
      sentence: what it is, and what to take instead; goes on after "FILE is ".
    """

    role: Role
    dialect: Dialect
    axes: Mapping[str, int]
    sentence: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """See `Architecture.pattern`."""
        return names_in((self.dialect,))

    def fits(self, state_dict: StateDict, known: int) -> bool:
        """Return whether a state dict is one of these, more than a network of which it has `known` names."""
        return self.dialect.match(state_dict)[0] > known and all(
            name in state_dict and state_dict[name].ndim == axes for name, axes in self.axes.items()
        )


FOREIGN = (
    Foreign(
        "generator",
        official_dialect("SRVGGNetCompact", "body.{i}"),
        {"body.0.weight": 4, "body.1.weight": 1},
        "an SRVGGNetCompact (as realesr-general-x4v3 and realesr-animevideov3 are), which cannot be run here: take a "
        "model whose network is RRDBNet, such as RealESRGAN_x4plus",
    ),
    Foreign(
        "discriminator",
        official_dialect(
            "UNetDiscriminatorSN",
            "conv0",
            "conv{i}.weight_orig",
            "conv{i}.weight_u",
            "conv{i}.weight_v",
            "conv{i}.parametrizations.weight",
            "conv{i}.parametrizations.weight.0",
            "conv9",
        ),
        {"conv0.weight": 4, "conv9.weight": 4},
        "Real-ESRGAN's discriminator (UNetDiscriminatorSN), which enlarges nothing: take the net_g file that was "
        "trained with it",
    ),
)
