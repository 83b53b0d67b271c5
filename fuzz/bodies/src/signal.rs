//! What the other end of a WebRTC session says to a supernode.

pub(crate) fn signal(input: &[u8]) {
    pontoon_supernode::fuzz::signal(input);
}
