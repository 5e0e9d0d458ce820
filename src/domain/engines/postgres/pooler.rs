//! Poolers, such as PgBouncer: telling one that lends a session out for each transaction from one that gives it away
//! for as long as the client stays, which alone can be backed up through.

use crate::domain::engines::postgres::guard::Seen;
use std::future::Future;
use std::time::Duration;
use tokio_postgres::{Client, Error, SimpleQueryMessage};

/// How long a second connection is waited for: a pool may have none left.
const SECOND: Duration = Duration::from_secs(3);

/// The process that serves the next statement, without a prepared statement, which a pooler may mix up. Nothing where
/// the server does not say.
pub(super) async fn process(client: &Client) -> Result<Option<i32>, Error> {
    let answer = client.simple_query("SELECT pg_catalog.pg_backend_pid()").await;
    let messages = match answer {
        // What only speaks PostgreSQL's protocol may have no such thing.
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

/// Whether somebody stands between us and the server: it is not who greeted us that serves us.
pub(super) fn is_between(seen: &Seen, serving: Option<i32>) -> bool {
    seen.process.zip(serving).is_some_and(|(greeting, serving)| greeting != serving)
}

/// Whether the pooler before us lends sessions out for a transaction each: then two clients at a time are served by one
/// process, or one client by several. `another` connects once more.
pub(super) async fn lends<E>(
    first: &Client,
    another: impl Future<Output = Result<Client, E>>,
) -> Result<bool, Error> {
    let mine = process(first).await?;
    let Ok(Ok(second)) = tokio::time::timeout(SECOND, another).await else {
        // Without a second one, only a change of the first tells.
        return Ok(process(first).await? != mine);
    };
    let asked = async {
        let theirs = process(&second).await?;
        if theirs == mine {
            return Ok(true);
        }
        // Each twice in a row, so that no order in which sessions are lent out looks like faithfulness.
        for client in [first, first, &second, &second, first] {
            let expected = if std::ptr::eq(client, first) { mine } else { theirs };
            if process(client).await? != expected {
                return Ok(true);
            }
        }
        Ok(false)
    };
    // A full pool holds the second one up or turns it away, which is no answer.
    Ok(tokio::time::timeout(SECOND, asked)
        .await
        .is_ok_and(|lends: Result<bool, Error>| lends.unwrap_or(false)))
}
