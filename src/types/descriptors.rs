//! Opens files and starts programs even if the process has no file descriptor left.
//!
//! Everything that rbake opens for a target is soon closed again, so even with many targets it is enough to wait
//! for a descriptor ([`patiently`]). But work that needs several descriptors at once could deadlock: each piece of
//! work would hold some and wait for more. So only as many of these run at the same time as there are descriptors
//! for ([`Shares`]).

use std::io;
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The longest wait for a descriptor.
const DESCRIPTORS_TIMEOUT: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// Whether `error` says that the process (EMFILE) or the machine (ENFILE) has no descriptor left.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    number == Some(Errno::MFILE.raw_os_error()) || number == Some(Errno::NFILE.raw_os_error())
}

/// Calls `open`, and repeats it for a while if there is no descriptor left. Blocks.
pub(crate) fn patiently<T>(open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    // Nobody ever wakes this condition variable: it is only used as a pause.
    let (never, lock) = (Condvar::new(), Mutex::new(()));
    patiently_with(open, || {
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(never.wait_timeout(guard, PAUSE));
    })
}

fn patiently_with<T>(mut open: impl FnMut() -> io::Result<T>, pause: impl Fn()) -> io::Result<T> {
    let end = Instant::now() + DESCRIPTORS_TIMEOUT;
    loop {
        match open() {
            Err(error) if is_exhaustion(&error) && Instant::now() < end => pause(),
            result => return result,
        }
    }
}

/// Limits how many pieces of work of one kind run at the same time, so that each has the descriptors that it needs.
/// All of them together use at most a quarter of the process's limit.
#[derive(Debug)]
pub(crate) struct Shares(LazyLock<Arc<Semaphore>, fn() -> Arc<Semaphore>>);

/// The right of one piece of work to use its descriptors, until it is dropped.
#[derive(Debug)]
pub(crate) struct DescriptorShare {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Shares {
    /// `make` computes the number of shares from the process's limit, on first use.
    const fn new(make: fn() -> Arc<Semaphore>) -> Self {
        Self(LazyLock::new(make))
    }

    /// Waits until a share is free.
    pub(crate) async fn take(&self) -> DescriptorShare {
        // The semaphore is never closed, so this cannot fail.
        let permit = Arc::clone(&self.0).acquire_owned().await.ok();
        DescriptorShare { _permit: permit }
    }
}

/// Directories that are sent to the daemon at the same time. Each needs descriptors for its root, the current
/// folder of the walk, and the files being read.
pub(crate) static TRANSFERS: Shares = Shares::new(|| Arc::new(Semaphore::new(shares_of(8))));
/// Directories that are received at the same time. Each needs descriptors for its root, the current folder, and a
/// file.
pub(crate) static RECEPTIONS: Shares = Shares::new(|| Arc::new(Semaphore::new(shares_of(6))));

fn shares_of(descriptors: u64) -> usize {
    shares(getrlimit(Resource::Nofile).current, descriptors)
}

fn shares(limit: Option<u64>, descriptors: u64) -> usize {
    // More at once would not be faster. Each may hold five threads while the daemon is slow, and the runtime has
    // 512.
    const MOST: usize = 64;
    let shares = limit.map_or(MOST, |limit| {
        usize::try_from(limit / 4 / descriptors).unwrap_or(MOST)
    });
    shares.clamp(1, MOST)
}

/// The same as [`patiently`], without blocking the thread during the pauses.
pub(crate) async fn patiently_async<T, F>(mut open: impl FnMut() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let end = Instant::now() + DESCRIPTORS_TIMEOUT;
    loop {
        match open().await {
            Err(error) if is_exhaustion(&error) && Instant::now() < end => {
                tokio::time::sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_low_limit_of_descriptors_gives_small_shares_but_at_least_one() {
        assert_eq!(shares(Some(1024), 8), 32);
        assert_eq!(shares(Some(64), 8), 2);
        assert_eq!(shares(Some(10), 8), 1);
        assert_eq!(shares(None, 8), 64);
        assert_eq!(shares(Some(u64::MAX), 6), 64);
    }

    #[test]
    fn only_a_lack_of_descriptors_is_retried() {
        let tries = Cell::new(0);
        let result = patiently(|| {
            tries.set(tries.get() + 1);
            match tries.get() {
                1 => Err(Errno::MFILE.into()),
                2 => Err(Errno::NFILE.into()),
                _ => Ok("opened"),
            }
        });
        assert_eq!((result.unwrap(), tries.get()), ("opened", 3));
        let error = patiently(|| io::Result::<()>::Err(Errno::ACCESS.into())).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
