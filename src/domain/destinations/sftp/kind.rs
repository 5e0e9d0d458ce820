//! SFTP as a kind of destination: the one set up on its settings page, and how to connect to it.

use crate::domain::destinations::destination::Destination;
use crate::domain::destinations::kind::{Access, Configured, Kind, Opening};
use crate::domain::destinations::name::DestinationName;
use crate::domain::destinations::sftp::connection::Connection;
use crate::domain::destinations::sftp::directory::SftpDirectory;
use crate::domain::destinations::sftp::known_hosts;
use crate::domain::destinations::sftp::settings::{SftpAccount, StoredSftp};
use crate::domain::destinations::shared::Shared;
use crate::domain::error::{Error, Result};
use crate::model::SftpForm;
use std::time::Instant;

/// The name of the only SFTP destination.
const NAME: &str = "sftp";

/// The kind.
pub struct Sftp;

/// The name of the only SFTP destination.
pub fn name() -> Result<DestinationName> {
    NAME.parse()
}

impl Kind for Sftp {
    fn configured(&self, shared: &Shared) -> Result<Vec<Box<dyn Configured>>> {
        let form = StoredSftp::new(shared.store.clone(), shared.secrets.clone()).form()?;
        if form.host.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![Box::new(ConfiguredSftp { name: name()?, form })])
    }
}

/// The configured server.
struct ConfiguredSftp {
    name: DestinationName,
    form: SftpForm,
}

impl Configured for ConfiguredSftp {
    fn name(&self) -> &DestinationName {
        &self.name
    }

    fn label(&self) -> &str {
        &self.form.host
    }

    fn directory(&self) -> &str {
        if self.form.remote_directory.is_empty() { "." } else { &self.form.remote_directory }
    }

    fn is_enabled(&self) -> bool {
        self.form.enabled
    }

    fn sends_new(&self) -> bool {
        self.form.send_new
    }

    fn access(&self, shared: &Shared) -> Result<Box<dyn Access>> {
        let account = StoredSftp::new(shared.store.clone(), shared.secrets.clone()).account()?;
        Ok(Box::new(SftpAccess { account }))
    }
}

/// The account on the server, with its secret.
struct SftpAccess {
    account: SftpAccount,
}

impl SftpAccess {
    fn connect(&self, opening: &Opening<'_>) -> Result<SftpDirectory> {
        let Opening { shared, notes, cancel, .. } = opening;
        let pins = StoredSftp::new(shared.store.clone(), shared.secrets.clone()).pins()?;
        let connection = Connection::open(&self.account, &pins, &shared.options, cancel, &|found| {
            known_hosts::note(notes, found);
        })?;
        let form = &self.account.form;
        Ok(SftpDirectory::new(connection, &form.remote_directory).write_only(form.write_only))
    }
}

impl Access for SftpAccess {
    fn open(&self, opening: &Opening<'_>) -> Result<Box<dyn Destination>> {
        if !opening.on_request {
            return Ok(Box::new(self.connect(opening)?));
        }
        let SftpAccount { form, port, .. } = &self.account;
        let probe = opening.shared.probes.begin(&form.host, *port, Instant::now())?;
        let opened = self.connect(opening);
        let answered = match &opened {
            Ok(_) => true,
            Err(Error::OffSite(fault)) => !fault.is_before_contact(),
            Err(_) => false,
        };
        probe.end(answered);
        Ok(Box::new(opened?))
    }
}
