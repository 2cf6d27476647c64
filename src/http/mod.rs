//! The HTTP listeners: health and metrics for operators, public keys and checkpoints for everyone.
