//! Detects connection poolers, such as PgBouncer, in transaction mode. A backup needs a pooler in session
//! mode, which gives a client one session for as long as the client stays.

use crate::domain::engines::postgres::guard::Seen;
use std::future::Future;
use std::time::Duration;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// How long to wait for a second connection: the pool may be exhausted.
const SECOND: Duration = Duration::from_secs(3);

/// The server process of the next statement, asked without a prepared statement, which a pooler may mix up.
/// `None` if the server does not say.
pub(super) async fn process(client: &Client) -> Result<Option<i32>, Error> {
    let answer = client.simple_query("SELECT pg_catalog.pg_backend_pid()").await;
    let messages = match answer {
        // Software that only speaks PostgreSQL's protocol may lack the function.
        Err(error) if error.as_db_error().is_some_and(|said| said.severity() != "FATAL") => return Ok(None),
        answer => answer?,
    };
    Ok(messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            row.try_get(0).ok().flatten()?.parse().ok().filter(|process| *process > 0)
        }
        _ => None,
    }))
}

/// Whether a pooler is in between: the process that serves us is not the one named at login.
pub(super) fn is_between(seen: &Seen, serving: Option<i32>) -> bool {
    seen.process.zip(serving).is_some_and(|(greeting, serving)| greeting != serving)
}

/// Whether the pooler shares sessions by transaction: then one process serves two clients at a time, or
/// several processes serve one client. `another` opens a second connection.
pub(super) async fn lends<E>(
    first: &Client,
    another: impl Future<Output = Result<Client, E>>,
) -> Result<bool, Error> {
    let mine = process(first).await?;
    let Ok(Ok(second)) = tokio::time::timeout(SECOND, another).await else {
        // Without a second connection, only a change of the first one's process shows it.
        return Ok(process(first).await? != mine);
    };
    let asked = async {
        let theirs = process(&second).await?;
        if theirs == mine {
            return Ok(true);
        }
        // Each is asked twice in a row, so that no rotation of sessions looks like a fixed one.
        for client in [first, first, &second, &second, first] {
            let expected = if std::ptr::eq(client, first) { mine } else { theirs };
            if process(client).await? != expected {
                return Ok(true);
            }
        }
        Ok(false)
    };
    // A full pool delays or rejects the second connection, which proves nothing.
    Ok(tokio::time::timeout(SECOND, asked)
        .await
        .is_ok_and(|lends: Result<bool, Error>| lends.unwrap_or(false)))
}
