//! What the program talks about: pure values, the same in the server and in the browser.

pub mod address;
pub mod archive;
pub mod audit;
pub mod backup;
pub mod backups_view;
pub mod database;
pub mod error;
pub mod human;
pub mod job;
pub mod list;
pub mod login;
pub mod name;
pub mod outcome;
pub mod picked;
pub mod restore;
pub mod role;
pub mod sftp;
pub mod stamp;
pub mod tone;
pub mod trend;
pub mod verification;

pub use archive::{ArchiveFormat, Bundled};
pub use backup::{Backup, FileState};
pub use backups_view::{BackupsView, Glance, OffSiteView};
pub use database::{DatabaseHealth, DatabaseView, DatabasesView, EngineKind, Tried};
pub use error::AppError;
pub use job::{JobId, JobState, JobView, Live, Phase, Task};
pub use list::{Column, ListPage, ListQuery, Sort};
pub use login::{LoginProblem, login_message};
pub use name::{BackupName, DatabaseName, InvalidName};
pub use outcome::{ActionResult, Added, Deleted, Imported, Kept, Outcome, Queued};
pub use picked::Picked;
pub use restore::{Fact, Proofs, RestorePlan, RestoreView};
pub use role::{Right, Role};
pub use sftp::{
    CheckStep, Checklist, HostKey, HostKeyFound, HostKeyStatus, OffSite, Place, RemoteBackup, SecretsAtHand,
    SftpAuth, SftpField, SftpForm, SftpProblem, SftpSettings, StepOutcome, StepState,
};
pub use stamp::Stamp;
pub use tone::Tone;
pub use trend::Trend;
pub use verification::{Proof, Verification};
