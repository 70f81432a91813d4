/** A schema beside texts: the data of an event is one of the texts, or fits the schema. */
export interface SchemaWithTexts<S = unknown, T extends string = string> {
  readonly '~texts': readonly T[]
  readonly schema: S
}

/**
 * Returns the schema beside texts that are sent as they are, without quotes: for a protocol whose JSON events have a
 * text among them, such as `[DONE]`. The route or the channel refuses a text that is JSON at start-up, with
 * FST_SSE_SCHEMA: a client could not tell it from data. In place of a schema, an encoding of the client's map is
 * possible: `'json'` or `'text'`.
 */
export function withTexts<S, const T extends string> (schema: S, ...texts: T[]): SchemaWithTexts<S, T> {
  return { '~texts': texts, schema }
}

/** Returns the texts beside a schema, and the schema without them. */
export function splitTexts (schema: unknown): { texts: readonly string[] | undefined, schema: unknown } {
  const { '~texts': texts, schema: inner } = Object(schema) as Partial<SchemaWithTexts>
  return texts === undefined ? { texts, schema } : { texts, schema: inner }
}
