//! Table `recovery_codes`: hashes of the one-time codes that replace a lost second factor.

use crate::domain::error::Result;
use crate::domain::state::Store;
use rusqlite::{Connection, OptionalExtension as _};

/// Uses up a code. `false` if the account does not have it.
pub fn spend(store: &Store, account: i64, hash: &[u8; 32]) -> Result<bool> {
    store.with(|db| {
        let sql = "DELETE FROM recovery_codes WHERE account = ?1 AND code_hash = ?2";
        Ok(db.execute(sql, (account, hash))? == 1)
    })
}

/// The number of codes an account has left; `None` without a second factor.
pub fn left(store: &Store, account: i64) -> Result<Option<i64>> {
    store.with(|db| {
        let sql = "SELECT (SELECT count(*) FROM recovery_codes r WHERE r.account = a.id)
                   FROM accounts a WHERE id = ?1 AND totp IS NOT NULL";
        Ok(db.query_row(sql, [account], |row| row.get(0)).optional()?)
    })
}

/// Replaces all codes of an account.
pub(super) fn replace(db: &Connection, account: i64, hashes: &[[u8; 32]]) -> rusqlite::Result<()> {
    db.execute("DELETE FROM recovery_codes WHERE account = ?1", [account])?;
    let mut insert = db.prepare("INSERT INTO recovery_codes (account, code_hash) VALUES (?1, ?2)")?;
    for hash in hashes {
        insert.execute((account, hash))?;
    }
    Ok(())
}
