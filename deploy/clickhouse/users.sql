-- The rights that gatewatch needs, for an administrator to run once. Replace the
-- passwords. Not run where gatewatch is developed: the embedded engine there
-- manages its users in a file.

CREATE DATABASE IF NOT EXISTS gatewatch;

-- ingest, aggregate and alert.
CREATE USER IF NOT EXISTS gatewatch IDENTIFIED WITH sha256_password BY 'replace me';
GRANT SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW, DROP TABLE, DROP VIEW, TRUNCATE, OPTIMIZE ON gatewatch.* TO gatewatch;
GRANT CREATE DATABASE ON gatewatch.* TO gatewatch;
GRANT SELECT ON system.tables TO gatewatch;
GRANT SELECT ON system.columns TO gatewatch;
GRANT SELECT ON system.parts TO gatewatch;
GRANT SELECT ON system.merges TO gatewatch;
GRANT SELECT ON system.disks TO gatewatch;

-- People and Grafana.
CREATE USER IF NOT EXISTS gatewatch_reader IDENTIFIED WITH sha256_password BY 'replace me too' SETTINGS readonly = 2, max_execution_time = 60;
GRANT SELECT ON gatewatch.* TO gatewatch_reader;
GRANT SELECT ON system.parts TO gatewatch_reader;
GRANT SELECT ON system.merges TO gatewatch_reader;
