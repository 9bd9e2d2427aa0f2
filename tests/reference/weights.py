"""Weights, images and shapes that every environment derives alike: NumPy alone, no torch, no JAX.

The golden files hold outputs only; what went in is made again here from a seed. Everything is bit-identical
on every machine: `RandomState.random_sample` is a frozen stream; the rest is +, *, / and sqrt on single
elements, which IEEE rounds correctly (no sums, whose order may vary, no exp, log, cos, whose last bit may).
"""

import math
import zlib

import numpy as np

Shapes = dict[str, tuple[int, ...]]

# Output channels of the convolutions of each of the five VGG blocks; a pooling layer ends each block.
VGG_BLOCKS = {
    "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "vgg13": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "vgg16": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}

# Stages after the first pair of convolutions, so that 4x4 values per channel are left at the end.
DISCRIMINATOR_STAGES = {128: 4, 256: 5}


# --- shapes, under the official names ---------------------------------------------------------------------


def rrdbnet_shapes(
    scale: int, num_feat: int, num_block: int, num_grow_ch: int, num_in_ch: int = 3, num_out_ch: int = 3
) -> Shapes:
    """The state dict of RRDBNet as {name: shape}."""
    unshuffle = {4: 1, 2: 2, 1: 4}[scale]
    shapes: Shapes = {}

    def conv(name: str, inputs: int, outputs: int) -> None:
        shapes[f"{name}.weight"] = (outputs, inputs, 3, 3)
        shapes[f"{name}.bias"] = (outputs,)

    conv("conv_first", num_in_ch * unshuffle**2, num_feat)
    for block in range(num_block):
        for dense in (1, 2, 3):
            for k in (1, 2, 3, 4, 5):
                inputs = num_feat + (k - 1) * num_grow_ch
                conv(f"body.{block}.rdb{dense}.conv{k}", inputs, num_feat if k == 5 else num_grow_ch)
    for name in ("conv_body", "conv_up1", "conv_up2", "conv_hr"):
        conv(name, num_feat, num_feat)
    conv("conv_last", num_feat, num_out_ch)
    return shapes


def discriminator_shapes(num_in_ch: int = 3, num_feat: int = 64, input_size: int = 128) -> Shapes:
    """The state dict of VGGStyleDiscriminator as {name: shape}."""
    shapes: Shapes = {}

    def batch_norm(name: str, channels: int) -> None:
        for field in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{field}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    shapes["conv0_0.weight"] = (num_feat, num_in_ch, 3, 3)
    shapes["conv0_0.bias"] = (num_feat,)
    shapes["conv0_1.weight"] = (num_feat, num_feat, 4, 4)
    batch_norm("bn0_1", num_feat)
    inputs = num_feat
    for stage in range(1, DISCRIMINATOR_STAGES[input_size] + 1):
        outputs = num_feat * min(2**stage, 8)
        shapes[f"conv{stage}_0.weight"] = (outputs, inputs, 3, 3)
        batch_norm(f"bn{stage}_0", outputs)
        shapes[f"conv{stage}_1.weight"] = (outputs, outputs, 4, 4)
        batch_norm(f"bn{stage}_1", outputs)
        inputs = outputs
    shapes["linear1.weight"] = (100, inputs * 4 * 4)
    shapes["linear1.bias"] = (100,)
    shapes["linear2.weight"] = (1, 100)
    shapes["linear2.bias"] = (1,)
    return shapes


def srvgg_shapes(upscale: int = 4, num_feat: int = 64, num_conv: int = 16) -> Shapes:
    """The state dict of SRVGGNetCompact, RGB with PReLU, as {name: shape}."""
    shapes: Shapes = {}
    for i in range(num_conv + 2):
        outputs = num_feat if i <= num_conv else 3 * upscale**2
        shapes[f"body.{2 * i}.weight"] = (outputs, num_feat if i else 3, 3, 3)
        shapes[f"body.{2 * i}.bias"] = (outputs,)
        if i <= num_conv:
            shapes[f"body.{2 * i + 1}.weight"] = (num_feat,)
    return shapes


def unet_shapes(num_in_ch: int = 3, num_feat: int = 64) -> Shapes:
    """The state dict of UNetDiscriminatorSN as {name: shape}."""
    f = num_feat
    shapes: Shapes = {
        "conv0.weight": (f, num_in_ch, 3, 3),
        "conv0.bias": (f,),
        "conv9.weight": (1, f, 3, 3),
        "conv9.bias": (1,),
    }
    sizes = {1: (1, 2), 2: (2, 4), 3: (4, 8), 4: (8, 4), 5: (4, 2), 6: (2, 1), 7: (1, 1), 8: (1, 1)}
    for i, (inputs, outputs) in sizes.items():
        side = 4 if i <= 3 else 3
        shapes[f"conv{i}.weight_orig"] = (f * outputs, f * inputs, side, side)
        shapes[f"conv{i}.weight_u"] = (f * outputs,)
        shapes[f"conv{i}.weight_v"] = (f * inputs * side * side,)
    return shapes


def vgg_layers(vgg_type: str) -> list[tuple[str, tuple[int, int] | None]]:
    """torchvision's `features` in order: the layer's name, and (inputs, outputs) if it is a convolution."""
    layers: list[tuple[str, tuple[int, int] | None]] = []
    inputs = 3
    for block, widths in enumerate(VGG_BLOCKS[vgg_type], start=1):
        for i, outputs in enumerate(widths, start=1):
            layers.append((f"conv{block}_{i}", (inputs, outputs)))
            layers.append((f"relu{block}_{i}", None))
            inputs = outputs
        layers.append((f"pool{block}", None))
    return layers


def vgg_shapes(vgg_type: str, layers: list[str] | tuple[str, ...] | None = None) -> Shapes:
    """The state dict of the VGG features as {name: shape}, up to the deepest of `layers` (None: all)."""
    table = vgg_layers(vgg_type)
    names = [name for name, _ in table]
    depth = len(table) if layers is None else 1 + max(names.index(layer) for layer in layers)
    shapes: Shapes = {}
    for index, (_, widths) in enumerate(table[:depth]):
        if widths is not None:
            inputs, outputs = widths
            shapes[f"features.{index}.weight"] = (outputs, inputs, 3, 3)
            shapes[f"features.{index}.bias"] = (outputs,)
    return shapes


# --- values -----------------------------------------------------------------------------------------------


def _random(label: str, seed: int, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in [0, 1), float64; each label has a stream of its own, so adding a name changes no other."""
    state = np.random.RandomState(zlib.crc32(f"{seed}/{label}".encode()))
    return state.random_sample(shape)


def reference_state_dict(shapes: Shapes, seed: int) -> dict[str, np.ndarray]:
    """Values for a state dict, float64 (`num_batches_tracked`: int64 0): activations stay at about unit size.

    Not the official initialisation, on purpose: biases, batch-norm weights and the dense blocks' convolutions
    are of a size at which a mistake in any of them shows.
    """
    values: dict[str, np.ndarray] = {}
    for name in sorted(shapes):
        shape = shapes[name]
        field = name.rsplit(".", 1)[-1]
        if field == "num_batches_tracked":
            values[name] = np.zeros(shape, np.int64)
            continue
        centred = 2.0 * _random(name, seed, shape) - 1.0
        if field == "running_mean" or field == "bias":
            values[name] = 0.1 * centred
        elif field == "running_var":
            values[name] = 1.0 + 0.5 * centred
        elif len(shape) == 1:  # a batch norm's weight
            values[name] = 1.0 + 0.2 * centred
        else:
            fan_in = math.prod(shape[1:])
            values[name] = math.sqrt(2.0 / fan_in) * math.sqrt(3.0) * centred  # variance 2 / fan_in
        # The generator's output is a picture around mid-grey. Were it all above or all below the target, the
        # gradient of the mean absolute difference would be the same everywhere and hide mistakes.
        if name == "conv_last.weight":
            values[name] = 0.1 * values[name]
        elif name == "conv_last.bias":
            values[name] = 0.5 + values[name]
    return values


def _enlarge(grid: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear interpolation of `grid` to `size` points along one axis, corners on corners."""
    last = grid.shape[axis] - 1
    position = np.arange(size) * last / max(size - 1, 1)
    low = np.minimum(np.floor(position).astype(np.int64), max(last - 1, 0))
    high = np.minimum(low + 1, last)
    shape = [1] * grid.ndim
    shape[axis] = size
    share = (position - low).reshape(shape)
    return np.take(grid, low, axis) * (1.0 - share) + np.take(grid, high, axis) * share


def reference_images(seed: int, shape: tuple[int, int, int, int]) -> np.ndarray:
    """Images in [0, 1], float64, NCHW: smooth colour, some structure, a little grain."""
    n, c, h, w = shape
    smooth = _random("image/smooth", seed, (n, c, 3, 3))
    structure = _random("image/structure", seed, (n, c, 9, 9))
    for axis, size in ((2, h), (3, w)):
        smooth = _enlarge(smooth, size, axis)
        structure = _enlarge(structure, size, axis)
    return 0.5 * smooth + 0.4 * structure + 0.1 * _random("image/grain", seed, shape)


def reference_batch(
    seed: int, iteration: int, batch: int, hr_size: int, scale: int, channels: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """One iteration's batch: (lr, hr), NCHW, float64, [0, 1]; lr is every scale-th pixel of hr."""
    hr = reference_images(1000 * seed + iteration, (batch, channels, hr_size, hr_size))
    return np.ascontiguousarray(hr[:, :, ::scale, ::scale]), hr


def reference_cotangent(seed: int, shape: tuple[int, ...], name: str = "output") -> np.ndarray:
    """Uniform, mean 0, variance 1, float64: weights that turn an output into one number to differentiate."""
    return math.sqrt(3.0) * (2.0 * _random(f"cotangent/{name}", seed, shape) - 1.0)


def fingerprint(arrays: dict[str, np.ndarray]) -> int:
    """A checksum of names and bits: a golden file says with it which inputs it was made from."""
    check = 0
    for name in sorted(arrays):
        check = zlib.crc32(name.encode(), check)
        check = zlib.crc32(
            np.ascontiguousarray(arrays[name]).astype(arrays[name].dtype.newbyteorder("<")).tobytes(), check
        )
    return check
