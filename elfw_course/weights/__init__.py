"""How the weights that come with the course are made, by `elfw pretrain`."""
