"""What authors and instructors run: the course, its grading, and how its weights are made."""
