"""Trained networks at work: on photos and folders, as ONNX files, in two apps."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "apps.client": ["ask_app"],
        "apps.html": ["encode_data_url", "shrink_to_page"],
        "apps.serve": ["start_app"],
        "exposure": ["describe_exposure"],
        "faces": ["Frame", "cut_face", "find_box", "find_faces"],
        "onnx": ["OnnxNetwork", "export_model"],
        "predict": [
            "choose_frames",
            "enlarge_to_classes",
            "lay_masks",
            "predict_attribute",
            "predict_faces",
            "predict_mask",
            "predict_square",
        ],
    },
)
