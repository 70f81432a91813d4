/** A JSON Schema of an object with the type `T`. */
export interface OpenObject<T> {
  readonly type: 'object'
  readonly properties: Readonly<Record<string, object>>
  readonly required: readonly string[]
  readonly additionalProperties: true
  /** For the compiler only: the type of the data. */
  readonly '~unsafe': T
}

/**
 * Returns the schema of an object of a protocol. It checks the properties that clients rely on. All other properties
 * are sent unchanged, because a protocol grows faster than its schema.
 */
export function openObject<T> (properties: Record<string, object>, required = Object.keys(properties)): OpenObject<T> {
  const schema: Omit<OpenObject<T>, '~unsafe'> = { type: 'object', properties, required, additionalProperties: true }
  return schema as OpenObject<T>
}
