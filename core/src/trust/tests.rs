use super::*;
use crate::{
    crypto::Ed25519,
    id::Id,
    store::{Action, Expect, KeyOp, Record, Version},
};

pub const NETWORK: &str = "test";
const AT_US: u64 = 1_700_000_000_000_000;
const HOUR_US: u64 = 3_600_000_000;

fn session(user: u8, peer: &dyn Identity) -> Session {
    Session::begin(&Ed25519::from_seed(&[user; 32]), NETWORK, peer, AT_US - HOUR_US, AT_US + HOUR_US).unwrap()
}

fn put(key: u32) -> KeyOp {
    let realm = Realm::of(&User([1; 32]), 7);
    KeyOp {
        namespace: format!("pontoon.rows.t.00{}", realm.suffix(0)),
        locality_bits: 0,
        key: key.to_be_bytes().to_vec(),
        action: Action::Put { value: vec![key as u8; 9], expect: Expect::Absent, ttl_us: None },
        proof: None,
    }
}

pub fn signed(count: u32) -> (Ed25519, Vec<(u32, KeyOp)>) {
    let peer = Ed25519::from_seed(&[2; 32]);
    let mut ops: Vec<(u32, KeyOp)> = (0..count).map(|index| (index, put(index))).collect();
    sign_as(&peer, &session(1, &peer), (NETWORK, AT_US), 99, &mut ops);
    (peer, ops)
}

pub fn leaf_of(op: &KeyOp, index: u32) -> Hash {
    op.proof.as_ref().unwrap().leaf_of_op(op, crate::dht::tag(99, index))
}

fn holds(op: &KeyOp, tag: u64, network: &str) -> bool {
    let peer = Ed25519::from_seed(&[3; 32]);
    let Some(proof) = &op.proof else { return false };
    proof.root(proof.leaf_of_op(op, tag)).is_some_and(|root| proof.pass.holds(&peer, network, &root))
}

#[test]
fn every_write_of_a_batch_is_proven_and_nothing_else() {
    for count in [1, 2, 3, 5, 255, 256, 257, 600] {
        let (_, ops) = signed(count);
        for (index, op) in &ops {
            let tag = crate::dht::tag(99, *index);
            assert!(holds(op, tag, NETWORK), "{index} of {count}");
            assert!(!holds(op, tag ^ 1, NETWORK) && !holds(op, tag, "another network"));
            let mut other = op.clone();
            other.key.push(0);
            assert!(!holds(&other, tag, NETWORK));
            let mut other = op.clone();
            other.action = Action::Put { value: vec![7; 8], expect: Expect::Absent, ttl_us: None };
            assert!(!holds(&other, tag, NETWORK));
            let mut other = op.clone();
            if let Some(proof) = &mut other.proof {
                proof.place ^= 1;
                let alone = proof.path.is_empty();
                assert!(alone || !holds(&other, tag, NETWORK));
            }
        }
    }
}

#[test]
fn a_batch_is_signed_once_and_a_path_is_short() {
    let (_, ops) = signed(600);
    let proofs: Vec<&Proof> = ops.iter().filter_map(|(_, op)| op.proof.as_deref()).collect();
    let mut passes: Vec<&Pass> = proofs.iter().map(|proof| &*proof.pass).collect();
    passes.dedup();
    assert_eq!(passes.len(), 600_usize.div_ceil(BATCH_MAX));
    assert!(proofs.iter().all(|proof| proof.path.len() <= 8));
}

#[test]
fn a_session_is_for_its_peer_its_network_and_its_time() {
    let (peer, other) = (Ed25519::from_seed(&[2; 32]), Ed25519::from_seed(&[4; 32]));
    let session = session(1, &peer);
    assert!(session.holds(&other, NETWORK) && session.peer() == peer.id());
    assert!(!session.holds(&other, "another"));
    for change in [
        Session { user: User([9; 32]), ..session.clone() },
        Session { until_us: session.until_us + 1, ..session.clone() },
        Session { from_us: 0, ..session.clone() },
        Session { peer: other.public_key().try_into().unwrap(), ..session.clone() },
        Session { signature: vec![0; 64], ..session.clone() },
        Session { signature: vec![0; 9_999], ..session.clone() },
    ] {
        assert!(!change.holds(&other, NETWORK));
    }
    // Signed outside of its time.
    for at_us in [AT_US - 2 * HOUR_US, AT_US + 2 * HOUR_US] {
        let mut ops = [(0, put(0))];
        sign_as(&peer, &session, (NETWORK, at_us), 99, &mut ops);
        assert!(!holds(&ops[0].1, crate::dht::tag(99, 0), NETWORK));
    }
    // Another peer signs with what is not its session.
    let mut ops = [(0, put(0))];
    sign_as(&other, &session, (NETWORK, AT_US), 99, &mut ops);
    assert!(!holds(&ops[0].1, crate::dht::tag(99, 0), NETWORK));
}

#[test]
fn rights_add_up_and_go() {
    let (owner, alice, bob) = (User([1; 32]), User([2; 32]), User([3; 32]));
    let mut rights = Rights::new(owner, 5, false, "t");
    let (insert, update) = (Privileges::these(&[Privilege::Insert]), Privileges::these(&[Privilege::Update]));
    let may = |rights: &Rights, user, what| rights.of(&user).any(what);
    assert!(may(&rights, owner, insert) && may(&rights, owner, Privileges::OWN) && !may(&rights, alice, insert));
    assert!(rights.change(Grantee::User(alice), insert.and(update), true, 0) && rights.version == 2);
    assert!(rights.change(Grantee::User(alice), insert, true, 0) && rights.version == 2, "nothing changed");
    assert!(rights.change(Grantee::Public, update, true, 0));
    assert!(may(&rights, alice, insert) && may(&rights, bob, update) && !may(&rights, bob, insert));
    assert!(rights.change(Grantee::User(alice), Privileges::ALL, false, 50));
    // Copies of what she wrote while she might are good still.
    assert!(
        rights.at(&alice, 50).any(insert) && !rights.at(&alice, 51).any(insert) && !rights.at(&bob, 50).any(insert)
    );
    assert!(!may(&rights, alice, insert) && may(&rights, alice, update), "as everybody");
    assert!(!may(&rights, alice, Privileges::OWN));
    assert_eq!(Rights::decode(&rights.encode()), Some(rights.clone()));
    assert_eq!(Rights::decode(&rights.encode()[1..]), None);
    assert_eq!(rights.realm(), Realm::of(&owner, 4));
    let (private, public) = (Rights::new(owner, 4, true, "t"), rights.realm());
    assert!(private.realm().is_private() && !public.is_private() && private.realm() != public);
    assert!(!may(&private, alice, Privileges::READ) && may(&private, owner, Privileges::READ));
    assert_ne!(Realm::of(&alice, 5), Realm::of(&owner, 5));
}

#[test]
fn a_namespace_says_its_realm() {
    let realm = Realm::of(&User([1; 32]), 7);
    assert_eq!(Realm::of_namespace(&format!("pontoon.rows.a.@b.00{}", realm.suffix(5))), Some((realm, 5)));
    assert_eq!(Realm::of_namespace(&format!("pontoon.index.t.00.1{}", realm.suffix(160))), Some((realm, 160)));
    let (long, short) = (format!("x{}0", realm.suffix(0)), format!("x.@{realm}"));
    for none in ["pontoon.rows.t.00", "x.@", "x.@zz", "x.@ééééééééééééééééé", ".@0123", &long, &short]
    {
        assert_eq!(Realm::of_namespace(none), None, "{none}");
    }
    assert_eq!(unclaimed(&claimed(Some(realm), vec![1, 2])), (Some(realm), &[1_u8, 2][..]));
    assert_eq!(unclaimed(&[0xff, b'@', 1]), (None, &[0xff, b'@', 1][..]));
}

#[test]
fn a_record_keeps_its_proof_on_disk_and_what_was_written_before_reads() {
    let (_, ops) = signed(3);
    let op = &ops[1].1;
    let version = Version { wall_us: AT_US, counter: crate::dht::tag(99, 1), author: Id::ZERO };
    let record = Record {
        namespace: op.namespace.clone(),
        key: op.key.clone(),
        locality_bits: 0,
        value: Some(vec![1; 9]),
        version,
        parent: None,
        expiry_us: None,
        earlier: vec![(1, 2)],
        proof: op.proof.clone(),
    };
    let key = b"key";
    let sealed = crate::store::disk::seal(key, &record);
    assert_eq!(crate::store::disk::open(key, &sealed), Some(record.clone()));
    let plain = Record { proof: None, ..record };
    let mut bytes = postcard::to_allocvec(&plain).unwrap();
    assert_eq!(bytes.pop(), Some(0));
    // As it was written when records had no proofs.
    let old = [&crate::store::disk::check(key, &bytes)[..], &bytes].concat();
    assert_eq!(crate::store::disk::open(key, &old), Some(plain));
}
