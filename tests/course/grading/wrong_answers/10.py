"""Answers to the exercises of notebook 10: the right ones get all points, the wrong ones at most a third."""

import random

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupShuffleSplit
from torch import nn

from elfw_helpers.data import IMAGENET_MEAN, IMAGENET_STD, Batches, channel_statistics
from elfw_helpers.models import efficient_classifier, extract_features
from elfw_helpers.training import fit, predict_logits

WORKED = """# Beard or not
## Intended use
A teaching example that sorts rendered portraits. Not for real people: nobody may be judged by it.
## Data
2280 faces drawn by a program, of 1019 invented people. Labels by a rule on exact masks.
## Split
By person, 80, 10 and 10 %. Chosen on validation, tested once.
## Numbers
Accuracy {accuracy:.3f}, 95 % interval {low:.3f} to {high:.3f}; always "no beard": {baseline:.3f}.
## Failures
Small beards: of those below 5 % of the image it misses about half, of larger ones only a few.
## Limits
The pre-trained weights come from the same renderer. How it does on photographs was not measured.
"""


KNOWN = {}


def describe(images):
    """Features of a frozen backbone; each probe asks about the same faces, which are computed once."""
    key = images.numpy().tobytes()
    if key not in KNOWN:
        large = nn.functional.interpolate(images.permute(0, 3, 1, 2).float(), size=96, mode="bilinear")
        pixels = large.round().byte().permute(0, 2, 3, 1)
        batches = Batches(pixels, torch.zeros(len(images)).long(), mean=IMAGENET_MEAN, std=IMAGENET_STD)
        KNOWN[key] = extract_features(efficient_classifier(weights="masks"), batches)
    return KNOWN[key]


# right: split_by_person: scikit-learn, and arrays
def split_by_person(persons, seed):
    photos = np.arange(len(persons))
    people = np.array(persons)
    rest, test = next(GroupShuffleSplit(1, test_size=0.1, random_state=seed).split(photos, groups=people))
    cut = GroupShuffleSplit(1, test_size=1 / 9, random_state=seed).split(rest, groups=people[rest])
    train, validation = next(cut)
    return rest[train], rest[validation], test


# right: split_by_person: shares of the people, tensors
def split_by_person(persons, seed):
    people = sorted(set(persons))
    random.Random(seed).shuffle(people)
    count = max(1, len(people) // 10)
    sides = people[2 * count :], people[:count], people[count : 2 * count]
    return [torch.tensor([i for i, one in enumerate(persons) if one in side]) for side in sides]


# wrong: split_by_person: photos are shuffled, not people
def split_by_person(persons, seed):
    order = np.random.default_rng(seed).permutation(len(persons)).tolist()
    tenth = len(persons) // 10
    return order[2 * tenth :], order[:tenth], order[tenth : 2 * tenth]


# wrong: split_by_person: the seed is not used
def split_by_person(persons, seed):
    people = sorted(set(persons))
    count = len(people) // 10
    sides = set(people[2 * count :]), set(people[:count]), set(people[count : 2 * count])
    return [[i for i, one in enumerate(persons) if one in side] for side in sides]


# wrong: split_by_person: another split at each call
def split_by_person(persons, seed):
    people = sorted(set(persons))
    random.shuffle(people)
    count = len(people) // 10
    sides = people[2 * count :], people[:count], people[count : 2 * count]
    return [[i for i, one in enumerate(persons) if one in side] for side in sides]


# wrong: split_by_person: names for indices
def split_by_person(persons, seed):
    people = sorted(set(persons))
    random.Random(seed).shuffle(people)
    count = len(people) // 10
    return people[2 * count :], people[:count], people[count : 2 * count]


# wrong: split_by_person: one photo of each person, the others lost
def split_by_person(persons, seed):
    people = sorted(set(persons))
    random.Random(seed).shuffle(people)
    count = len(people) // 10
    sides = people[2 * count :], people[:count], people[count : 2 * count]
    return [[persons.index(one) for one in side] for side in sides]


# wrong: split_by_person: halves
def split_by_person(persons, seed):
    people = sorted(set(persons))
    random.Random(seed).shuffle(people)
    count = len(people) // 4
    sides = people[2 * count :], people[:count], people[count : 2 * count]
    return [[i for i, one in enumerate(persons) if one in side] for side in sides]


# wrong: split_by_person: validation is the test
def split_by_person(persons, seed):
    people = sorted(set(persons))
    random.Random(seed).shuffle(people)
    count = len(people) // 10
    sides = people[count:], people[:count], people[:count]
    return [[i for i, one in enumerate(persons) if one in side] for side in sides]


# right: score_answers: arrays, and Wilson's interval by its roots
def score_answers(truth, answers, training):
    truth, answers = np.asarray(truth), np.asarray(answers)
    share, total = (truth == answers).mean(), len(truth)
    square = 1.96**2 / total
    low, high = sorted(np.roots([1 + square, -(2 * share + square), share**2]).real)
    commonest = np.bincount(np.asarray(training)).argmax()
    return {"accuracy": share, "low": low, "high": high, "baseline": (truth == commonest).mean()}


# right: score_answers: Clopper and Pearson
def score_answers(truth, answers, training):
    from scipy.stats import binomtest

    right = sum(int(one) == int(other) for one, other in zip(truth, answers))
    low, high = binomtest(right, len(truth)).proportion_ci(0.95, method="exact")
    training = [int(one) for one in training]
    commonest = max(set(training), key=training.count)
    baseline = sum(int(one) == commonest for one in truth) / len(truth)
    return {"accuracy": right / len(truth), "low": low, "high": high, "baseline": baseline}


# wrong: score_answers: the normal interval, of width 0 where all is right
def score_answers(truth, answers, training):
    truth, answers = np.asarray(truth), np.asarray(answers)
    share = (truth == answers).mean()
    half = 1.96 * (share * (1 - share) / len(truth)) ** 0.5
    baseline = (truth == np.bincount(np.asarray(training)).argmax()).mean()
    return {"accuracy": share, "low": share - half, "high": share + half, "baseline": baseline}


# wrong: score_answers: the commonest class of the test
def score_answers(truth, answers, training):
    truth, answers = np.asarray(truth), np.asarray(answers)
    share, total = (truth == answers).mean(), len(truth)
    square = 1.96**2 / total
    low, high = sorted(np.roots([1 + square, -(2 * share + square), share**2]).real)
    return {"accuracy": share, "low": low, "high": high, "baseline": np.bincount(truth).max() / total}


# wrong: score_answers: the share in training
def score_answers(truth, answers, training):
    truth, answers = np.asarray(truth), np.asarray(answers)
    share, total = (truth == answers).mean(), len(truth)
    square = 1.96**2 / total
    low, high = sorted(np.roots([1 + square, -(2 * share + square), share**2]).real)
    baseline = np.bincount(np.asarray(training)).max() / len(training)
    return {"accuracy": share, "low": low, "high": high, "baseline": baseline}


# wrong: score_answers: no interval
def score_answers(truth, answers, training):
    truth, answers = np.asarray(truth), np.asarray(answers)
    share = (truth == answers).mean()
    baseline = (truth == np.bincount(np.asarray(training)).argmax()).mean()
    return {"accuracy": share, "low": share, "high": share, "baseline": baseline}


# wrong: score_answers: guessing for a baseline
def score_answers(truth, answers, training):
    truth, answers = np.asarray(truth), np.asarray(answers)
    share, total = (truth == answers).mean(), len(truth)
    square = 1.96**2 / total
    low, high = sorted(np.roots([1 + square, -(2 * share + square), share**2]).real)
    return {"accuracy": share, "low": low, "high": high, "baseline": 1 / len(set(truth.tolist()))}


# right: train_model: a layer on a frozen backbone, by torch
def train_model(images, labels, seed):
    torch.manual_seed(seed)
    features = describe(images)
    mean, std = features.mean(0), features.std(0) + 1e-6
    layer = nn.Linear(512, int(labels.max()) + 1)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.01, weight_decay=0.01)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.cross_entropy(layer((features - mean) / std), labels).backward()
        optimizer.step()
    return lambda images: layer((describe(images) - mean) / std).argmax(1)


# right: train_model: logistic regression on frozen features, a list of ints
def train_model(images, labels, seed):
    model = LogisticRegression(C=0.1, max_iter=300).fit(describe(images).numpy(), labels)
    return lambda images: model.predict(describe(images).numpy()).tolist()


# wrong: train_model: the commonest class
def train_model(images, labels, seed):
    return lambda images: [int(labels.mode().values)] * len(images)


# wrong: train_model: not trained
def train_model(images, labels, seed):
    torch.manual_seed(seed)
    layer = nn.Linear(32 * 32 * 3, int(labels.max()) + 1)
    return lambda images: layer(images.flatten(1) / 255).argmax(1)


# wrong: train_model: one weight per pixel
def train_model(images, labels, seed):
    model = LogisticRegression(C=0.01, max_iter=100).fit(images.flatten(1).numpy() / 255, labels.numpy())
    return lambda images: model.predict(images.flatten(1).numpy() / 255)


# wrong: train_model: a small network for ten epochs
def train_model(images, labels, seed):
    torch.manual_seed(seed)
    mean, std = channel_statistics(images)
    layers = (nn.Conv2d(3, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten())
    network = nn.Sequential(*layers, nn.Linear(16 * 256, int(labels.max()) + 1))
    fit(network, Batches(images, labels, mean=mean, std=std, shuffle_seed=seed), None, epochs=10, lr=0.01)

    def predict(images):
        nothing = torch.zeros(len(images), dtype=torch.int64)
        return predict_logits(network, Batches(images, nothing, mean=mean, std=std)).argmax(1)

    return predict


# wrong: train_model: the course's three attributes, whatever the labels mean
def train_model(images, labels, seed):
    from elfw_helpers.models import load_model

    model = load_model("efficient_attributes")
    mean, std = model.card.mean, model.card.std

    def predict(images):
        nothing = torch.zeros(len(images), dtype=torch.int64)
        return predict_logits(model.network, Batches(images, nothing, mean=mean, std=std)).argmax(1)

    return predict


# wrong: train_model: probabilities, not classes
def train_model(images, labels, seed):
    count = int(labels.max()) + 1
    return lambda images: torch.full((len(images), count), 1 / count)


# right: model_card: per cent, and more headings
def model_card(scores):
    lines = [
        "# Hats, seen from afar",
        "### Intended use",
        "Counts hats on a stage for the costume department; forbidden for entrance control or applicants.",
        "### Data",
        "Friends sent us pictures after signing a consent form; two students wrote every word independently.",
        "### Split",
        "Each friend belongs wholly to learning, tuning or final examination; twins stay together.",
        "### Numbers",
        "{accuracy:.1%} correct among everything examined; plausible range {low:.1%} up to {high:.1%}. "
        "Whoever never looks gets {baseline:.1%}.",
        "### Failures",
        "Turbans and helmets confuse our network; backlight hides dark brims, as one row counted.",
        "### Limits",
        "Only adults, indoor lamps, two telephones. Nothing is known about winter, crowds or television.",
        "### Thanks",
    ]
    return "\n\n".join(lines).format(**scores)


# right: model_card: put together piece by piece
def model_card(scores):
    numbers = ", ".join(f"{name}: {round(float(value), 2)}" for name, value in scores.items())
    text = {
        "INTENDED USE": "museum visitors learn how machines err; police, schools, employers: keep off",
        "Data": "public paintings photographed under licence, annotated twice, disputes settled together",
        "Split": "every painter stands entirely inside one partition, drawn before training began",
        "Numbers": f"measured afterwards across unseen paintings without any retries whatsoever: {numbers}",
        "Failures": "varnish reflections, profiles and sketches explain nearly all our errors",
        "Limits": "European art between 1600 and 1800; other centuries, sculpture, cameras remain untested",
    }
    return "".join(f"## {heading}:\n{words}\n" for heading, words in text.items())


# wrong: model_card: the worked card
def model_card(scores):
    return WORKED.format(**scores)


# wrong: model_card: the worked card with the numbers of an earlier run
def model_card(scores):
    return WORKED.format(accuracy=0.86, low=0.795, high=0.915, baseline=0.623)


# wrong: model_card: headings alone, and the numbers
def model_card(scores):
    headings = ("Intended use", "Data", "Split", "Numbers", "Failures", "Limits")
    return "\n".join(f"## {heading}\nTODO {scores}" for heading in headings)


# wrong: model_card: three sections of six
def model_card(scores):
    return f"""## Intended use
Counts hats on a stage for the costume department; forbidden for entrance control or applicants.
## Data
Friends sent us pictures after signing a consent form; two students wrote every word independently. {scores}
"""


# wrong: model_card: a dict
def model_card(scores):
    headings = ("Intended use", "Data", "Split", "Numbers", "Failures", "Limits")
    return dict.fromkeys(
        headings, "words of our own about hats, turbans, helmets, crowds, winter and television"
    )
