"""OverFeat, accurate and fast."""

from __future__ import annotations

from hpcdl.networks.layers import Conv, Dropout, Linear, MaxPool, ReLU
from hpcdl.networks.network import Network, Normalisation
from hpcdl.networks.recipe import AtEpochs, Recipe

SOURCE = (
    "Sermanet et al.: OverFeat: Integrated Recognition, Localization and Detection using Convolutional "
    "Networks, arXiv 1312.6229, tables 1 and 3"
)

RECIPE = Recipe(
    base_lr=0.05,
    policy=AtEpochs(gamma=0.5, epochs=(30, 50, 60, 70, 80)),
    momentum=0.6,
    weight_decay=1e-5,
    batch=128,
    duration="until the rate has been halved at epochs 30, 50, 60, 70 and 80",
)

# The authors' released network subtracts one mean and divides by one deviation, on all channels.
NORMALISATION = Normalisation(mean=(118.381,) * 3, scale=(1 / 61.897,) * 3)

OVERFEAT = Network(
    name="overfeat",
    title="OverFeat, accurate",
    about="the slower of the two, 221 pixels: six convolutions, no normalisation layers",
    source=SOURCE + "; its layer table also in NVIDIA: Deep Learning and GPUs, HPC Advisory Council 2017",
    aliases=("overfeat-accurate",),
    input_shape=(3, 221, 221),
    layers=(
        Conv("conv1", 96, kernel=7, stride=2),
        ReLU("relu1"),
        MaxPool("pool1", kernel=3, stride=3),
        Conv("conv2", 256, kernel=7),
        ReLU("relu2"),
        MaxPool("pool2", kernel=2, stride=2),
        Conv("conv3", 512, kernel=3, padding=1),
        ReLU("relu3"),
        Conv("conv4", 512, kernel=3, padding=1),
        ReLU("relu4"),
        Conv("conv5", 1024, kernel=3, padding=1),
        ReLU("relu5"),
        Conv("conv6", 1024, kernel=3, padding=1),
        ReLU("relu6"),
        MaxPool("pool6", kernel=3, stride=3),
        Linear("fc7", 4096),
        ReLU("relu7"),
        Dropout("drop7"),
        Linear("fc8", 4096),
        ReLU("relu8"),
        Dropout("drop8"),
        Linear("fc9", 1000),
    ),
    recipe=RECIPE,
    normalisation=NORMALISATION,
)

OVERFEAT_FAST = Network(
    name="overfeat-fast",
    title="OverFeat, fast",
    about="the faster of the two, 231 pixels: five convolutions, no normalisation layers",
    source=SOURCE,
    input_shape=(3, 231, 231),
    layers=(
        Conv("conv1", 96, kernel=11, stride=4),
        ReLU("relu1"),
        MaxPool("pool1", kernel=2, stride=2),
        Conv("conv2", 256, kernel=5),
        ReLU("relu2"),
        MaxPool("pool2", kernel=2, stride=2),
        Conv("conv3", 512, kernel=3, padding=1),
        ReLU("relu3"),
        Conv("conv4", 1024, kernel=3, padding=1),
        ReLU("relu4"),
        Conv("conv5", 1024, kernel=3, padding=1),
        ReLU("relu5"),
        MaxPool("pool5", kernel=2, stride=2),
        Linear("fc6", 3072),
        ReLU("relu6"),
        Dropout("drop6"),
        Linear("fc7", 4096),
        ReLU("relu7"),
        Dropout("drop7"),
        Linear("fc8", 1000),
    ),
    recipe=RECIPE,
    normalisation=NORMALISATION,
)
