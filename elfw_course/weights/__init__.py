"""How the shipped weights were made; `elfw pretrain` makes them again."""
