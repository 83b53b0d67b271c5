use std::sync::Arc;

use super::{Key, Keyring, Keys, Opening, Ring, Sealer, Slot, pack, realm_of};
use crate::{
    Id,
    crypto::{Ed25519, Identity as _, Secret},
    data::{Type, Value},
    map::Map,
    sql::fault::{INSUFFICIENT_PRIVILEGE, TAMPERED},
    store::Version,
    trust::User,
};

fn keys(number: u8) -> Ed25519 {
    Ed25519::from_seed(&[number; 32])
}

fn user(number: u8) -> User {
    User(keys(number).public_key().try_into().unwrap())
}

fn agreed(a: u8, b: u8) -> Secret {
    keys(a).agree(&user(b).0).unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn version(counter: u64) -> Version {
    Version { wall_us: 1, counter, author: Id::ZERO }
}

/// User 1's ring, whose random number was that.
fn ring(random: u128) -> Ring {
    Ring::new(user(1), "team", &agreed(1, 1), random)
}

/// A ring as a user opens it who agreed with these.
fn opened(ring: &Ring, number: u8, with: &[u8]) -> Arc<Keyring> {
    match open(ring, number, with) {
        Keys::Open(keyring) => keyring,
        other => panic!("{other:?}"),
    }
}

fn open(ring: &Ring, number: u8, with: &[u8]) -> Keys {
    let agreed: Map<User, Secret> = with.iter().map(|other| (user(*other), agreed(number, *other))).collect();
    Keyring::open(ring.clone(), version(1), &user(number), agreed).unwrap()
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// A row of a key whose second column is sealed, with a tag in the third.
fn row(keyring: &Arc<Keyring>, key: &str, value: Value, random: u128) -> Vec<Value> {
    let sealer = Sealer { keyring: keyring.clone(), slots: vec![Slot { cell: 1, tag: Some(2) }], random };
    let mut row = vec![text(key), value, Value::Null];
    let at = crate::data::codec::encode_key(&[text(key)]);
    sealer.seal(("rows", &at), &mut row, |_| true).unwrap();
    row
}

fn opening(keys: Keys) -> Opening {
    Opening { keys, namespace: "rows".to_owned(), slot: 1, name: "body".to_owned(), data_type: Type::Text }
}

/// Computed by another program: Python's `hmac`, `cryptography`'s X25519 and ChaCha20-Poly1305, and HChaCha20 as the XChaCha
/// draft has it.
#[test]
fn known_answers() {
    let secret = agreed(1, 2);
    assert_eq!(hex(secret.bytes()), "4181d7302557342bdb6d061c4b1eebea828ecb625c3368b7111680793307220b");
    let sealed = Key::of(&Secret::new([7; 32])).seal(b"about", 5, b"plain");
    let expected = "6fa8c407d0b526ab9daaf11e4ad6cb8c2e9e05ac6ebdd9bb99fcf8785a6c1a3f8f292b036ff81e745e9dfd0d47";
    assert_eq!(hex(&sealed), expected);
    assert_eq!(realm_of(&user(1), "team").to_string(), "6594795f29f2df295b7b3f3873634890");
    let ring = ring(9);
    let wrapped = "c5f160c0dd7fcb625e3be5f057b5b8d7f99c245a2cfb890cf03b9245c551bd9e53aba966b822dd170f5f1445d1ce0bfb7e3a6cd50d39\
                   5efe83303cfd690dc7b2eb334edec65544f9";
    assert!(hex(&ring.encode()).contains(wrapped));
    let tag = opened(&ring, 1, &[1]).tag(&Value::Integer(1));
    assert_eq!(tag, Value::Blob(TAG.to_vec()));
}

/// See [`known_answers`].
const TAG: [u8; 16] = 0x6af721d0b8454b1f506415627aec2a21_u128.to_be_bytes();

#[test]
fn what_was_sealed_opens_where_it_was_and_nowhere_else() {
    let keyring = opened(&ring(1), 1, &[1]);
    let sealed = row(&keyring, "a", text("secret"), 1);
    let opening = opening(Keys::Open(keyring.clone()));
    let packed = pack(&sealed[1], &[&sealed[0]]);
    assert_eq!(opening.open(&packed), Ok(text("secret")));
    assert_eq!(opening.open(&pack(&Value::Null, &[&sealed[0]])), Ok(Value::Null));
    let tampered = |opening: &Opening, packed: &Value| opening.open(packed).unwrap_err().code() == TAMPERED;
    assert!(tampered(&opening, &pack(&sealed[1], &[&text("b")])), "in another row");
    assert!(tampered(&Opening { slot: 2, ..opening.clone() }, &packed), "in another column");
    assert!(tampered(&Opening { namespace: "other".to_owned(), ..opening.clone() }, &packed), "in another table");
    assert!(tampered(&Opening { data_type: Type::Integer, ..opening.clone() }, &packed), "of another type");
    assert!(tampered(&opening, &text("secret")) && tampered(&opening, &Value::Blob(vec![0; 80])), "in clear, or junk");
    let Value::Blob(cell) = &sealed[1] else { panic!("not sealed") };
    for at in 0..cell.len() {
        let mut flipped = cell.clone();
        flipped[at] ^= 1;
        assert!(tampered(&opening, &pack(&Value::Blob(flipped), &[&sealed[0]])), "byte {at}");
    }
    assert!(!cell.windows(6).any(|part| part == b"secret"));
}

#[test]
fn tags_tell_equal_values_and_nothing_else() {
    let (one, other) = (opened(&ring(1), 1, &[1]), opened(&ring(2), 1, &[1]));
    let (a, b) = (row(&one, "a", text("same"), 1), row(&one, "b", text("same"), 1));
    assert_eq!(a[2], b[2]);
    assert_ne!(a[1], b[1]);
    assert_ne!(a[2], row(&one, "a", text("else"), 1)[2]);
    assert_ne!(a[2], row(&other, "a", text("same"), 1)[2], "of another keyring");
    assert_ne!(one.tag(&Value::Integer(1)), one.tag(&Value::Timestamp(1)));
    assert_eq!(row(&one, "a", Value::Null, 1)[1..], [Value::Null, Value::Null]);
    // Another statement seals anew, the same one tried again does not.
    assert_ne!(a[1], row(&one, "a", text("same"), 2)[1]);
    assert_eq!(a[1], row(&one, "a", text("same"), 1)[1]);
}

#[test]
fn members_come_and_go() {
    let owner = opened(&ring(1), 1, &[1, 2, 3]);
    assert_eq!(open(&ring(1), 2, &[1]), Keys::Shut("its keys were not granted to this user", Some(version(1))));
    let two = owner.with(Some(&user(1)), &[user(2), user(3)], 2).unwrap().unwrap();
    let first = row(&opened(&two, 2, &[1]), "a", text("first"), 1);
    // Who was there before keeps what it had, and gets no more.
    let owner = opened(&two, 1, &[1, 2, 3]);
    assert_eq!(owner.with(Some(&user(1)), &[user(2)], 3).unwrap(), None);
    assert_eq!(owner.without(Some(&user(1)), &[user(4)], 3).unwrap(), None);
    let without = owner.without(Some(&user(1)), &[user(2)], 3).unwrap().unwrap();
    assert!(matches!(open(&without, 2, &[1]), Keys::Shut(..)));
    let three = opened(&without, 3, &[1]);
    let second = row(&three, "a", text("second"), 1);
    let read =
        |keyring: &Arc<Keyring>, row: &[Value]| opening(Keys::Open(keyring.clone())).open(&pack(&row[1], &[&row[0]]));
    assert_eq!((read(&three, &first), read(&three, &second)), (Ok(text("first")), Ok(text("second"))));
    let gone = opened(&two, 2, &[1]);
    assert_eq!((read(&gone, &first), read(&gone, &second).unwrap_err().code()), (Ok(text("first")), TAMPERED));
    // Values are still found: tags outlive epochs.
    assert_eq!(three.tag(&text("first")), first[2]);
    // The owner stays, and only it says who else does.
    let owner = opened(&without, 1, &[1, 3]);
    assert_eq!(owner.without(Some(&user(1)), &[user(1)], 4).unwrap(), None);
    let error = three.with(Some(&user(3)), &[user(2)], 4).unwrap_err();
    assert_eq!(error.code(), INSUFFICIENT_PRIVILEGE);
    assert_eq!(format!("{three:?}"), "Keyring(team, epoch 2)");
}

#[test]
fn nobody_but_its_owner_can_make_a_ring_that_opens() {
    let made = ring(1);
    assert_eq!(Ring::decode(&made.encode(), made.realm()), Some(made.clone()));
    assert_eq!(Ring::decode(&made.encode(), realm_of(&user(1), "other")), None);
    assert_eq!(Ring::decode(&made.encode(), realm_of(&user(2), "team")), None);
    // User 2 passes a ring of its own for user 1's, with a key for user 3.
    let forged = Ring::new(user(1), "team", &agreed(2, 2), 1);
    let forger = forged_keyring(forged, 2);
    let forged = forger.with(Some(&user(1)), &[user(3)], 1).unwrap().unwrap();
    let secrets: Map<User, Secret> = core::iter::once((user(1), agreed(3, 1))).collect();
    assert_eq!(Keyring::open(forged, version(1), &user(3), secrets).unwrap_err().code(), TAMPERED);
    // A flipped byte of what is wrapped is noticed, too.
    let mut bytes = made.encode();
    // Behind it are the chain, which is empty, and the mark.
    let last = bytes.len() - 2 - 33;
    bytes[last] ^= 1;
    let changed = Ring::decode(&bytes, made.realm()).unwrap();
    let secrets: Map<User, Secret> = core::iter::once((user(1), agreed(1, 1))).collect();
    assert_eq!(Keyring::open(changed, version(1), &user(1), secrets).unwrap_err().code(), TAMPERED);
}

/// A ring as its forger has it, who is no owner but can compute what it made it of.
fn forged_keyring(ring: Ring, number: u8) -> Arc<Keyring> {
    let own = (user(1), agreed(number, number));
    let member = (user(3), agreed(number, 3));
    match Keyring::open(ring, version(1), &user(1), [own, member].into_iter().collect()).unwrap() {
        Keys::Open(keyring) => keyring,
        other => panic!("{other:?}"),
    }
}

/// Members of a ring as it is encoded.
type Members = Vec<(User, Vec<u8>)>;

#[test]
fn who_stores_a_ring_neither_adds_nor_leaves_out_members() {
    let owner = user(1);
    let both = opened(&ring(9), 1, &[1, 2]).with(Some(&owner), &[user(2)], 10).unwrap().unwrap();
    assert!(opened(&both, 1, &[1, 2]).without(Some(&owner), &[user(2)], 11).unwrap().is_some());
    let with = |change: &dyn Fn(&mut Members)| {
        let whole: (u8, User, String, Members, Vec<Vec<u8>>, Vec<u8>) = postcard::from_bytes(&both.encode()).unwrap();
        let (format, owner, name, mut members, chain, mark) = whole;
        change(&mut members);
        let bytes = postcard::to_allocvec(&(format, owner, name, members, chain, mark)).unwrap();
        Ring::decode(&bytes, both.realm()).unwrap()
    };
    for changed in [with(&|members| members.push((user(3), vec![7; 72]))), with(&|members| drop(members.pop()))] {
        let keyring = opened(&changed, 1, &[1, 2, 3]);
        let code = |result: Result<Option<Ring>, crate::Error>| result.unwrap_err().code();
        assert_eq!(code(keyring.with(Some(&owner), &[user(4)], 12)), TAMPERED);
        assert_eq!(code(keyring.without(Some(&owner), &[user(2)], 12)), TAMPERED);
    }
}
