import { META_TTL, PLANS } from './append-functions.ts'
import { KNOWN, LIMITS, LOCK } from './publish-functions.ts'

// Milliseconds within which an append may be repeated without a second event.
const IDEMPOTENCY = 600_000
// Rows that one call deletes from a table.
const CLEANED_ROWS = 10_000
// Channels that one call cleans. It locks them meanwhile.
const CLEANED_CHANNELS = 100

/** The functions that read channels, hold leases and members, and delete unused channels. */
export const READ_FUNCTIONS = `
-- Returns a row with the state of each channel, and a row per entry. Writes only if a channel is missing, lost or old.
-- No text has a zero byte: data with one is in the last column.
CREATE FUNCTION @.read(${KNOWN}, ${LIMITS}, p_afters int8[], p_limit int4, p_kept bool)
RETURNS TABLE (of int4, "offset" int8, epoch text, oldest int8, newest int8, at int8, ended bool, name_hash int8, event text,
  json bool, fingerprint text, data text, bytes text) ${PLANS} AS $$
#variable_conflict use_column
DECLARE
  v_now int8 := @.microseconds();
  v_fresh int8;
BEGIN
  SELECT count(*) INTO v_fresh
  FROM unnest(p_names, p_known_epochs, p_known_offsets, p_known_ats, p_max_events, p_max_bytes, p_max_ages)
    k (name, epoch, "offset", at, max_events, max_bytes, max_age)
  JOIN @.channels c ON c.name = k.name
  WHERE (k.epoch <> c.epoch OR (c.newest >= k."offset" AND (c.newest > k."offset" OR c.appended_at = k.at)
      AND NOT EXISTS (SELECT FROM @.events e WHERE e.channel = c.id AND e."offset" = k."offset" AND e.at <> k.at)))
    AND c.max_events = k.max_events AND c.max_bytes = k.max_bytes AND c.max_age IS NOT DISTINCT FROM k.max_age
    AND (c.max_age IS NULL OR ((c.oldest_at IS NULL OR c.oldest_at > v_now - c.max_age)
      AND c.expires_at > v_now + c.max_age + ${META_TTL - 60_000}000));
  IF v_fresh < cardinality(p_names) OR EXISTS (SELECT FROM @.outbox WHERE name = ANY (p_names)) THEN
    ${LOCK}
    PERFORM @.flush(p_names, false);
    PERFORM @.advance(array_agg(c.id), array_agg(0::int8), array_agg(0::int8), @.microseconds())
    FROM @.channels c WHERE c.name = ANY (p_names);
  END IF;
  RETURN QUERY
  SELECT k.n::int4, NULL::int8, c.epoch, c.oldest, c.newest, c.appended_at, c.ended, hashtextextended(c.name, 0),
    NULL::text, NULL::bool, NULL::text, NULL::text, NULL::text
  FROM unnest(p_names) WITH ORDINALITY k (name, n) JOIN @.channels c ON c.name = k.name
  UNION ALL
  SELECT k.n::int4, e."offset", NULL, NULL, NULL, NULL, NULL, NULL, e.event, e.json, e.fingerprint,
    CASE WHEN position('\\x00'::bytea IN e.data) = 0 THEN convert_from(e.data, 'UTF8') END,
    CASE WHEN position('\\x00'::bytea IN e.data) > 0 THEN encode(e.data, 'base64') END
  FROM unnest(p_names, p_afters) WITH ORDINALITY k (name, after, n) JOIN @.channels c ON c.name = k.name
  CROSS JOIN LATERAL (
    SELECT x.* FROM @.events x WHERE x.channel = c.id
      AND x."offset" >= greatest(k.after + 1, CASE WHEN p_kept THEN c.kept ELSE c.oldest END)
    ORDER BY x."offset" LIMIT p_limit
  ) e
  ORDER BY 1, 2 NULLS FIRST;
END $$;

-- Acquires, renews or releases the lease of a channel. The duration is in microseconds.
CREATE FUNCTION @.lease(${KNOWN}, ${LIMITS}, p_owner text, p_duration int8) RETURNS bool ${PLANS} AS $$
DECLARE
  c @.channels;
BEGIN
  IF p_duration = 0 AND NOT EXISTS (SELECT FROM @.channels WHERE name = p_names[1] AND owner IS NOT NULL) THEN
    RETURN NOT EXISTS (SELECT FROM @.channels WHERE name = p_names[1] AND ended);
  END IF;
  ${LOCK}
  SELECT * INTO c FROM @.channels WHERE name = p_names[1];
  IF c.ended OR (c.leased_until > @.microseconds() AND c.holder <> p_owner) THEN RETURN false; END IF;
  UPDATE @.channels SET owner = CASE WHEN p_duration = 0 THEN c.owner ELSE coalesce(c.owner, p_owner) END,
    holder = p_owner, leased_until = CASE WHEN p_duration = 0 THEN 0 ELSE @.microseconds() + p_duration END
  WHERE id = c.id;
  RETURN true;
END $$;

-- Appends the joins and leaves of members.
CREATE FUNCTION @.put_changes(p_id int8, p_events text[], p_members text[], p_fingerprints text[]) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(p_events) = 0 THEN RETURN; END IF;
  PERFORM @.put(ARRAY[p_id], array_agg(1), p_events, array_agg(true), p_fingerprints, array_agg(NULL::text),
    array_agg(convert_to(u.member, 'UTF8') ORDER BY u.n))
  FROM unnest(p_members) WITH ORDINALITY u (member, n);
  PERFORM @.notify(ARRAY[p_id], false);
END $$;

-- Changes the members of a holder. Returns 1, 0 if the holder had no lease, or -1 if the channel has ended.
CREATE FUNCTION @.hold(${KNOWN}, ${LIMITS}, p_holder text, p_add text[], p_remove text[], p_fingerprint text,
  p_duration int8) RETURNS int4 ${PLANS} AS $$
DECLARE
  v_id int8;
  v_ended bool;
  v_held bool := true;
  v_now int8 := @.microseconds();
  v_events text[] := '{}';
  v_members text[] := '{}';
  v_fingerprints text[] := '{}';
  h record;
  m record;
BEGIN
  ${LOCK}
  PERFORM @.flush(p_names, false);
  SELECT id, ended INTO v_id, v_ended FROM @.channels WHERE name = p_names[1];
  IF v_ended THEN RETURN CASE WHEN p_holder IS NULL THEN 0 ELSE -1 END; END IF;
  FOR h IN SELECT * FROM @.holders WHERE channel = v_id AND leased_until <= v_now ORDER BY leased_until, holder LOOP
    DELETE FROM @.holders WHERE channel = v_id AND holder = h.holder;
    FOR m IN SELECT * FROM @.members WHERE channel = v_id AND holder = h.holder ORDER BY id LOOP
      DELETE FROM @.members WHERE channel = v_id AND holder = h.holder AND hash = m.hash;
      CONTINUE WHEN EXISTS (SELECT FROM @.members WHERE channel = v_id AND hash = m.hash);
      v_events := v_events || 'leave'::text;
      v_members := v_members || m.member;
      v_fingerprints := v_fingerprints || h.fingerprint;
    END LOOP;
  END LOOP;
  IF p_holder IS NOT NULL THEN
    v_held := EXISTS (SELECT FROM @.holders WHERE channel = v_id AND holder = p_holder);
    INSERT INTO @.holders VALUES (v_id, p_holder, v_now + p_duration, p_fingerprint)
    ON CONFLICT (channel, holder) DO UPDATE SET leased_until = excluded.leased_until, fingerprint = excluded.fingerprint;
    FOR m IN SELECT u.member, sha256(convert_to(u.member, 'UTF8')) AS hash FROM unnest(p_add) WITH ORDINALITY u (member, n)
    ORDER BY u.n LOOP
      IF NOT EXISTS (SELECT FROM @.members WHERE channel = v_id AND hash = m.hash) THEN
        v_events := v_events || 'join'::text;
        v_members := v_members || m.member;
        v_fingerprints := v_fingerprints || p_fingerprint;
      END IF;
      INSERT INTO @.members (channel, holder, hash, member) VALUES (v_id, p_holder, m.hash, m.member)
      ON CONFLICT DO NOTHING;
    END LOOP;
    FOR m IN SELECT u.member, sha256(convert_to(u.member, 'UTF8')) AS hash
    FROM unnest(p_remove) WITH ORDINALITY u (member, n) ORDER BY u.n LOOP
      DELETE FROM @.members WHERE channel = v_id AND holder = p_holder AND hash = m.hash;
      IF FOUND AND NOT EXISTS (SELECT FROM @.members WHERE channel = v_id AND hash = m.hash) THEN
        v_events := v_events || 'leave'::text;
        v_members := v_members || m.member;
        v_fingerprints := v_fingerprints || p_fingerprint;
      END IF;
    END LOOP;
  END IF;
  PERFORM @.put_changes(v_id, v_events, v_members, v_fingerprints);
  RETURN v_held::int4;
END $$;

-- Returns the members of a channel, without a copy for each holder.
CREATE FUNCTION @.members(${KNOWN}, ${LIMITS}) RETURNS SETOF text ${PLANS} AS $$
BEGIN
  IF EXISTS (SELECT FROM @.channels c JOIN @.holders h ON h.channel = c.id
    WHERE c.name = p_names[1] AND h.leased_until <= @.microseconds()) THEN
    PERFORM @.hold(p_names, p_known_epochs, p_known_offsets, p_known_ats, p_max_events, p_max_bytes, p_max_ages, NULL,
      NULL, NULL, NULL, 0);
  END IF;
  RETURN QUERY SELECT m.member FROM @.channels c JOIN @.members m ON m.channel = c.id WHERE c.name = p_names[1]
  GROUP BY m.member ORDER BY min(m.id);
END $$;

-- Deletes expired rows and entries. Returns how many channels it has cleaned. Skips rows that another call has locked.
CREATE FUNCTION @.clean() RETURNS int4 ${PLANS} AS $$
DECLARE
  v_now int8 := @.microseconds();
  v_count int4 := 0;
  c @.channels;
BEGIN
  FOR c IN SELECT * FROM @.channels WHERE clean_at <= v_now ORDER BY clean_at LIMIT ${CLEANED_CHANNELS} FOR UPDATE SKIP LOCKED LOOP
    v_count := v_count + 1;
    IF c.expires_at <= v_now AND c.leased_until <= v_now THEN
      DELETE FROM @.events WHERE channel = c.id AND "offset" >= c.kept AND "offset" < c.kept + ${CLEANED_ROWS};
      IF c.newest < c.kept + ${CLEANED_ROWS} THEN
        DELETE FROM @.keys WHERE channel = c.id;
        DELETE FROM @.members WHERE channel = c.id;
        DELETE FROM @.holders WHERE channel = c.id;
        DELETE FROM @.channels WHERE id = c.id;
      ELSE
        UPDATE @.channels SET kept = kept + ${CLEANED_ROWS}, oldest = greatest(oldest, kept + ${CLEANED_ROWS}) WHERE id = c.id;
      END IF;
    ELSE
      PERFORM @.advance(ARRAY[c.id], '{0}', '{0}', v_now);
      PERFORM @.purge(c.id, v_now);
      UPDATE @.channels SET clean_at =
        least(expires_at, greatest(oldest_at + max_age, v_now + 60000000), CASE WHEN kept < oldest THEN v_now + 60000000 END)
      WHERE id = c.id;
    END IF;
  END LOOP;
  DELETE FROM @.keys k USING (
    SELECT channel, key FROM @.keys WHERE expires_at < v_now - 60000000 LIMIT ${CLEANED_ROWS} FOR UPDATE SKIP LOCKED
  ) o WHERE k.channel = o.channel AND k.key = o.key;
  DELETE FROM @.nodes n USING (
    SELECT node FROM @.nodes WHERE used_at < v_now - ${IDEMPOTENCY}000 LIMIT ${CLEANED_ROWS} FOR UPDATE SKIP LOCKED
  ) o WHERE n.node = o.node;
  RETURN v_count;
END $$;
`
