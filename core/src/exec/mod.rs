//! The push-based dataflow over signed rows.
