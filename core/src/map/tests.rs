//! The maps against the standard one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(u16, u8),
    Remove(u16),
    Bump(u16),
    PopFirst,
    PopLast,
    Retain(u16),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = 0..600_u16;
    let step = prop_oneof![
        8 => (key.clone(), any::<u8>()).prop_map(|(key, value)| Step::Insert(key, value)),
        2 => key.clone().prop_map(Step::Remove),
        2 => key.clone().prop_map(Step::Bump),
        1 => Just(Step::PopFirst),
        1 => Just(Step::PopLast),
        1 => (2..50_u16).prop_map(Step::Retain),
    ];
    proptest::collection::vec(step, 0..1_500)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever is done, a standard map to which the same is done agrees.
    #[test]
    fn as_the_standard_map(steps in steps(), low in 0..600_u16, high in 0..600_u16) {
        let (mut map, mut model) = (Map::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                Step::Bump(key) => {
                    let bump = |value: &mut u8| *value = value.wrapping_add(1);
                    bump(map.entry(key).or_default());
                    bump(model.entry(key).or_default());
                }
                Step::PopFirst => prop_assert_eq!(map.pop_first(), model.pop_first()),
                Step::PopLast => prop_assert_eq!(map.pop_last(), model.pop_last()),
                Step::Retain(modulus) => {
                    map.retain(|key, _| key % modulus != 0);
                    model.retain(|key, _| key % modulus != 0);
                }
            }
            prop_assert_eq!(map.len(), model.len());
        }
        prop_assert!(map.iter().eq(&model));
        prop_assert!(map.iter().rev().eq(model.iter().rev()));
        prop_assert!((0..600).all(|key| map.get(&key) == model.get(&key)));
        if low < high {
            prop_assert!(map.range(low..high).eq(model.range(low..high)));
            prop_assert!(map.range(low..=high).rev().eq(model.range(low..=high).rev()));
            let bounds = (Bound::Excluded(low), Bound::Unbounded);
            prop_assert!(map.range(bounds).eq(model.range(bounds)));
        } else {
            prop_assert_eq!(map.range(low..high).count(), 0);
        }
        prop_assert!(map.into_iter().eq(model));
    }

    /// So does the large one.
    #[test]
    fn the_large_one_too(steps in steps(), low in 0..600_u16, high in 0..600_u16) {
        let (mut map, mut model) = (LargeMap::new(), BTreeMap::new());
        for step in steps {
            match step {
                Step::Insert(key, value) => prop_assert_eq!(map.insert(key, value), model.insert(key, value)),
                Step::Remove(key) => prop_assert_eq!(map.remove(&key), model.remove(&key)),
                Step::Bump(key) => {
                    let bump = |value: &mut u8| *value = value.wrapping_add(1);
                    bump(map.get_or_insert_with(key, || 0));
                    bump(model.entry(key).or_default());
                }
                Step::PopFirst | Step::PopLast | Step::Retain(_) => {}
            }
            prop_assert_eq!(map.len(), model.len());
        }
        prop_assert!(map.iter().eq(&model));
        prop_assert!((0..600).all(|key| map.get(&key) == model.get(&key)));
        prop_assert!(map.chunks.iter().all(|chunk| (1..=large::CHUNK_MAX).contains(&chunk.len())));
        if low < high {
            prop_assert!(map.range(low..high).eq(model.range(low..high)));
            prop_assert!(map.range(low..=high).eq(model.range(low..=high)));
            let bounds = (Bound::Excluded(low), Bound::Unbounded);
            prop_assert!(map.range(bounds).eq(model.range(bounds)));
        } else {
            prop_assert_eq!(map.range(low..high).count(), 0);
        }
        prop_assert!(map.into_iter().eq(model));
    }
}

#[test]
fn ends_meet_once() {
    let map: Map<u32, ()> = (0..1_000).map(|key| (key, ())).collect();
    let mut keys = map.keys();
    let mut taken = 0;
    while keys.next().is_some() && keys.next_back().is_some() {
        taken += 2;
    }
    assert_eq!(taken, 1_000);
}
