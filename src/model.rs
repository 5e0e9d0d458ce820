//! What the program talks about: pure values, the same in the server and in the browser.

pub mod address;
pub mod archive;
pub mod backup;
pub mod database;
pub mod error;
pub mod human;
pub mod job;
pub mod list;
pub mod login;
pub mod name;
pub mod outcome;
pub mod stamp;
pub mod trend;

pub use archive::{ArchiveFormat, Bundled};
pub use backup::{Backup, BackupsView, FileState, Glance, Tone};
pub use database::{DatabaseHealth, DatabaseView, DatabasesView, EngineKind, Tried};
pub use error::AppError;
pub use job::{JobId, JobState, JobView, Live, Phase};
pub use list::{Column, ListPage, ListQuery, Picked, Sort};
pub use login::{LoginProblem, login_message};
pub use name::{BackupName, DatabaseName, InvalidName};
pub use outcome::{Deleted, Kept, Outcome};
pub use stamp::Stamp;
pub use trend::Trend;
