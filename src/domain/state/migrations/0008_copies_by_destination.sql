-- What is remembered of copies is kept by destination, too. Until now there was one destination, an SFTP server.
CREATE TABLE copies (
    file TEXT NOT NULL,
    destination TEXT NOT NULL,
    state TEXT NOT NULL,
    PRIMARY KEY (file, destination)
) STRICT, WITHOUT ROWID;
INSERT INTO copies (file, destination, state) SELECT file, 'sftp', state FROM off_site;
DROP TABLE off_site;
