-- Who started each job, and from where.
ALTER TABLE jobs ADD COLUMN who TEXT;
     ALTER TABLE jobs ADD COLUMN came_from TEXT;
     ALTER TABLE jobs ADD COLUMN request TEXT;
     ALTER TABLE jobs ADD COLUMN object TEXT;
