"""AlexNet as Caffe publishes it, and the single-tower form of 'one weird trick'."""

from __future__ import annotations

from hpcdl.networks.layers import LRN, TORCH_DEFAULT, Constant, Conv, Dropout, Gaussian, Linear, MaxPool, ReLU
from hpcdl.networks.network import Network, Normalisation
from hpcdl.networks.recipe import AtEpochs, Recipe, Step

ONE_TENTH = Constant(0.1)

ALEXNET = Network(
    name="alexnet",
    title="AlexNet",
    about="Caffe's bvlc_alexnet: two groups of channels, local response normalisation before pooling",
    source=(
        "BVLC/caffe, models/bvlc_alexnet/train_val.prototxt and solver.prototxt; "
        "Krizhevsky, Sutskever, Hinton: ImageNet Classification with Deep Convolutional Neural Networks, 2012"
    ),
    aliases=("bvlc_alexnet",),
    published="57.1 % top-1, 80.2 % top-5 (ILSVRC 2012 validation, Caffe's model zoo)",
    input_shape=(3, 227, 227),
    layers=(
        Conv("conv1", 96, kernel=11, stride=4),
        ReLU("relu1"),
        LRN("norm1"),
        MaxPool("pool1", kernel=3, stride=2),
        Conv("conv2", 256, kernel=5, padding=2, groups=2, bias=ONE_TENTH),
        ReLU("relu2"),
        LRN("norm2"),
        MaxPool("pool2", kernel=3, stride=2),
        Conv("conv3", 384, kernel=3, padding=1),
        ReLU("relu3"),
        Conv("conv4", 384, kernel=3, padding=1, groups=2, bias=ONE_TENTH),
        ReLU("relu4"),
        Conv("conv5", 256, kernel=3, padding=1, groups=2, bias=ONE_TENTH),
        ReLU("relu5"),
        MaxPool("pool5", kernel=3, stride=2),
        Linear("fc6", 4096, weight=Gaussian(0.005), bias=ONE_TENTH),
        ReLU("relu6"),
        Dropout("drop6"),
        Linear("fc7", 4096, weight=Gaussian(0.005), bias=ONE_TENTH),
        ReLU("relu7"),
        Dropout("drop7"),
        Linear("fc8", 1000),
    ),
    recipe=Recipe(
        base_lr=0.01,
        policy=Step(gamma=0.1, every=100_000),
        momentum=0.9,
        weight_decay=5e-4,
        batch=256,
        duration="450,000 iterations",
        bias_lr_multiplier=2.0,
        bias_decay_multiplier=0.0,
    ),
    # Caffe subtracts ILSVRC 2012's mean image; these are its channel means,
    # rounded as Caffe's later models do.
    normalisation=Normalisation(mean=(123.0, 117.0, 104.0), scale=(1.0, 1.0, 1.0)),
)

ALEXNET_OWT = Network(
    name="alexnet-owt",
    title="AlexNet, one weird trick",
    about="one tower and no normalisation layers: torchvision's alexnet",
    source=(
        "pytorch/vision, torchvision/models/alexnet.py; "
        "Krizhevsky: One weird trick for parallelizing convolutional neural networks, arXiv 1404.5997"
    ),
    aliases=("alexnet_owt",),
    input_shape=(3, 224, 224),
    layers=(
        Conv("conv1", 64, kernel=11, stride=4, padding=2, weight=TORCH_DEFAULT, bias=TORCH_DEFAULT),
        ReLU("relu1"),
        MaxPool("pool1", kernel=3, stride=2),
        Conv("conv2", 192, kernel=5, padding=2, weight=TORCH_DEFAULT, bias=TORCH_DEFAULT),
        ReLU("relu2"),
        MaxPool("pool2", kernel=3, stride=2),
        Conv("conv3", 384, kernel=3, padding=1, weight=TORCH_DEFAULT, bias=TORCH_DEFAULT),
        ReLU("relu3"),
        Conv("conv4", 256, kernel=3, padding=1, weight=TORCH_DEFAULT, bias=TORCH_DEFAULT),
        ReLU("relu4"),
        Conv("conv5", 256, kernel=3, padding=1, weight=TORCH_DEFAULT, bias=TORCH_DEFAULT),
        ReLU("relu5"),
        MaxPool("pool5", kernel=3, stride=2),
        Dropout("drop5"),
        Linear("fc6", 4096, weight=TORCH_DEFAULT, bias=TORCH_DEFAULT),
        ReLU("relu6"),
        Dropout("drop6"),
        Linear("fc7", 4096, weight=TORCH_DEFAULT, bias=TORCH_DEFAULT),
        ReLU("relu7"),
        Linear("fc8", 1000, weight=TORCH_DEFAULT, bias=TORCH_DEFAULT),
    ),
    # torchvision's reference training: 8 ranks of 32, --lr 1e-2, a tenth every 30 of 90 epochs.
    recipe=Recipe(
        base_lr=0.01,
        policy=AtEpochs(gamma=0.1, epochs=(30, 60)),
        momentum=0.9,
        weight_decay=1e-4,
        batch=256,
        duration="90 epochs",
    ),
    # torchvision's mean and standard deviation (0.485 … and 0.229 …, of 1), on pixels from 0 to 255.
    normalisation=Normalisation(
        mean=(123.675, 116.28, 103.53),
        scale=(1 / 58.395, 1 / 57.12, 1 / 57.375),
    ),
)
