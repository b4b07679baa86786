"""What jobs share on a cluster: its images are sent from where they lie."""

import pickle

import numpy as np
import torch

from elfw_helpers.utils.shared import Shared
from tests.training.test_loop import make_batches


def test_images_are_handed_over_without_a_copy_and_come_back_as_they_were():
    batches, factor = make_batches(), 3
    buffers = []
    shared = Shared(lambda job: (batches, factor * job), needs=None)
    pickled = pickle.dumps(shared, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 1
    assert np.shares_memory(np.frombuffer(buffers[0], np.uint8), batches.images.numpy())
    found, product = pickle.loads(pickled, buffers=buffers).function(2)
    assert product == 6
    for first, second in zip(found.epoch(1), batches.epoch(1), strict=True):
        assert all(map(torch.equal, first, second))
    # Bytes that may not be written to, as they come from a network, are copied.
    received = [memoryview(bytes(buffer)) for buffer in buffers]
    copied = pickle.loads(pickled, buffers=received).function(0)[0]
    assert torch.equal(copied.images, batches.images)
    copied.images.zero_()
