//! Nodes of prefix hash trees, and edits of them that others ask for.

use pontoon_core::pht::{Label, apply, node::Node};

use crate::pieces::pieces;

/// Parts: the node's key, its value where it is not empty, then edits one after the other.
pub(crate) fn tree(input: &[u8]) {
    let mut pieces = pieces(input).map(|(_, piece)| piece);
    let (Some(key), Some(value)) = (pieces.next(), pieces.next()) else { return };
    let Some(name) = Label::from_key(key) else { return };
    assert_eq!(name.to_key(), key);
    let mut value = (!value.is_empty()).then(|| value.to_vec());
    for (at, edit) in pieces.enumerate() {
        if let Ok(next) = apply(key, value.as_deref(), edit, at as u64) {
            let node = Node::decode(&name, &next).expect("an edit leaves a node");
            assert_eq!(node.encode(), next);
            value = Some(next);
        }
    }
}
