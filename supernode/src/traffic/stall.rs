//! A connection whose other end takes nothing for too long fails, and whose bytes are counted.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Duration, Sleep, sleep},
};

use crate::metrics::{Cut, Metrics};

/// See the module's documentation.
pub(crate) struct Stalling<S> {
    inner: S,
    metrics: Arc<Metrics>,
    patience: Duration,
    /// Set while a write waits.
    until: Option<Pin<Box<Sleep>>>,
}

impl<S> Stalling<S> {
    pub(crate) fn new(inner: S, patience: Duration, metrics: Arc<Metrics>) -> Stalling<S> {
        Stalling { inner, metrics, patience, until: None }
    }

    /// What a write came to, unless it waits for too long.
    fn judge<T>(&mut self, context: &mut Context<'_>, done: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if done.is_ready() {
            self.until = None;
            return done;
        }
        let patience = self.patience;
        let until = self.until.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(until.as_mut().poll(context));
        self.until = None;
        self.metrics.cut(Cut::Stalled);
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "it takes nothing of what it is sent")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stalling<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let done = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.metrics.received_bytes.add((buffer.filled().len() - before) as u64);
        done
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stalling<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write(context, bytes);
        if let Poll::Ready(Ok(count)) = &done {
            self.metrics.sent_bytes.add(*count as u64);
        }
        self.judge(context, done)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.inner).poll_write_vectored(context, slices);
        if let Poll::Ready(Ok(count)) = &done {
            self.metrics.sent_bytes.add(*count as u64);
        }
        self.judge(context, done)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_flush(context);
        self.judge(context, done)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = Pin::new(&mut self.inner).poll_shutdown(context);
        self.judge(context, done)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, duplex},
        time::timeout,
    };

    use super::*;

    #[tokio::test]
    async fn who_takes_nothing_is_cut_and_who_takes_slowly_is_not() {
        let metrics = Arc::new(Metrics::default());
        let (near, mut far) = duplex(10);
        let mut near = Stalling::new(near, Duration::from_millis(200), Arc::clone(&metrics));
        let reading = async {
            let mut byte = [0];
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                far.read_exact(&mut byte).await.unwrap();
            }
        };
        tokio::join!(reading, async { near.write_all(&[0; 30]).await.unwrap() });
        assert_eq!(metrics.sent_bytes.get(), 30);
        let stalled = timeout(Duration::from_secs(6), near.write_all(&[0; 30])).await;
        assert_eq!(stalled.unwrap().unwrap_err().kind(), io::ErrorKind::TimedOut);
        drop(far);
    }
}
