/** The version of the tables and functions. A node rejects a schema of a higher version. */
export const VERSION = 1

/**
 * The statements that create the tables. `@` is the name of the schema. Times are microseconds since 1970 by the clock
 * of the database; `before` and `total` count bytes of names and data.
 */
export const TABLES = `
-- The secret seals and encrypts the entries in notifications, which any role of the database may receive and send.
CREATE TABLE @.layout (
  version int4 NOT NULL,
  secret text NOT NULL DEFAULT replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')
);
INSERT INTO @.layout VALUES (${VERSION});

-- clean_at is the only indexed column that changes, and seldom: so an update of a counter touches no index.
CREATE TABLE @.channels (
  id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text COLLATE "C" NOT NULL UNIQUE,
  epoch text COLLATE "C" NOT NULL UNIQUE DEFAULT left(replace(gen_random_uuid()::text, '-', ''), 12),
  newest int8 NOT NULL DEFAULT 0,
  total int8 NOT NULL DEFAULT 0,
  appended_at int8 NOT NULL DEFAULT 0,
  ended bool NOT NULL DEFAULT false,
  outcome text,
  owner text,
  holder text,
  leased_until int8 NOT NULL DEFAULT 0,
  -- The first entry of the history, and the first entry that is stored: later nodes read those in between.
  oldest int8 NOT NULL DEFAULT 1,
  oldest_before int8 NOT NULL DEFAULT 0,
  oldest_at int8,
  kept int8 NOT NULL DEFAULT 1,
  kept_before int8 NOT NULL DEFAULT 0,
  purged_at int8 NOT NULL DEFAULT 0,
  max_events int8 NOT NULL DEFAULT 1000,
  max_bytes int8 NOT NULL DEFAULT 1048576,
  max_age int8 DEFAULT 300000000,
  expires_at int8,
  clean_at int8
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX channels_clean_at ON @.channels (clean_at);

CREATE TABLE @.events (
  channel int8 NOT NULL,
  "offset" int8 NOT NULL,
  before int8 NOT NULL,
  at int8 NOT NULL,
  event text NOT NULL,
  json bool NOT NULL,
  fingerprint text,
  data bytea NOT NULL,
  PRIMARY KEY (channel, "offset")
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0,
  toast.autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_cost_delay = 0);

CREATE TABLE @.keys (
  channel int8 NOT NULL,
  key text COLLATE "C" NOT NULL,
  "offset" int8 NOT NULL,
  expires_at int8 NOT NULL,
  PRIMARY KEY (channel, key)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX keys_expires_at ON @.keys (expires_at);

-- The answer to the last append of each node, which the node can request again.
CREATE TABLE @.nodes (
  node text COLLATE "C" PRIMARY KEY,
  number int8 NOT NULL,
  answer text,
  used_at int8 NOT NULL
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);

CREATE TABLE @.holders (
  channel int8 NOT NULL,
  holder text COLLATE "C" NOT NULL,
  leased_until int8 NOT NULL,
  fingerprint text,
  PRIMARY KEY (channel, holder)
) WITH (fillfactor = 50);
CREATE TABLE @.members (
  channel int8 NOT NULL,
  holder text COLLATE "C" NOT NULL,
  hash bytea NOT NULL,
  member text COLLATE "C" NOT NULL,
  id int8 GENERATED ALWAYS AS IDENTITY,
  PRIMARY KEY (channel, holder, hash)
);
CREATE INDEX members_hash ON @.members (channel, hash);

-- Events of open transactions. A commit moves its rows to the events.
CREATE TABLE @.outbox (
  id int8 GENERATED ALWAYS AS IDENTITY,
  name text COLLATE "C" NOT NULL,
  event text NOT NULL,
  json bool NOT NULL,
  fingerprint text,
  key text COLLATE "C",
  data bytea NOT NULL,
  max_events int8,
  max_bytes int8,
  max_age int8,
  transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
  PRIMARY KEY (name, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX outbox_transaction ON @.outbox (transaction);
`
