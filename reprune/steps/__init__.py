"""What each step of the loop does, between the step's inputs and the folder or file of each of its outputs."""
