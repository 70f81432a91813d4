import { KEY_DURATION } from '../log.ts'

// Milliseconds. A channel outlives its events by this time: a client that reconnects later without missed events is not
// reset.
export const META_TTL = 3_600_000
// Entries beyond the history stay for this time, in milliseconds, so that every node can deliver them; but not more
// than these numbers of events and bytes.
const KEPT_TIME = 5_000
const KEPT_EVENTS = 10_000
const KEPT_BYTES = 8_388_608
// A payload of NOTIFY has less than 8000 bytes.
const CHANNELS_PER_PAYLOAD = 180

/**
 * The settings of the functions that are called from outside, which hold for those that they call. Without them, a
 * cached plan of an empty table would scan the table when it is full, and most statements would be planned each time.
 */
export const PLANS = `LANGUAGE plpgsql
  SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET enable_bitmapscan = off SET jit = off
  SET plan_cache_mode = force_generic_plan`

/**
 * The functions that append. Each call locks the rows of its channels in the order of their names first, so two calls
 * do not wait for each other.
 */
export const APPEND_FUNCTIONS = `
CREATE FUNCTION @.microseconds() RETURNS int8 LANGUAGE sql AS $$
  SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8
$$;

-- Starts another epoch: the log is behind a position that it has delivered.
CREATE FUNCTION @.restart(p_id int8) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  DELETE FROM @.events WHERE channel = p_id;
  DELETE FROM @.keys WHERE channel = p_id;
  DELETE FROM @.members WHERE channel = p_id;
  DELETE FROM @.holders WHERE channel = p_id;
  UPDATE @.channels SET epoch = DEFAULT, newest = 0, total = 0, appended_at = 0, ended = false, outcome = NULL,
    owner = NULL, holder = NULL, leased_until = 0, oldest = 1, oldest_before = 0, oldest_at = NULL, kept = 1,
    kept_before = 0
  WHERE id = p_id;
END $$;

-- Locks the rows of channels, creates missing ones, and restarts lost ones. Returns whether it has restarted one. Names
-- are unique; limits may be NULL. A usual call needs one statement.
CREATE FUNCTION @.lock(p_names text[], p_known_epochs text[], p_known_offsets int8[], p_known_ats int8[],
  p_max_events int8[], p_max_bytes int8[], p_max_ages int8[]) RETURNS bool LANGUAGE plpgsql AS $$
DECLARE
  v_now int8 := @.microseconds();
  v_count int8;
  v_lost int8[];
  v_stale bool;
BEGIN
  LOOP
    SELECT count(*), array_agg(l.id) FILTER (WHERE l.lost), bool_or(l.stale) INTO v_count, v_lost, v_stale FROM (
      SELECT c.id, c.epoch = k.epoch AND CASE
          WHEN c.newest = k."offset" THEN c.appended_at <> k.at
          WHEN c.newest < k."offset" THEN true
          ELSE EXISTS (SELECT FROM @.events e WHERE e.channel = c.id AND e."offset" = k."offset" AND e.at <> k.at)
        END AS lost,
        c.max_events <> k.max_events OR c.max_bytes <> k.max_bytes OR c.max_age IS DISTINCT FROM k.max_age
          OR (c.max_age IS NOT NULL AND c.expires_at IS NULL)
          OR c.expires_at < v_now + c.max_age + ${META_TTL - 60_000}000 AS stale
      FROM unnest(p_names, p_known_epochs, p_known_offsets, p_known_ats, p_max_events, p_max_bytes, p_max_ages)
        k (name, epoch, "offset", at, max_events, max_bytes, max_age)
      JOIN @.channels c ON c.name = k.name ORDER BY c.name FOR UPDATE OF c
    ) l;
    EXIT WHEN v_count = cardinality(p_names);
    INSERT INTO @.channels (name) SELECT n FROM unnest(p_names) n ORDER BY n COLLATE "C" ON CONFLICT DO NOTHING;
  END LOOP;
  IF v_lost IS NOT NULL THEN PERFORM @.restart(i) FROM unnest(v_lost) i; END IF;
  IF v_stale IS DISTINCT FROM false OR v_lost IS NOT NULL THEN
    UPDATE @.channels c SET max_events = l.max_events, max_bytes = l.max_bytes, max_age = l.max_age,
      expires_at = v_now + l.max_age + ${META_TTL}000,
      clean_at = least(c.clean_at, v_now + l.max_age + ${META_TTL}000)
    FROM (
      SELECT u.name, coalesce(u.max_events, o.max_events) AS max_events, coalesce(u.max_bytes, o.max_bytes) AS max_bytes,
        CASE WHEN u.max_events IS NULL THEN o.max_age ELSE u.max_age END AS max_age
      FROM unnest(p_names, p_max_events, p_max_bytes, p_max_ages) u (name, max_events, max_bytes, max_age)
      JOIN @.channels o ON o.name = u.name
    ) l
    WHERE c.name = l.name AND (c.max_events <> l.max_events OR c.max_bytes <> l.max_bytes
      OR c.max_age IS DISTINCT FROM l.max_age OR (l.max_age IS NOT NULL AND c.expires_at IS NULL)
      OR c.expires_at < v_now + l.max_age + ${META_TTL - 60_000}000);
  END IF;
  RETURN v_lost IS NOT NULL;
END $$;

-- Counts new entries of channels, and sets the start of their histories. It looks for the start in the entries only if
-- a limit is exceeded.
CREATE FUNCTION @.advance(p_ids int8[], p_counts int8[], p_sizes int8[], p_now int8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  v_full int8[];
BEGIN
  WITH counted AS (
    UPDATE @.channels c SET
      newest = c.newest + s.count,
      total = c.total + s.size,
      appended_at = CASE WHEN s.count = 0 THEN c.appended_at ELSE greatest(p_now, c.appended_at) END,
      oldest = coalesce(o."offset", c.newest + s.count + 1),
      oldest_before = coalesce(o.before, c.total + s.size),
      oldest_at = o.at,
      clean_at = CASE WHEN coalesce(o."offset", c.newest + s.count + 1) > c.kept
        THEN least(c.clean_at, p_now + 60000000) ELSE c.clean_at END
    FROM unnest(p_ids, p_counts, p_sizes) s (id, count, size)
    JOIN @.channels old ON old.id = s.id
    CROSS JOIN LATERAL (
      SELECT (old.oldest <= old.newest AND old.oldest > old.newest + s.count - old.max_events
        AND old.oldest_before >= old.total + s.size - old.max_bytes
        AND (old.max_age IS NULL OR old.oldest_at > p_now - old.max_age)) IS TRUE AS fits
    ) f
    LEFT JOIN LATERAL (
      SELECT old.oldest AS "offset", old.oldest_before AS before, old.oldest_at AS at WHERE f.fits
      UNION ALL
      (SELECT e."offset", e.before, e.at FROM @.events e
      WHERE NOT f.fits AND e.channel = s.id
        AND e."offset" >= greatest(old.oldest, old.newest + s.count - old.max_events + 1)
        AND e.before >= old.total + s.size - old.max_bytes AND (old.max_age IS NULL OR e.at > p_now - old.max_age)
      ORDER BY e."offset" LIMIT 1)
    ) o ON true
    WHERE c.id = s.id RETURNING c.*
  )
  SELECT array_agg(c.id) INTO v_full FROM counted c WHERE c.kept < c.oldest AND (c.purged_at <= p_now - 1000000
    OR c.oldest - c.kept > ${KEPT_EVENTS * 1.1} OR c.oldest_before - c.kept_before > ${KEPT_BYTES * 1.1});
  IF v_full IS NOT NULL THEN PERFORM @.purge(i, p_now) FROM unnest(v_full) i; END IF;
END $$;

-- Deletes entries beyond the history that every node has had time to read.
CREATE FUNCTION @.purge(p_id int8, p_now int8) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  c @.channels;
  v_kept int8;
  v_before int8;
BEGIN
  SELECT * INTO c FROM @.channels WHERE id = p_id;
  SELECT e."offset", e.before INTO v_kept, v_before FROM @.events e
  WHERE e.channel = p_id AND e."offset" >= greatest(c.kept, c.oldest - ${KEPT_EVENTS}) AND (e."offset" >= c.oldest
    OR (e.at > p_now - ${KEPT_TIME}000 AND e.before >= c.oldest_before - ${KEPT_BYTES}))
  ORDER BY e."offset" LIMIT 1;
  v_kept := coalesce(v_kept, c.newest + 1);
  DELETE FROM @.events e WHERE e.channel = p_id AND e."offset" >= c.kept AND e."offset" < v_kept;
  UPDATE @.channels SET kept = v_kept, kept_before = coalesce(v_before, c.total), purged_at = p_now WHERE id = p_id;
END $$;

-- Appends records to locked channels. Returns which of them it has appended.
CREATE FUNCTION @.put(p_ids int8[], p_of int4[], p_events text[], p_json bool[], p_fingerprints text[], p_keys text[],
  p_data bytea[]) RETURNS bool[] LANGUAGE plpgsql AS $$
DECLARE
  v_now int8 := @.microseconds();
  v_new bool[];
  v_ids int8[];
  v_counts int8[];
  v_sizes int8[];
BEGIN
  SELECT array_agg(NOT c.ended AND (i.key IS NULL OR (i.first AND k.key IS NULL)) ORDER BY i.n) INTO v_new
  FROM (
    SELECT u.n, u.of, u.key, u.key IS NULL OR row_number() OVER (PARTITION BY u.of, u.key ORDER BY u.n) = 1 AS first
    FROM unnest(p_of, p_keys) WITH ORDINALITY u (of, key, n)
  ) i
  JOIN @.channels c ON c.id = p_ids[i.of]
  LEFT JOIN @.keys k ON i.key IS NOT NULL AND k.channel = c.id AND k.key = i.key AND k.expires_at > v_now;

  WITH item AS MATERIALIZED (
    SELECT s.*, row_number() OVER w AS rank, sum(s.size) OVER w AS bytes FROM (
      SELECT u.*, octet_length(u.event) + octet_length(u.data) AS size
      FROM unnest(p_of, p_events, p_json, p_fingerprints, p_keys, p_data, v_new) WITH ORDINALITY
        u (of, event, json, fingerprint, key, data, new, n)
      WHERE u.new
    ) s WINDOW w AS (PARTITION BY s.of ORDER BY s.n)
  ), added AS (
    INSERT INTO @.events (channel, "offset", before, at, event, json, fingerprint, data)
    SELECT c.id, c.newest + i.rank, c.total + i.bytes - i.size, greatest(v_now, c.appended_at), i.event, i.json,
      i.fingerprint, i.data
    FROM item i JOIN @.channels c ON c.id = p_ids[i.of]
  ), keyed AS (
    INSERT INTO @.keys (channel, key, "offset", expires_at)
    SELECT c.id, i.key, c.newest + i.rank, v_now + ${KEY_DURATION}000
    FROM item i JOIN @.channels c ON c.id = p_ids[i.of] WHERE i.key IS NOT NULL
    ON CONFLICT (channel, key) DO UPDATE SET "offset" = excluded."offset", expires_at = excluded.expires_at
  )
  SELECT array_agg(s.id), array_agg(s.count), array_agg(s.bytes) INTO v_ids, v_counts, v_sizes
  FROM (SELECT p_ids[i.of] AS id, count(*) AS count, sum(i.size)::int8 AS bytes FROM item i GROUP BY 1) s;
  IF v_ids IS NOT NULL THEN PERFORM @.advance(v_ids, v_counts, v_sizes, v_now); END IF;
  RETURN v_new;
END $$;

-- Wakes the nodes that listen. An exclamation mark: the log has ended, or has another epoch.
CREATE FUNCTION @.notify(p_ids int8[], p_changed bool) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('@', string_agg(b.part, ' ')) FROM (
    SELECT hashtextextended(c.name, 0) || ' ' || c.newest || CASE WHEN p_changed THEN '!' ELSE '' END AS part,
      (row_number() OVER () - 1) / ${CHANNELS_PER_PAYLOAD} AS payload
    FROM @.channels c WHERE c.id = ANY (p_ids)
  ) b GROUP BY b.payload;
END $$;
`
