-- What the job does, as JSON; NULL for a job of an earlier version.
ALTER TABLE jobs ADD COLUMN spec TEXT;
