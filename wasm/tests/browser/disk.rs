//! IndexedDB as the engine's disk.

use std::{cell::RefCell, rc::Rc};

use pontoon_wasm::disk::{Disk, Written};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{fresh, until};

fn answers(disk: &Disk) -> Rc<RefCell<Vec<(u64, Written)>>> {
    let answers = Rc::new(RefCell::new(Vec::new()));
    let told = answers.clone();
    disk.on_written(move |token, written| told.borrow_mut().push((token, written)));
    answers
}

fn key(index: u32) -> Vec<u8> {
    index.to_be_bytes().to_vec()
}

#[wasm_bindgen_test]
async fn what_was_answered_is_there_after_opening_again() {
    let name = fresh("disk");
    let (disk, ..) = Disk::indexed_db(&name).await.unwrap();
    let answered = answers(&disk);
    for index in 0..100 {
        disk.write(u64::from(index), vec![(key(index), Some(vec![index as u8; 1_000])), (key(7), None)]);
    }
    disk.write(100, vec![(key(3), Some(b"later wins".to_vec()))]);
    assert!(answered.borrow().is_empty(), "no answer before the transaction is complete");
    until("every batch is answered", || answered.borrow().len() == 101).await;
    assert!(
        answered.borrow().iter().enumerate().all(|(index, (token, written))| *token == index as u64 && written.is_ok())
    );
    assert!(disk.figures().0 < 101, "batches that wait share a transaction");
    disk.close().await;

    let (.., saved) = Disk::indexed_db(&name).await.unwrap();
    let expected: Vec<_> = (0..100)
        .filter(|index| *index != 7)
        .map(|index| (key(index), if index == 3 { b"later wins".to_vec() } else { vec![index as u8; 1_000] }))
        .collect();
    assert_eq!(saved, expected);
}

/// Writes one batch and waits for its answer.
async fn write(disk: &Disk, batch: pontoon_core::store::Batch) {
    let answered = answers(disk);
    disk.write(1, batch);
    until("the batch is answered", || *answered.borrow() == [(1, Ok(()))]).await;
}

#[wasm_bindgen_test]
async fn the_log_is_rewritten_and_loses_nothing() {
    let name = fresh("log");
    let (disk, ..) = Disk::indexed_db(&name).await.unwrap();
    let mut expected = std::collections::BTreeMap::new();
    // Short pieces, packed together many times; long ones that are overwritten, until the whole is written anew.
    for round in 0..300_u32 {
        let (old, new, value) =
            (key(round % 40), key(round + 1_000), vec![round as u8; 1 + (round as usize * 37) % 600]);
        let gone = key(round + 980);
        expected.remove(&gone);
        expected.extend([(old.clone(), value.clone()), (new.clone(), value.clone())]);
        write(&disk, vec![(old, Some(value.clone())), (gone, None), (new, Some(value))]).await;
        if round % 10 == 0 {
            let long: Vec<_> = (0..4).map(|index| (key(5_000 + index), vec![round as u8; 100_000])).collect();
            expected.extend(long.iter().cloned());
            write(&disk, long.into_iter().map(|(key, value)| (key, Some(value))).collect()).await;
        }
    }
    let (pieces, bytes) = disk.log_figures();
    assert!(pieces < 200, "{pieces} pieces");
    assert!(bytes < 8 << 20, "12 MB were written, and {bytes} bytes are kept");
    disk.close().await;
    let (disk, _, saved) = Disk::indexed_db(&name).await.unwrap();
    assert_eq!(disk.log_figures(), (pieces, bytes));
    assert_eq!(saved, expected.into_iter().collect::<Vec<_>>());
}

#[wasm_bindgen_test]
async fn closing_writes_what_waits() {
    let name = fresh("closing");
    let (disk, ..) = Disk::indexed_db(&name).await.unwrap();
    disk.write(1, vec![(key(1), Some(b"one".to_vec()))]);
    disk.write(2, vec![(key(2), Some(b"two".to_vec()))]);
    disk.close().await;
    let (.., saved) = Disk::indexed_db(&name).await.unwrap();
    assert_eq!(saved, [(key(1), b"one".to_vec()), (key(2), b"two".to_vec())]);
}

#[wasm_bindgen_test]
async fn who_opens_a_disk_shuts_out_who_had_it_before() {
    let name = fresh("fenced");
    let (first, ..) = Disk::indexed_db(&name).await.unwrap();
    let (second, ..) = Disk::indexed_db(&name).await.unwrap();
    let (third, ..) = Disk::indexed_db(&name).await.unwrap();
    for (disk, value) in [(&first, "first"), (&second, "second"), (&third, "third")] {
        let answered = answers(disk);
        disk.write(1, vec![(key(1), Some(value.as_bytes().to_vec()))]);
        disk.write(2, vec![(key(2), Some(value.as_bytes().to_vec()))]);
        until("both batches are answered", || answered.borrow().len() == 2).await;
        assert!(answered.borrow().iter().all(|(_, written)| written.is_ok() == (value == "third")), "{value}");
    }
    let (.., saved) = Disk::indexed_db(&name).await.unwrap();
    assert_eq!(saved, [(key(1), b"third".to_vec()), (key(2), b"third".to_vec())]);
}

#[wasm_bindgen_test]
async fn an_identity_is_made_once() {
    let name = fresh("identity");
    let (disk, seed, saved) = Disk::indexed_db(&name).await.unwrap();
    assert!(saved.is_empty());
    disk.close().await;
    let (_, again, _) = Disk::indexed_db(&name).await.unwrap();
    assert_eq!(again, seed);
    let (_, other, _) = Disk::indexed_db(&fresh("other")).await.unwrap();
    assert_ne!(other, seed);
}

#[wasm_bindgen_test]
async fn a_disk_that_is_gone_says_so() {
    let (disk, ..) = Disk::indexed_db(&fresh("gone")).await.unwrap();
    disk.close().await;
    let answered = answers(&disk);
    disk.write(1, vec![(key(1), Some(Vec::new()))]);
    until("the batch is answered", || !answered.borrow().is_empty()).await;
    assert!(matches!(answered.borrow()[0], (1, Err(_))));
}

#[wasm_bindgen_test]
async fn memory_answers_and_forgets() {
    let disk = Disk::memory();
    let answered = answers(&disk);
    disk.write(1, vec![(key(1), Some(Vec::new()))]);
    assert!(answered.borrow().is_empty(), "never during the call");
    until("the batch is answered", || *answered.borrow() == [(1, Ok(()))]).await;
}
