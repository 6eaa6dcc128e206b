"""Writes what the tests of the models compare with, from torchvision itself.

    python tests/models/export.py list            > the committed list of names, kinds and shapes
    python tests/models/export.py small            > the committed small network
    python tests/models/export.py cases FOLDER     > weights and results of complete networks (hundreds of MB)

Made with torch 2.13.0 and torchvision 0.28.0 (BSD-3-Clause) on the CPU.
"""

import gzip
import pathlib
import sys

import torch
import torchvision
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet

HERE = pathlib.Path(__file__).parent

LISTED = [
    *["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"],
    *["resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2", "alexnet"],
    *[f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")],
]
# Model, with the hidden features of its dense layers where they are fewer than 4,096; side of a picture.
CASES = [
    *[("resnet18", 64), ("resnet50", 64), ("resnext50_32x4d", 64), ("alexnet", 64), ("vgg11", 32)],
    *[("alexnet-256", 64), ("vgg16-256", 32), ("vgg16_bn-256", 64)],
]



def write_list():
    """A line for each model, then one for each entry of its state_dict: kind, name, shape."""
    lines = [f"# torchvision {torchvision.__version__}"]
    for name in LISTED:
        with torch.device("meta"):
            net = torchvision.models.get_model(name, weights=None)
        trained = {n for n, _ in net.named_parameters()}
        count = sum(p.numel() for p in net.parameters())
        lines.append(f"model {name} {count}")
        for key, value in net.state_dict().items():
            integer = value.dtype == torch.int64
            assert integer or value.dtype == torch.float32
            kind = "parameter" if key in trained else "counter" if integer else "buffer"
            lines.append(f"{kind} {key} {list(value.shape)}".replace(", ", ","))
    text = "\n".join(lines) + "\n"
    with open(HERE / "torchvision.txt.gz", "wb") as raw, gzip.GzipFile("", "wb", 9, raw, 0) as file:
        file.write(text.encode())


class Small(resnet.ResNet):
    """torchvision's network with a 32nd of its channels: its own forward pass, blocks and names."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fc = nn.Linear(512 // 32 * resnet.Bottleneck.expansion, kwargs["num_classes"])

    def __setattr__(self, name, value):
        super().__setattr__(name, 8 if name == "inplanes" and value == 64 and not hasattr(self, "conv1") else value)

    def _make_layer(self, block, planes, *args, **kwargs):
        return super()._make_layer(block, planes // 32, *args, **kwargs)


def complete(name):
    """A model with its own classifier, or a narrower one of the same layers."""
    name, *hidden = name.split("-")
    net = torchvision.models.get_model(name, weights=None)
    for hidden in map(int, hidden):
        for key, layer in list(net.classifier.named_children()):
            if isinstance(layer, nn.Linear):
                narrow = lambda n: hidden if n == 4096 else n
                net.classifier.add_module(key, nn.Linear(narrow(layer.in_features), narrow(layer.out_features)))
    return net


def randomise(net):
    """Statistics and norms that a trained network could have: those at the start would hide mistakes."""
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 2)
            module.num_batches_tracked.fill_(1234)


def case(net, x, target, gradients):
    """Results in f64: logits in evaluation, loss and logits in training, what that leaves behind."""
    net = net.double()
    state = {k: v.clone() for k, v in net.state_dict().items()}
    out = {"x": x, "target": target, "eval.logits": net.eval()(x.double()).detach()}
    net.train()
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    logits = net(x.double())
    loss = nn.functional.cross_entropy(logits, target)
    loss.backward()
    out |= {"train.logits": logits.detach(), "train.loss": loss.detach()}
    if gradients:
        out |= {f"grad.{n}": p.grad for n, p in net.named_parameters()}
    out |= {f"after.{n}": b for n, b in net.named_buffers() if b.dtype != torch.int64}
    narrow = lambda d: {k: (v if v.dtype == torch.int64 else v.float()).contiguous() for k, v in d.items()}
    return narrow(state), narrow(out)


def save(folder, name, net, shape, classes, gradients):
    randomise(net)
    net.float()
    x = torch.randn(shape)
    target = torch.randint(classes, shape[:1])
    state, out = case(net, x, target, gradients)
    save_file(state, folder / f"{name}.safetensors")
    save_file(out, folder / f"{name}-results.safetensors")
    print(name, out["train.loss"].item())


def main():
    torch.manual_seed(7)
    what, *folder = sys.argv[1:]
    if what == "list":
        write_list()
    elif what == "small":
        net = Small(resnet.Bottleneck, [2, 1, 1, 1], num_classes=6, groups=2)
        save(HERE, "small", net, (2, 3, 33, 43), 6, True)
    else:
        folder = pathlib.Path(*folder)
        folder.mkdir(exist_ok=True)
        for name, side in CASES:
            save(folder, name, complete(name), (2, 3, side, side), 1000, False)


if __name__ == "__main__":
    main()
