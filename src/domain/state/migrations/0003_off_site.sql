-- What is known of each backup's off-site copy.
CREATE TABLE off_site (
         file TEXT PRIMARY KEY,
         state TEXT NOT NULL
     ) STRICT;
