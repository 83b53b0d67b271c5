//! Content that is made a piece at a time, no faster than its reader takes it.
//!
//! A reader that takes nothing for a while is cut: what it was to get is large, and others wait for its turn. It sees the
//! connection break, never an end that is none.

use std::io;

use axum::body::{Body, Bytes};
use futures_util::{Stream, stream};
use tokio::{
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Duration, timeout},
};

/// Pieces that wait for a reader.
const WAITING_MAX: usize = 2;

/// What content is made of.
pub(super) trait Pieces: Send + 'static {
    /// The next piece.
    fn next(&mut self) -> Option<String>;
    /// Whether there is one.
    fn more(&self) -> bool;
}

/// What a sender has sent: text, and in the end that it is the end.
pub(super) type Piece = Option<String>;

/// The pieces as content. The turn is held until the reader has them, or is cut.
pub(super) fn body(mut pieces: impl Pieces, stall: Duration, turn: OwnedSemaphorePermit) -> Body {
    let mut piece = pieces.next().unwrap_or_default();
    if !pieces.more() {
        return Body::from(piece);
    }
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(async move {
        let _turn = turn;
        loop {
            if !matches!(timeout(stall, sender.send(Some(piece))).await, Ok(Ok(()))) {
                return;
            }
            match pieces.next() {
                Some(next) => piece = next,
                None => break,
            }
        }
        let _ = timeout(stall, sender.send(None)).await;
    });
    Body::from_stream(received(receiver))
}

/// What comes of a sender; one that went away without an end is an error, which breaks the connection.
pub(super) fn received(receiver: mpsc::Receiver<Piece>) -> impl Stream<Item = io::Result<Bytes>> {
    stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Some(text)) => Some((Ok(Bytes::from(text)), Some(receiver))),
            Some(None) => None,
            None => Some((Err(io::Error::other("the reader took nothing for too long")), None)),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::StreamExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    struct Count(u32, u32);

    impl Pieces for Count {
        fn next(&mut self) -> Option<String> {
            self.0 += 1;
            (self.0 <= self.1).then(|| format!("{} ", self.0))
        }
        fn more(&self) -> bool {
            self.0 < self.1
        }
    }

    #[tokio::test]
    async fn all_of_it_and_then_the_turn_is_free() {
        let turns = Arc::new(Semaphore::new(1));
        for (last, expected) in [(1, "1 "), (12, "1 2 3 4 5 6 7 8 9 10 11 12 ")] {
            let turn = Arc::clone(&turns).try_acquire_owned().unwrap();
            let content = body(Count(0, last), Duration::from_secs(5), turn);
            assert_eq!(axum::body::to_bytes(content, 100).await.unwrap(), expected);
            timeout(Duration::from_secs(5), turns.acquire()).await.unwrap().unwrap().forget();
            turns.add_permits(1);
        }
    }

    #[tokio::test]
    async fn who_takes_nothing_is_cut() {
        let turns = Arc::new(Semaphore::new(1));
        let turn = Arc::clone(&turns).try_acquire_owned().unwrap();
        let mut content = body(Count(0, 100), Duration::from_millis(20), turn).into_data_stream();
        assert!(content.next().await.unwrap().is_ok());
        let _turn = timeout(Duration::from_secs(5), turns.acquire()).await.unwrap().unwrap();
        let mut last = None;
        while let Some(piece) = content.next().await {
            last = Some(piece.is_ok());
        }
        assert_eq!(last, Some(false), "the end is not taken for an end");
    }
}
