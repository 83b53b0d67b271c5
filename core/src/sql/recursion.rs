//! The physical plan of WITH RECURSIVE: what does not depend on the iteration is an input, evaluated once; the rest is
//! the step that is repeated.

use super::{logical::ColumnId, physical::Node};
use crate::exec::plan::{Op, Recursion};

/// The recursion of `step`, which reads its own rows under `slot`, from `base`.
pub fn node(slot: u32, name: String, all: bool, base: Node, step: Node, schema: Vec<ColumnId>) -> Node {
    let mut inputs = vec![base];
    let step = extract(step, &mut vec![slot], &mut inputs);
    let recursion = Recursion { name, step: step.clone().into_flow(), all, inputs: inputs.len(), walk: None };
    Node { step: Some(Box::new(step)), ..Node::new(Op::Recursive(recursion), inputs, schema) }
}

/// The node with what depends on none of the slots as an input of the recursion.
fn extract(mut node: Node, slots: &mut Vec<u32>, inputs: &mut Vec<Node>) -> Node {
    match node.op {
        // The rows of the iteration before.
        Op::Recall(slot, _) if slots.first() == Some(&slot) => return Node { op: Op::Input(0), ..node },
        Op::Share(slot, _) => {
            let mut parts = core::mem::take(&mut node.inputs).into_iter();
            for (at, part) in parts.by_ref().enumerate() {
                if at == 0 && depends(&part, slots) {
                    slots.push(slot);
                }
                node.inputs.push(part);
            }
        }
        _ => {}
    }
    if !depends(&node, slots) {
        let schema = node.schema.clone();
        inputs.push(node);
        return Node::new(Op::Input(inputs.len() as u32 - 1), Vec::new(), schema);
    }
    node.inputs = node.inputs.into_iter().map(|input| extract(input, slots, inputs)).collect();
    node
}

fn depends(node: &Node, slots: &[u32]) -> bool {
    matches!(node.op, Op::Recall(slot, _) if slots.contains(&slot))
        || node.inputs.iter().any(|input| depends(input, slots))
}
