"""Photos annotated with labelme, CVAT or in COCO's format become a folder in ELFW's layout."""
