"""OpenVINO's graphs cut, and parts of them done by OpenCV, where that is faster. Owns what such graphs look
like, by their nodes, and imports no runtime; `openvino_runtime` alone imports it, and `sharing` and the
engine `reference` for `early`."""
