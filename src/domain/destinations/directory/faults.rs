//! Translates the errors of a mounted disk or share into faults with a next step.

use crate::domain::destinations::fault::{Fault, FaultKind};
use crate::domain::error::Error;
use rustix::io::Errno;
use std::io;

/// The fault for a failed operation; `doing` names it, as in `Writing /mnt/nas/holdfast/x`.
pub(super) fn failed(doing: &str, error: &io::Error) -> Error {
    use FaultKind as K;
    let (kind, words) = match Errno::from_io_error(error) {
        Some(Errno::NOSPC) => (K::Full, "the disk is full. Free some space there".to_owned()),
        Some(Errno::DQUOT) => (K::Full, "the quota there is used up. Free some space there".to_owned()),
        Some(Errno::ROFS) => (
            K::Permission,
            "the disk is mounted read-only. Mount it read-write, or check the disk".to_owned(),
        ),
        Some(Errno::ACCESS | Errno::PERM) => {
            (K::Permission, "permission denied. Check that Holdfast's user may write there".to_owned())
        }
        Some(Errno::NOENT) => (K::NoSuchPath, "there is no such file".to_owned()),
        Some(Errno::EXIST | Errno::LOOP | Errno::ISDIR | Errno::NOTDIR) => {
            (K::Taken, "the name is taken by something else".to_owned())
        }
        Some(Errno::FBIG) => (
            K::Other,
            "the file system there does not support files of that size. Use another file \
             system"
                .to_owned(),
        ),
        Some(Errno::NODEV | Errno::NXIO) => {
            (K::NotMounted, "the disk is gone. Connect and mount it again".to_owned())
        }
        // Errors of a network file system whose server went away or was replaced.
        Some(Errno::STALE | Errno::NOTCONN | Errno::HOSTDOWN | Errno::HOSTUNREACH | Errno::CONNRESET) => {
            (K::Lost, "the connection to the share was lost. Check that the share is mounted".to_owned())
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

/// Whether a file system does not support this call.
pub(super) fn is_not_offered(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP))
}

/// The fault for a destination that is not mounted.
pub(super) fn not_mounted(words: String) -> Error {
    Fault::new(FaultKind::NotMounted, words).into()
}
