//! Conversations with the real binary.
