"""LeNet as Caffe's MNIST example has it."""

from __future__ import annotations

from hpcdl.networks.layers import XAVIER, Conv, Linear, MaxPool, ReLU
from hpcdl.networks.network import Network, Normalisation
from hpcdl.networks.recipe import Inverse, Recipe

LENET = Network(
    name="lenet",
    title="LeNet",
    about="Caffe's MNIST example: two convolutions without activation, one ReLU",
    source="BVLC/caffe, examples/mnist/lenet_train_test.prototxt and lenet_solver.prototxt",
    input_shape=(1, 28, 28),
    layers=(
        Conv("conv1", 20, kernel=5, weight=XAVIER),
        MaxPool("pool1", kernel=2, stride=2),
        Conv("conv2", 50, kernel=5, weight=XAVIER),
        MaxPool("pool2", kernel=2, stride=2),
        Linear("ip1", 500, weight=XAVIER),
        ReLU("relu1"),
        Linear("ip2", 10, weight=XAVIER),
    ),
    # Caffe gives the biases of these layers twice the learning rate and leaves their decay at 1.
    recipe=Recipe(
        base_lr=0.01,
        policy=Inverse(gamma=1e-4, power=0.75),
        momentum=0.9,
        weight_decay=5e-4,
        batch=64,
        duration="10,000 iterations",
        bias_lr_multiplier=2.0,
    ),
    normalisation=Normalisation(mean=(0.0,), scale=(1 / 256,)),
)
