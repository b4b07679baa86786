"""Published sets of faces (CelebAMask-HQ, ELFW, LFW Part Labels) become a folder in ELFW's layout."""
