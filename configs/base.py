"""Every field of a configuration once, with the official values for scale 4: unit, default, source.

Not an experiment itself: `x4.py`, `x2.py` and `quickstart.py` start from it. Fields are overridden on the command
line, `--config.psnr.batch_size=32`. "basicsr" is BasicSR 1.4.2, the official trainer; the paper is
arXiv:1809.00219; "realesrgan" is realesrgan 0.3.0.
"""

from ml_collections import ConfigDict, config_dict

from esrgan_jax.errors import ConfigError
from esrgan_jax.runs import STAGES
from esrgan_jax.training.presets import PRESETS


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.name = "base"  # the workdir defaults to runs/<name>
    config.preset = "basicsr"  # which recipe the fields below are of; chosen with --config FILE:PRESET
    config.seed = 0  # of weights, order of images, crops and flips
    config.scale = 4  # times larger: 4, 2 or 1
    config.stages = STAGES  # which stages to run, one after the other
    # Where G starts: a run folder, a .pth or .safetensors file, the name of a published model, or "scratch".
    # None is scratch too, except for a GAN stage without a PSNR stage before it: that one needs a word.
    config.init_from = config_dict.placeholder(str)
    config.param_key_g = config_dict.placeholder(str)  # of that file: None: `params`; or "params_ema"
    config.init_from_d = config_dict.placeholder(str)  # where D starts: such a file; None: scratch
    # False: weights of other shapes in init_from stay random, as conv_first's of another scale (basicsr)
    config.strict_load_g = True
    config.num_devices = config_dict.placeholder(int)  # None: every local device (on a CPU: one per core)

    # A type of esrgan_jax/weights/architectures/ and that network's fields; those of other types are ignored.
    config.network_g = ConfigDict()
    config.network_g.type = "RRDBNet"
    config.network_g.num_feat = 64  # channels of the trunk (paper)
    config.network_g.num_block = 23  # RRDB blocks (paper)
    config.network_g.num_grow_ch = 32  # channels that each dense convolution adds (basicsr)
    config.network_g.num_conv = (
        16  # SRVGGNetCompact: convolutions between the first and the last (realesrgan)
    )
    config.network_g.initialization = "basicsr"  # or "mmagic", "interpolation", "spline": docs/recipes.md
    config.network_g.remat = True  # recompute all but convolutions in the backward pass: 0.4 of the memory

    config.network_d = ConfigDict()
    config.network_d.type = "VGGStyleDiscriminator"
    config.network_d.num_feat = 64  # channels of the first stage (basicsr); its input is gan.gt_size

    config.dtype = config_dict.placeholder(
        str
    )  # dtype of the computation; None: float32; "bfloat16" on GPUs and TPUs

    config.data = ConfigDict()
    # "sample" (embedded photos), "tfds:NAME", a folder of HR images, or "split:FOLDER", all of a folder but what is
    # held out (data.validation names it too). Several are mixed: "DIV2K/HR,Flickr2K/HR"
    config.data.train = "sample"
    config.data.train_weights = ()  # patches of each, as (3, 1); (): every image equally often
    # Folder of LR images; None: MATLAB bicubic, computed once. Of several sources: "LR1,LR2", empty for those without
    config.data.train_lr = config_dict.placeholder(str)
    # Name of the LR image of {name}.png, as "{name}x{scale}" or "{name}_lr.png"; None: {name} or {name}x{scale}
    config.data.lr_template = config_dict.placeholder(str)
    # "error", or "skip": what a bad image of data.train does; another takes its place, and the log counts them
    config.data.on_bad_image = "error"
    config.data.validation = "sample"  # the same kinds; evaluated whole, never trained on
    config.data.held_out = ()  # digests of the contents that "split:FOLDER" holds out; (): one in ten
    config.data.validation_lr = config_dict.placeholder(str)
    config.data.data_dir = config_dict.placeholder(str)  # where TFDS keeps its sets; None: its own default
    config.data.use_hflip = True  # mirror left and right, p 0.5 (basicsr)
    config.data.use_rot = True  # mirror top and bottom, swap rows and columns, p 0.5 each (basicsr)
    config.data.num_threads = config_dict.placeholder(int)  # that read and decode; None: chosen by cores

    config.degradation = _degradation()

    config.psnr = _stage(steps=1_000_000, pixel_weight=1.0)  # paper and basicsr
    config.psnr.gt_usm = False  # the target is sharpened (realesrgan: yes)
    config.psnr.optim_g = _adam(2e-4)
    config.psnr.scheduler = _scheduler("cosine_restart")  # basicsr (the paper halves every 200k)
    config.psnr.scheduler.periods = (250_000,) * 4
    config.psnr.scheduler.restart_weights = (1.0,) * 4

    config.gan = _stage(steps=400_000, pixel_weight=1e-2)  # eta of the paper
    # Whose target is sharpened: of the pixel loss, the perceptual loss, D (realesrgan: yes, yes, no)
    config.gan.l1_gt_usm = False
    config.gan.percep_gt_usm = False
    config.gan.gan_gt_usm = False
    config.gan.gan_type = "vanilla"  # or lsgan, wgan, wgan_softplus, hinge
    config.gan.relativistic = True  # relativistic average (paper, section 3.2)
    config.gan.detach_means = True  # no gradient through the means in D (basicsr; the code of 2018: False)
    config.gan.gan_weight = 5e-3  # lambda of the paper
    config.gan.optim_g = _adam(1e-4)
    config.gan.optim_d = _adam(1e-4)
    config.gan.scheduler = _scheduler("multistep")  # paper and basicsr
    config.gan.scheduler.milestones = (50_000, 100_000, 200_000, 300_000)
    config.gan.sync = True  # means and batch statistics over all devices; False: each device's own, as DDP
    config.gan.net_d_iters = 1  # G is updated every so many iterations (basicsr)
    config.gan.net_d_init_iters = 0  # and not in the first so many (basicsr)

    config.perceptual = ConfigDict()  # of the GAN stage
    config.perceptual.perceptual_weight = 1.0  # 0 turns the term off
    config.perceptual.style_weight = 0.0  # the same with Gram matrices (basicsr: none)
    config.perceptual.criterion = "l1"  # or "fro", the Frobenius norm over the whole batch (basicsr)
    # file with torchvision's keys, or "vgg19": fetched
    config.perceptual.weights = config_dict.placeholder(str)
    config.perceptual.vgg_type = "vgg19"
    config.perceptual.layer_weights = ConfigDict({"conv5_4": 1.0})  # before ReLU (paper, section 3.3)
    config.perceptual.use_input_norm = True  # ImageNet mean and standard deviation
    config.perceptual.range_norm = False  # pictures are in [-1, 1]: no

    config.log_every = 100  # iterations; 0: never
    # So many updates of G or D in a row that were skipped, because a loss or gradient was not finite, end the run;
    # 0: never. Looked at every log_every: fewer would not be noticed sooner, and this many are no accident.
    config.max_skipped = 100
    config.evaluate_every = 5_000  # iterations; also at the beginning and end of each stage
    config.checkpoint_every = 5_000  # iterations; also at the end of each stage
    config.max_to_keep = 3  # checkpoints of each stage: the newest
    config.keep_every = 0  # iterations: checkpoints that stay besides; 0: none
    config.keep_best = "psnr_y"  # the checkpoint with the best score on data.validation stays too; or "none"
    # "force": resume although fields changed that change the numbers
    config.resume = config_dict.placeholder(str)

    # Several processes, one a machine (docs/multihost.md): HOST:PORT of process 0, or "auto": what Slurm, Open MPI, a
    # TPU VM or GKE says. None: one process. Not found out without being asked: inside of a Slurm job, a run of one
    # process would wait for the others.
    config.distributed = ConfigDict()
    config.distributed.coordinator_address = config_dict.placeholder(str)
    config.distributed.num_processes = config_dict.placeholder(int)  # how many there are
    config.distributed.process_id = config_dict.placeholder(int)  # which of them this is, from 0
    return config.lock()  # a field that is misspelt later is an error


def select(config: ConfigDict, argument: str | None) -> ConfigDict:
    """Takes what stands behind the colon of `--config FILE:...`: a stage, a preset, or both, `gan,mmagic`.

    A stage is run alone; a preset sets its fields (esrgan_jax/training/presets.py). Both join the name.
    """
    for word in argument.split(",") if argument else ():
        if word in STAGES:
            config.stages = (word,)
        elif word in PRESETS:
            config.preset = word
            config.update_from_flattened_dict(PRESETS[word])
        else:
            raise ConfigError(
                f"--config FILE:{argument} names no stage or preset: choose FILE:psnr, FILE:gan, FILE:PRESET "
                f"({', '.join(PRESETS)}), FILE:STAGE,PRESET, or FILE alone."
            )
        config.name += f"-{word}"
    return config


def _stage(steps: int, pixel_weight: float) -> ConfigDict:
    stage = ConfigDict()
    stage.steps = steps  # iterations
    stage.batch_size = 16  # pairs, over all devices and processes (paper)
    stage.accumulate = 1  # parts of the batch computed one after the other (PSNR stage only)
    stage.gt_size = 128  # side of the HR patch in pixels (paper); VGGStyleDiscriminator takes 128 or 256
    stage.pixel_type = "l1"  # or "mse", "charbonnier"
    stage.pixel_weight = pixel_weight  # of that loss
    stage.tv_weight = 0.0  # of the total variation of the result (basicsr: none)
    stage.ema_decay = 0.999  # of the published network (basicsr; the paper has none)
    return stage


def _degradation() -> ConfigDict:
    """All as in realesrgan's options and its RealESRGANDataset; fields that end in 2 are the second order's."""
    degradation = ConfigDict()
    # Photos of data.train are degraded on the devices, each patch in its own way; False: pairs are read
    degradation.high_order_degradation = False
    degradation.crop_pad_size = 400  # side of the HR patch that is degraded, of which gt_size is cut

    kinds = ("iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso")
    degradation.kernel_list = kinds  # of blur kernels
    degradation.kernel_prob = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)  # their shares
    degradation.sinc_prob = 0.1  # a sinc kernel instead
    degradation.blur_sigma = (0.2, 3.0)  # pixels
    degradation.betag_range = (0.5, 4.0)  # exponents of generalized kernels
    degradation.betap_range = (1.0, 2.0)  # exponents of plateau kernels
    degradation.resize_prob = (0.2, 0.7, 0.1)  # larger, smaller, the same size
    degradation.resize_range = (0.15, 1.5)  # factors
    degradation.gaussian_noise_prob = 0.5  # else Poisson noise
    degradation.noise_range = (1.0, 30.0)  # sigma of Gaussian noise, in levels of 255
    degradation.poisson_scale_range = (0.05, 3.0)  # strength of Poisson noise
    degradation.gray_noise_prob = 0.4  # the three channels get the same noise
    degradation.jpeg_range = (30.0, 95.0)  # quality

    degradation.second_blur_prob = 0.8
    degradation.kernel_list2 = kinds
    degradation.kernel_prob2 = (0.45, 0.25, 0.12, 0.03, 0.12, 0.03)
    degradation.sinc_prob2 = 0.1
    degradation.blur_sigma2 = (0.2, 1.5)
    degradation.betag_range2 = (0.5, 4.0)
    degradation.betap_range2 = (1.0, 2.0)
    degradation.resize_prob2 = (0.3, 0.4, 0.3)
    degradation.resize_range2 = (0.3, 1.2)
    degradation.gaussian_noise_prob2 = 0.5
    degradation.noise_range2 = (1.0, 25.0)
    degradation.poisson_scale_range2 = (0.05, 2.5)
    degradation.gray_noise_prob2 = 0.4
    degradation.jpeg_range2 = (30.0, 95.0)

    degradation.final_sinc_prob = 0.8  # of a sinc filter at the end
    return degradation


def _adam(lr: float) -> ConfigDict:
    optim = ConfigDict()
    optim.lr = lr  # learning rate at the start (paper)
    optim.betas = (0.9, 0.99)  # basicsr (the paper says 0.9, 0.999)
    optim.weight_decay = 0.0  # L2 in the gradient, as torch's Adam
    optim.max_grad_norm = config_dict.placeholder(float)  # longer gradients are cut to it; None: never
    return optim


def _scheduler(kind: str) -> ConfigDict:
    scheduler = ConfigDict()
    scheduler.type = kind  # "cosine_restart" or "multistep"; the other one's fields are ignored
    scheduler.periods = (250_000,)  # cosine_restart: iterations of each decay
    scheduler.restart_weights = (1.0,)  # cosine_restart: x lr at the start of each period
    scheduler.eta_min = 1e-7  # cosine_restart: learning rate at the end of each period (basicsr)
    scheduler.milestones = (250_000,)  # multistep: iterations
    scheduler.gamma = 0.5  # multistep: x lr after each milestone
    return scheduler
