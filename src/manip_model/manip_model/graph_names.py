"""The exported graph: its file, what it takes and what it gives. Without torch."""

GRAPH = "model.onnx"

# image (B, 3, S, S) uint8 RGB; camera (B, 4) float32 fx, fy, cx, cy [px]; side (B,) int64, whose
# mesh is built: 0 left, 1 right, -1 the likelier; hint (B,) int64, what the network is told of it.
INPUTS = ("image", "camera", "side", "hint")

# Fields of manip_model.outputs.ModelOutput.
OUTPUTS = (
    "side_logits",
    "mano_pose",
    "mano_shape",
    "translation",
    "vertices",
    "joints",
    "joints_log_variance",
    "keypoints_px",
    "keypoint_logits",
    "object_class_logits",
    "object_position",
    "object_rotation",
    "object_confidence_logits",
    "contact_point",
    "contact_confidence_logits",
    "contact_type_logits",
    "contact_force_direction",
    "contact_force",
    "contact_map_logits",
)
