import { PLANS } from './append-functions.ts'

/** The arguments that name channels, and the newest known position of each. */
export const KNOWN = 'p_names text[], p_known_epochs text[], p_known_offsets int8[], p_known_ats int8[]'
export const LIMITS = 'p_max_events int8[], p_max_bytes int8[], p_max_ages int8[]'
export const LOCK =
  'PERFORM @.lock(p_names, p_known_epochs, p_known_offsets, p_known_ats, p_max_events, p_max_bytes, p_max_ages);'

/**
 * The functions that nodes and other programs call. `of` is the index of a channel in the arrays of channels, from 1.
 */
export const PUBLISH_FUNCTIONS = `
-- Moves the committed rows of the outbox to the events of locked channels.
CREATE FUNCTION @.flush(p_names text[], p_strict bool) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  o record;
  v_ids int8[];
BEGIN
  IF NOT EXISTS (SELECT FROM @.outbox WHERE name = ANY (p_names)) THEN RETURN; END IF;
  SELECT array_agg(c.id ORDER BY u.n) INTO v_ids
  FROM unnest(p_names) WITH ORDINALITY u (name, n) JOIN @.channels c ON c.name = u.name;
  WITH gone AS (DELETE FROM @.outbox WHERE name = ANY (p_names) RETURNING *)
  SELECT array_agg(n.of::int4 ORDER BY g.id) AS of, array_agg(g.event ORDER BY g.id) AS events,
    array_agg(g.json ORDER BY g.id) AS json, array_agg(g.fingerprint ORDER BY g.id) AS fingerprints,
    array_agg(g.key ORDER BY g.id) AS keys, array_agg(g.data ORDER BY g.id) AS data INTO o
  FROM gone g JOIN unnest(p_names) WITH ORDINALITY n (name, of) ON n.name = g.name;
  IF EXISTS (SELECT FROM @.channels c WHERE c.ended AND c.id IN (SELECT v_ids[i] FROM unnest(o.of) i)) THEN
    IF p_strict THEN RAISE EXCEPTION 'ENDED a channel of this transaction has ended'; END IF;
    RAISE WARNING 'a channel has ended: the events of a transaction were dropped';
  END IF;
  PERFORM @.put(v_ids, o.of, o.events, o.json, o.fingerprints, o.keys, o.data);
  PERFORM @.notify(v_ids, false);
END $$;

-- At the commit, the first row of a transaction moves all of its rows. A transaction with one snapshot cannot: a lock on
-- a channel with later events would fail. Its rows are moved by the next call for the channel.
CREATE FUNCTION @.move_outbox() RETURNS trigger ${PLANS} AS $$
DECLARE
  v_names text[];
  v_empty int8[];
BEGIN
  IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
    PERFORM pg_notify('@', hashtextextended(NEW.name, 0) || ' 0!');
    RETURN NULL;
  END IF;
  SELECT array_agg(DISTINCT name) INTO v_names FROM @.outbox WHERE transaction = pg_current_xact_id();
  IF v_names IS NULL THEN RETURN NULL; END IF;
  SELECT array_agg(NULL::int8) INTO v_empty FROM unnest(v_names);
  PERFORM @.lock(v_names, v_empty::text[], v_empty, v_empty, array_agg(l.max_events ORDER BY l.n),
    array_agg(l.max_bytes ORDER BY l.n), array_agg(l.max_age ORDER BY l.n))
  FROM (
    SELECT DISTINCT ON (u.n) u.n, o.max_events, o.max_bytes, o.max_age
    FROM unnest(v_names) WITH ORDINALITY u (name, n) JOIN @.outbox o ON o.name = u.name ORDER BY u.n, o.id DESC
  ) l;
  PERFORM @.flush(v_names, true);
  RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER move_outbox AFTER INSERT ON @.outbox DEFERRABLE INITIALLY DEFERRED
  FOR EACH ROW EXECUTE FUNCTION @.move_outbox();

-- Appends a record when the transaction is committed. Returns false if the channel has ended.
CREATE FUNCTION @.publish_record(p_name text, p_event text, p_json bool, p_fingerprint text, p_key text, p_data bytea,
  p_max_events int8, p_max_bytes int8, p_max_age int8) RETURNS bool ${PLANS} AS $$
BEGIN
  IF EXISTS (SELECT FROM @.channels WHERE name = p_name AND ended) THEN RETURN false; END IF;
  INSERT INTO @.outbox (name, event, json, fingerprint, key, data, max_events, max_bytes, max_age)
  VALUES (p_name, p_event, p_json, p_fingerprint, p_key, p_data, p_max_events, p_max_bytes, p_max_age);
  RETURN true;
END $$;

-- For programs in any language: publishes JSON when the transaction is committed.
CREATE FUNCTION @.publish(channel text, event text, data json, key text DEFAULT NULL) RETURNS void ${PLANS} AS $$
BEGIN
  IF char_length(channel) NOT BETWEEN 1 AND 511 OR channel ~ '[[:cntrl:]]' OR event ~ '[\r\n]' OR event = ''
    OR char_length(key) NOT BETWEEN 1 AND 256 THEN
    RAISE EXCEPTION 'the name of a channel has 1 to 511 characters, a key 1 to 256, and no event is without a name';
  END IF;
  IF NOT @.publish_record(channel, event, true, NULL, key, convert_to(data::text, 'UTF8'), NULL, NULL, NULL) THEN
    RAISE EXCEPTION 'the channel % has ended', channel;
  END IF;
END $$;

-- Appends the records of one turn of a node. Returns JSON: for each channel its epoch, newest offset, time and whether
-- it had ended; and the offsets of records with a key that were not appended. Texts with the encrypted
-- records, if any, go to all nodes: no record then has a key, and none is an end.
CREATE FUNCTION @.append(p_node text, p_number int8, ${KNOWN}, ${LIMITS}, p_ends text[], p_counts int8[], p_bytes int8[],
  p_of int4[], p_ranks int4[], p_befores int8[], p_heads int4[], p_starts int4[], p_sizes int4[], p_keys text[],
  p_head_events text[], p_head_json bool[], p_head_fingerprints text[], p_data bytea, p_texts text[],
  p_text_of int4[], p_channel_of int4[]) RETURNS text ${PLANS} AS $$
DECLARE
  v_now int8;
  v_last record;
  v_restarted bool;
  v_ids int8[];
  v_epochs text[];
  v_ended bool[];
  v_newest int8[];
  v_totals int8[];
  v_ats int8[];
  v_befores int8[];
  v_ending int8[];
  v_new bool[];
  v_answer text;
  i record;
BEGIN
  LOOP
    SELECT number, answer INTO v_last FROM @.nodes WHERE node = p_node FOR UPDATE;
    EXIT WHEN FOUND;
    INSERT INTO @.nodes VALUES (p_node, 0, NULL, @.microseconds()) ON CONFLICT DO NOTHING;
  END LOOP;
  IF v_last.number >= p_number THEN RETURN v_last.answer; END IF;
  v_restarted := @.lock(p_names, p_known_epochs, p_known_offsets, p_known_ats, p_max_events, p_max_bytes, p_max_ages);
  PERFORM @.flush(p_names, false);
  v_now := @.microseconds();
  SELECT array_agg(c.id ORDER BY u.n), array_agg(c.epoch ORDER BY u.n), array_agg(c.ended ORDER BY u.n),
    array_agg(c.newest ORDER BY u.n), array_agg(c.total ORDER BY u.n),
    array_agg(CASE WHEN c.ended OR u.count = 0 THEN c.appended_at ELSE greatest(v_now, c.appended_at) END ORDER BY u.n),
    array_agg(c.appended_at ORDER BY u.n)
  INTO v_ids, v_epochs, v_ended, v_newest, v_totals, v_ats, v_befores
  FROM unnest(p_names, p_counts) WITH ORDINALITY u (name, count, n) JOIN @.channels c ON c.name = u.name;
  IF p_keys IS NULL THEN
    INSERT INTO @.events (channel, "offset", before, at, event, json, fingerprint, data)
    SELECT v_ids[u.of], v_newest[u.of] + u.rank, v_totals[u.of] + u.before, v_ats[u.of], p_head_events[u.head],
      p_head_json[u.head], p_head_fingerprints[u.head], substring(p_data, u.start, u.size)
    FROM unnest(p_of, p_ranks, p_befores, p_heads, p_starts, p_sizes) u (of, rank, before, head, start, size)
    WHERE NOT v_ended[u.of];
    PERFORM @.advance(array_agg(u.id), array_agg(u.count), array_agg(u.size), v_now)
    FROM unnest(v_ids, v_ended, p_counts, p_bytes) u (id, ended, count, size)
    WHERE NOT u.ended AND u.count > 0 HAVING count(*) > 0;
    SELECT array_agg(CASE WHEN u.ended THEN u.newest ELSE u.newest + u.count END ORDER BY u.n) INTO v_newest
    FROM unnest(v_newest, v_ended, p_counts) WITH ORDINALITY u (newest, ended, count, n);
  ELSE
    -- Some of the records may have been appended: the database counts them.
    SELECT array_agg(p_head_events[u.head] ORDER BY u.n) AS events, array_agg(p_head_json[u.head] ORDER BY u.n) AS json,
      array_agg(p_head_fingerprints[u.head] ORDER BY u.n) AS fingerprints,
      array_agg(substring(p_data, u.start, u.size) ORDER BY u.n) AS data INTO i
    FROM unnest(p_heads, p_starts, p_sizes) WITH ORDINALITY u (head, start, size, n);
    v_new := @.put(v_ids, p_of, i.events, i.json, i.fingerprints, p_keys, i.data);
    SELECT array_agg(c.newest ORDER BY u.n), array_agg(c.appended_at ORDER BY u.n) INTO v_newest, v_ats
    FROM unnest(v_ids) WITH ORDINALITY u (id, n) JOIN @.channels c ON c.id = u.id;
  END IF;
  SELECT array_agg(v_ids[u.n]) INTO v_ending
  FROM unnest(p_ends, v_ended) WITH ORDINALITY u (outcome, ended, n) WHERE u.outcome IS NOT NULL AND NOT u.ended;
  IF v_ending IS NOT NULL THEN
    UPDATE @.channels c SET ended = true, outcome = nullif(u.outcome, ''), leased_until = 0
    FROM unnest(v_ids, p_ends) u (id, outcome) WHERE c.id = u.id AND c.id = ANY (v_ending);
    DELETE FROM @.members WHERE channel = ANY (v_ending);
    DELETE FROM @.holders WHERE channel = ANY (v_ending);
    PERFORM @.notify(v_ending, true);
  END IF;
  IF p_texts = '{}' OR v_restarted OR true = ANY (v_ended) THEN
    PERFORM @.notify(v_ids, v_restarted);
  ELSE
    PERFORM pg_notify('@', concat_ws(' ', '=', encode(sha256(convert_to(l.secret || t.text || l.secret, 'UTF8')), 'hex'), t.text))
    FROM @.layout l, (
      SELECT string_agg(concat_ws(' ', hashtextextended(p_names[u.of], 0), v_newest[u.of], v_epochs[u.of], v_ats[u.of],
        CASE WHEN u.part = 1 THEN v_befores[u.of] ELSE v_ats[u.of] END), ' ' ORDER BY u.n) || ' ' || p_texts[u.text] AS text
      FROM (
        SELECT p.*, row_number() OVER (PARTITION BY p.of ORDER BY p.text) AS part
        FROM unnest(p_text_of, p_channel_of) WITH ORDINALITY p (text, of, n)
      ) u GROUP BY u.text ORDER BY u.text
    ) t;
  END IF;
  SELECT json_build_object(
    'channels', (
      SELECT json_agg(json_build_array(u.epoch, u.newest, u.at, u.ended, u.before) ORDER BY u.n)
      FROM unnest(v_epochs, v_newest, v_ats, v_ended, v_befores) WITH ORDINALITY u (epoch, newest, at, ended, before, n)
    ),
    'found', CASE WHEN p_keys IS NOT NULL THEN (
      SELECT json_agg(json_build_array(u.n - 1, k."offset") ORDER BY u.n)
      FROM unnest(p_of, p_keys, v_new) WITH ORDINALITY u (of, key, new, n)
      JOIN @.keys k ON k.channel = v_ids[u.of] AND k.key = u.key WHERE NOT u.new AND k.expires_at > @.microseconds() - 5000000
    ) END
  )::text INTO v_answer;
  UPDATE @.nodes SET number = p_number, answer = v_answer, used_at = @.microseconds() WHERE node = p_node;
  RETURN v_answer;
END $$;
`
