//! Opening files and starting programs when the process has used up its descriptors.
//!
//! Everything that rbake opens for one target is closed again soon, so with many targets it is enough to wait for a descriptor
//! ([`patiently`]). What needs several at once could wait for others of its kind that wait in turn, so of those only as many run
//! at a time as there are descriptors for ([`Shares`]).

use std::io;
use std::sync::{Arc, Condvar, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a descriptor is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(10);

/// Whether `error` says that the process, or the machine, has no descriptor left.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    let number = error.raw_os_error();
    number == Some(Errno::MFILE.raw_os_error()) || number == Some(Errno::NFILE.raw_os_error())
}

/// Does `open`, again and again for a while if there is no descriptor left. Blocks.
pub(crate) fn patiently<T>(open: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    // Nobody ever wakes this: it is a pause.
    let (never, lock) = (Condvar::new(), Mutex::new(()));
    patiently_with(open, || {
        let guard = lock.lock().unwrap_or_else(PoisonError::into_inner);
        drop(never.wait_timeout(guard, PAUSE));
    })
}

fn patiently_with<T>(mut open: impl FnMut() -> io::Result<T>, pause: impl Fn()) -> io::Result<T> {
    let end = Instant::now() + PATIENCE;
    loop {
        match open() {
            Err(error) if is_exhaustion(&error) && Instant::now() < end => pause(),
            result => return result,
        }
    }
}

/// Descriptors that each piece of work of one kind needs at the least, and a quarter of all that there are for it.
#[derive(Debug)]
pub(crate) struct Shares(LazyLock<Arc<Semaphore>, fn() -> Arc<Semaphore>>);

/// A piece of work has its descriptors for as long as it holds this.
#[derive(Debug)]
pub(crate) struct DescriptorShare {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Shares {
    /// Shares of a size that `count` of the limit knows.
    const fn new(make: fn() -> Arc<Semaphore>) -> Self {
        Self(LazyLock::new(make))
    }

    /// Waits for a share.
    pub(crate) async fn take(&self) -> DescriptorShare {
        // Nobody ever closes it.
        let permit = Arc::clone(&self.0).acquire_owned().await.ok();
        DescriptorShare { _permit: permit }
    }
}

/// Directories that are sent to the daemon at the same time: each needs its root, the walk's place, and its readers' files.
pub(crate) static TRANSFERS: Shares = Shares::new(|| Arc::new(Semaphore::new(shares_of(8))));
/// Directories that are received at the same time: each needs its root, the place it writes to, and a file.
pub(crate) static RECEPTIONS: Shares = Shares::new(|| Arc::new(Semaphore::new(shares_of(6))));

fn shares_of(descriptors: u64) -> usize {
    shares(getrlimit(Resource::Nofile).current, descriptors)
}

fn shares(limit: Option<u64>, descriptors: u64) -> usize {
    // More at once than this are no faster. Each may hold five threads while the daemon takes its time, and the runtime has 512.
    const MOST: usize = 64;
    let shares = limit.map_or(MOST, |limit| {
        usize::try_from(limit / 4 / descriptors).unwrap_or(MOST)
    });
    shares.clamp(1, MOST)
}

/// As [`patiently`], without blocking the thread in between.
pub(crate) async fn patiently_async<T, F>(mut open: impl FnMut() -> F) -> io::Result<T>
where
    F: Future<Output = io::Result<T>>,
{
    let end = Instant::now() + PATIENCE;
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
    fn few_descriptors_are_for_few_at_a_time_and_never_for_none() {
        assert_eq!(shares(Some(1024), 8), 32);
        assert_eq!(shares(Some(64), 8), 2);
        assert_eq!(shares(Some(10), 8), 1);
        assert_eq!(shares(None, 8), 64);
        assert_eq!(shares(Some(u64::MAX), 6), 64);
    }

    #[test]
    fn only_a_lack_of_descriptors_is_waited_out() {
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
