"""Answers to the exercises of notebook 02: the right ones get all points, the wrong ones at most a third."""

import numpy as np
import torch
from torch import nn


def train_head(features, labels):
    """As section 4 of the notebook defines it."""
    scale = nn.BatchNorm1d(features.shape[1], affine=False, momentum=1.0)
    layer = nn.Linear(features.shape[1], 3)
    nn.init.zeros_(layer.weight), nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.01, momentum=0.9, weight_decay=0.01)
    scaled = scale(features)
    for _ in range(300):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer(scaled), labels).backward()
        optimizer.step()
    return nn.Sequential(scale, layer).eval()


# right: replace_head: walks down to the parent
def replace_head(network, classes):
    path = [name for name, layer in network.named_modules() if isinstance(layer, nn.Linear)][-1].split(".")
    parent = network
    for part in path[:-1]:
        parent = getattr(parent, part)
    setattr(parent, path[-1], nn.Linear(getattr(parent, path[-1]).in_features, classes))
    return network


# right: replace_head: looks through the children of every module
def replace_head(network, classes):
    place = None
    for parent in network.modules():
        for name, child in parent.named_children():
            if isinstance(child, nn.Linear):
                last = [layer for layer in network.modules() if isinstance(layer, nn.Linear)][-1]
                place = (parent, name) if child is last else place
    parent, name = place
    parent._modules[name] = nn.Linear(parent._modules[name].weight.shape[1], classes)
    return network


# right: replace_head: recursion from the end
def replace_head(network, classes):
    def replace(module):
        for name, child in reversed(list(module.named_children())):
            if isinstance(child, nn.Linear):
                setattr(module, name, nn.LazyLinear(classes))
                return True
            if replace(child):
                return True
        return False

    replace(network)
    return network


# wrong: replace_head: fc alone, as in section 2
def replace_head(network, classes):
    network.fc = torch.nn.Linear(network.fc.in_features, classes)
    return network


# wrong: replace_head: the first linear layer
def replace_head(network, classes):
    name, old = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][0]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Linear(old.in_features, classes))
    return network


# wrong: replace_head: every linear layer
def replace_head(network, classes):
    for name, old in list(network.named_modules()):
        if isinstance(old, nn.Linear):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, nn.Linear(old.in_features, classes))
    return network


# wrong: replace_head: the whole name as an attribute of the network
def replace_head(network, classes):
    name, old = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    network._modules[name.replace(".", "_")] = nn.Linear(old.in_features, classes)
    return network


# wrong: replace_head: the last child, linear or not
def replace_head(network, classes):
    name, old = list(network.named_children())[-1]
    setattr(network, name, nn.Linear(old.in_features, classes))
    return network


# wrong: replace_head: a copy
def replace_head(network, classes):
    import copy

    network = copy.deepcopy(network)
    name, old = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Linear(old.in_features, classes))
    return network


# wrong: replace_head: the head comes back
def replace_head(network, classes):
    name, old = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Linear(old.in_features, classes))
    return network.get_submodule(name)


# wrong: replace_head: nothing comes back, of a head on top alone
def replace_head(network, classes):
    name, old = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    setattr(network, name, nn.Linear(old.in_features, classes))


# wrong: replace_head: only the number is changed
def replace_head(network, classes):
    [m for m in network.modules() if isinstance(m, nn.Linear)][-1].out_features = classes
    return network


# wrong: replace_head: a head on the head
def replace_head(network, classes):
    name, old = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, nn.Sequential(old, nn.Linear(old.out_features, classes)))
    return network


# wrong: replace_head: the backbone begins anew
def replace_head(network, classes):
    for layer in network.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    name, old = [(n, m) for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
    setattr(network, name.rpartition(".")[2], nn.Linear(old.in_features, classes))
    return network


# wrong: replace_head: does nothing
def replace_head(network, classes):
    return network


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


# right: answer_upside_down: logistic regression on the faces turned back
def answer_upside_down(images, labels, new_images, extract):
    from sklearn.linear_model import LogisticRegression

    known, asked = (extract(torch.flip(faces, dims=(1,))).numpy() for faces in (images, new_images))
    return LogisticRegression(C=10, max_iter=1000).fit(known, labels.numpy()).predict(asked)


# right: answer_upside_down: turned back by half a turn, which mirrors them too
def answer_upside_down(images, labels, new_images, extract):
    head = train_head(extract(images.rot90(2, (1, 2))), labels)
    return head(extract(new_images.rot90(2, (1, 2)))).argmax(1).tolist()


# right: answer_upside_down: the features scaled to one length
def answer_upside_down(images, labels, new_images, extract):
    known, asked = (nn.functional.normalize(extract(faces.flip(1))) for faces in (images, new_images))
    return train_head(10 * known, labels)(10 * asked).argmax(1)


# wrong: answer_upside_down: the plain recipe of section 4
def answer_upside_down(images, labels, new_images, extract):
    return train_head(extract(images), labels)(extract(new_images)).argmax(1)


# wrong: answer_upside_down: logistic regression on upside-down faces
def answer_upside_down(images, labels, new_images, extract):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=10, max_iter=1000).fit(extract(images).numpy(), labels.numpy())
    return model.predict(extract(new_images).numpy())


# wrong: answer_upside_down: always hair
def answer_upside_down(images, labels, new_images, extract):
    return torch.zeros(len(new_images), dtype=torch.int64)


# wrong: answer_upside_down: only the new faces are turned
def answer_upside_down(images, labels, new_images, extract):
    return train_head(extract(images), labels)(extract(new_images.flip(1))).argmax(1)


# wrong: answer_upside_down: left and right changed places
def answer_upside_down(images, labels, new_images, extract):
    return train_head(extract(images.flip(2)), labels)(extract(new_images.flip(2))).argmax(1)


# wrong: answer_upside_down: colours are flipped, not rows
def answer_upside_down(images, labels, new_images, extract):
    return train_head(extract(images.flip(3)), labels)(extract(new_images.flip(3))).argmax(1)


# wrong: answer_upside_down: a head without training
def answer_upside_down(images, labels, new_images, extract):
    return nn.Linear(112, 3)(extract(new_images.flip(1))).argmax(1)


# wrong: answer_upside_down: probabilities
def answer_upside_down(images, labels, new_images, extract):
    return train_head(extract(images.flip(1)), labels)(extract(new_images.flip(1))).softmax(1)


# wrong: answer_upside_down: the labelled faces are answered
def answer_upside_down(images, labels, new_images, extract):
    return train_head(extract(images.flip(1)), labels)(extract(images.flip(1))).argmax(1)
