-- Jobs are no longer backups only: each has a task and a subject.
ALTER TABLE jobs RENAME COLUMN database TO subject;
     ALTER TABLE jobs ADD COLUMN task TEXT NOT NULL DEFAULT 'create';
