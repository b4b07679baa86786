"""All that enters the sandbox beside `elfw_helpers`; it imports nothing of the course's own from outside."""
