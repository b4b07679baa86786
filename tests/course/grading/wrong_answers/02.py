"""Answers to the exercises of notebook 02: the right ones get all points, the wrong ones at most a third."""

import numpy as np
import torch
from torch import nn


# right: replace_head: asks the weight for the features
def replace_head(network, classes):
    features = network.fc.weight.shape[1]
    setattr(network, "fc", nn.Linear(features, classes))
    return network


# right: replace_head: the backbone is frozen too, which was not forbidden
def replace_head(network, classes):
    for parameter in network.parameters():
        parameter.requires_grad = False
    network.fc = torch.nn.Linear(network.fc.in_features, classes, bias=True)
    return network


# right: replace_head: a layer that finds the number of features itself
def replace_head(network, classes):
    network.fc = torch.nn.LazyLinear(classes)
    return network


# wrong: replace_head: a copy
def replace_head(network, classes):
    import copy

    network = copy.deepcopy(network)
    network.fc = torch.nn.Linear(network.fc.in_features, classes)
    return network


# wrong: replace_head: the features of ResNet-18
def replace_head(network, classes):
    network.fc = torch.nn.Linear(512, classes)
    return network


# wrong: replace_head: the check's number of classes
def replace_head(network, classes):
    network.fc = torch.nn.Linear(network.fc.in_features, 5)
    return network


# wrong: replace_head: the head comes back
def replace_head(network, classes):
    network.fc = torch.nn.Linear(network.fc.in_features, classes)
    return network.fc


# wrong: replace_head: nothing comes back
def replace_head(network, classes):
    network.fc = torch.nn.Linear(network.fc.in_features, classes)


# wrong: replace_head: only the number is changed
def replace_head(network, classes):
    network.fc.out_features = classes
    return network


# wrong: replace_head: inputs and outputs have changed places
def replace_head(network, classes):
    network.fc = torch.nn.Linear(classes, network.fc.in_features)
    return network


# wrong: replace_head: as many features as the old head had outputs
def replace_head(network, classes):
    network.fc = torch.nn.Linear(network.fc.out_features, classes)
    return network


# wrong: replace_head: a head on the head
def replace_head(network, classes):
    network.fc = torch.nn.Sequential(network.fc, torch.nn.Linear(network.fc.out_features, classes))
    return network


# wrong: replace_head: another name
def replace_head(network, classes):
    network.head = torch.nn.Linear(network.fc.in_features, classes)
    return network


# wrong: replace_head: the backbone begins anew
def replace_head(network, classes):
    network.fc = torch.nn.Linear(network.fc.in_features, classes)
    for layer in network.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return network


# wrong: replace_head: a new network
def replace_head(network, classes):
    from torchvision.models import resnet18

    return resnet18(num_classes=classes)


# right: freeze_backbone: all off, the head on
def freeze_backbone(network):
    network.requires_grad_(False)
    network.fc.requires_grad_(True)
    return sum(parameter.numel() for parameter in network.fc.parameters())


# right: freeze_backbone: by identity, counted by NumPy
def freeze_backbone(network):
    head = {id(parameter) for parameter in network.fc.parameters()}
    for parameter in network.parameters():
        parameter.requires_grad = id(parameter) in head
    return np.sum([np.prod(p.shape) for p in network.parameters() if p.requires_grad])


# right: freeze_backbone: child by child
def freeze_backbone(network):
    learning = 0
    for name, child in network.named_children():
        for parameter in child.parameters():
            parameter.requires_grad = name == "fc"
            learning += parameter.numel() * (name == "fc")
    return learning


# wrong: freeze_backbone: tensors, not parameters
def freeze_backbone(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("fc.")
    return sum(parameter.requires_grad for parameter in network.parameters())


# wrong: freeze_backbone: all parameters
def freeze_backbone(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("fc.")
    return sum(parameter.numel() for parameter in network.parameters())


# wrong: freeze_backbone: those that do not learn
def freeze_backbone(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("fc.")
    return sum(parameter.numel() for parameter in network.parameters() if not parameter.requires_grad)


# wrong: freeze_backbone: the check's number
def freeze_backbone(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("fc.")
    return 512 * 3 + 3


# wrong: freeze_backbone: counted, not frozen
def freeze_backbone(network):
    return sum(parameter.numel() for parameter in network.fc.parameters())


# wrong: freeze_backbone: an attribute of the network that means nothing
def freeze_backbone(network):
    network.requires_grad = False
    network.fc.requires_grad = True
    return sum(parameter.numel() for parameter in network.fc.parameters())


# wrong: freeze_backbone: testing mode is no freezing
def freeze_backbone(network):
    network.eval()
    network.fc.train()
    return sum(parameter.numel() for parameter in network.fc.parameters())


# wrong: freeze_backbone: the head as well
def freeze_backbone(network):
    for parameter in network.parameters():
        parameter.requires_grad = False
    return sum(parameter.numel() for parameter in network.fc.parameters())


# wrong: freeze_backbone: the other way round
def freeze_backbone(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = not name.startswith("fc.")
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


# wrong: freeze_backbone: the bias is forgotten
def freeze_backbone(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name == "fc.weight"
    return network.fc.weight.numel()


# wrong: freeze_backbone: every bias goes on learning
def freeze_backbone(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("fc") or name.endswith("bias")
    return sum(parameter.numel() for parameter in network.fc.parameters())


# wrong: freeze_backbone: nothing comes back
def freeze_backbone(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("fc.")


# wrong: freeze_backbone: names
def freeze_backbone(network):
    for name, parameter in network.named_parameters():
        parameter.requires_grad = name.startswith("fc.")
    return [name for name, parameter in network.named_parameters() if parameter.requires_grad]


# wrong: freeze_backbone: convolutions alone
def freeze_backbone(network):
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.requires_grad_(False)
    return sum(parameter.numel() for parameter in network.fc.parameters())


# right: class_activation_map: einsum
def class_activation_map(activations, gradients):
    return torch.einsum("k,khw->hw", gradients.mean(dim=(1, 2)), activations).clamp(min=0)


# right: class_activation_map: loops
def class_activation_map(activations, gradients):
    channels, height, width = activations.shape
    total = torch.zeros(height, width)
    for k in range(channels):
        total = total + gradients[k].sum() / (height * width) * activations[k]
    return torch.maximum(total, torch.tensor(0.0))


# right: class_activation_map: NumPy
def class_activation_map(activations, gradients):
    weights = gradients.numpy().mean((1, 2))
    return torch.from_numpy(np.maximum(np.tensordot(weights, activations.numpy(), 1), 0))


# right: class_activation_map: the activations are weighted in place
def class_activation_map(activations, gradients):
    pooled = gradients.mean(dim=(1, 2))
    for i in range(len(pooled)):
        activations[i] *= pooled[i]
    return activations.sum(dim=0).clamp(min=0)


# wrong: class_activation_map: negative evidence stays
def class_activation_map(activations, gradients):
    return (gradients.mean((1, 2))[:, None, None] * activations).sum(0)


# wrong: class_activation_map: gradients summed
def class_activation_map(activations, gradients):
    return (gradients.sum((1, 2))[:, None, None] * activations).sum(0).relu()


# wrong: class_activation_map: absolute values
def class_activation_map(activations, gradients):
    return (gradients.mean((1, 2))[:, None, None] * activations).sum(0).abs()


# wrong: class_activation_map: channels averaged, not summed
def class_activation_map(activations, gradients):
    return (gradients.mean((1, 2))[:, None, None] * activations).mean(0).relu()


# wrong: class_activation_map: place by place
def class_activation_map(activations, gradients):
    return (gradients * activations).sum(0).relu()


# wrong: class_activation_map: each channel by itself
def class_activation_map(activations, gradients):
    return (gradients.mean((1, 2))[:, None, None] * activations).relu().sum(0)


# wrong: class_activation_map: negative weights left out
def class_activation_map(activations, gradients):
    return (gradients.mean((1, 2)).relu()[:, None, None] * activations).sum(0)


# wrong: class_activation_map: scaled to 1
def class_activation_map(activations, gradients):
    total = (gradients.mean((1, 2))[:, None, None] * activations).sum(0).relu()
    return total / total.max().clamp(min=1e-6)


# wrong: class_activation_map: activations without their weights
def class_activation_map(activations, gradients):
    return activations.sum(0).relu()


# wrong: class_activation_map: a map for each channel
def class_activation_map(activations, gradients):
    return (gradients.mean((1, 2))[:, None, None] * activations).relu()


# wrong: class_activation_map: weights over channels
def class_activation_map(activations, gradients):
    return (gradients.mean(0) * activations).sum(0).relu()


# wrong: class_activation_map: height and width have changed places
def class_activation_map(activations, gradients):
    return (gradients.mean((1, 2))[:, None, None] * activations).sum(0).relu().T


# wrong: class_activation_map: the roles have changed
def class_activation_map(activations, gradients):
    return (activations.mean((1, 2))[:, None, None] * gradients).sum(0).relu()
