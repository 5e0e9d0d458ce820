//! What the errors of a mounted disk or share mean, as faults with a next step.

use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::domain::error::Error;
use rustix::io::Errno;
use std::io;

/// `doing` failed, as in `Writing /mnt/nas/holdfast/x`.
pub(super) fn failed(doing: &str, error: &io::Error) -> Error {
    use FaultKind as K;
    let (kind, words) = match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => (K::Full, "the disk is full. Free some space there".to_owned()),
        Some(Errno::DQUOT) => (K::Full, "the quota there is used up. Free some space there".to_owned()),
        Some(Errno::ROFS) => (
            K::Permission,
            "the disk is mounted read-only. Mount it for writing, or check the disk".to_owned(),
        ),
        Some(Errno::ACCESS | Errno::PERM) => (
            K::Permission,
            "permission denied. Check that the user that runs Holdfast may write there".to_owned(),
        ),
        Some(Errno::NOENT) => (K::NoSuchPath, "there is no such file".to_owned()),
        Some(Errno::EXIST | Errno::LOOP | Errno::ISDIR | Errno::NOTDIR) => {
            (K::Taken, "something else has that name there".to_owned())
        }
        Some(Errno::FBIG) => {
            (K::Other, "the file system there takes no file of that size. Use another file system".to_owned())
        }
        Some(Errno::NODEV | Errno::NXIO) => {
            (K::NotMounted, "the disk is gone. Connect and mount it again".to_owned())
        }
        // What a network file system says when its server went away, or came back as another.
        Some(Errno::STALE | Errno::NOTCONN | Errno::HOSTDOWN | Errno::HOSTUNREACH | Errno::CONNRESET) => {
            (K::Lost, "the connection to the share broke. Check that the share is mounted".to_owned())
        }
        Some(Errno::TIMEDOUT) => {
            (K::TimedOut, "the share did not answer in time. Check its server".to_owned())
        }
        Some(Errno::IO) => {
            (K::Other, "the disk reports a read or write error. Check the disk and its connection".to_owned())
        }
        _ => (K::Other, error.to_string()),
    };
    Fault::new(kind, format!("{doing} failed: {words}.")).into()
}

/// Whether a file system does not offer this call at all.
pub(super) fn is_not_offered(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// The destination is not there.
pub(super) fn not_mounted(words: String) -> Error {
    Fault::new(FaultKind::NotMounted, words).into()
}
