"""Models: the forward pass, the rules that its backward pass follows, and the checkpoints it is loaded from."""
