import type { SchemaNode } from './json-schema.ts'
import type { Subschema } from './subschema.ts'

export type Check = (value: unknown) => boolean

/** Why a value does not match its schema, and where: a JSON pointer, or `/` for the value itself. */
export interface Mismatch { path: string, message: string }

/** The compiled check of a schema by the package that the schema is from. */
export interface Checker {
  /** The schema with its subschemas as they are checked. */
  readonly schema: SchemaNode
  readonly check: Check
  /** Returns the first mismatch of a value; undefined if it matches. */
  explain: (value: unknown) => Mismatch | undefined
  /** Returns the check of one subschema. */
  compileBranch: (branch: Subschema) => Check
}

/** The check of data, after which only their declared part is left. */
export interface DataChecker {
  /** Returns the checked data, with only the declared properties; undefined for a value that does not match. */
  accept: (value: unknown) => unknown
  /** Returns the first mismatch of a value that does not match. */
  explain: (value: unknown) => Mismatch | undefined
  /** Whether some subschema passes any value unchanged. */
  readonly passesAnyValue: boolean
}

/** Whether JSON has a form for a value. Checks accept any value for a schema such as `{}`. */
export const hasJson = (value: unknown): boolean =>
  value !== undefined && typeof value !== 'function' && typeof value !== 'symbol'

/** Returns a check that is compiled at its first use: the whole schema is compiled, and most parts are never used. */
export function lazily (compile: () => Check): Check {
  let check: Check | undefined
  return value => (check ??= compile())(value)
}

/** Why a check cannot be used, and the alternative. */
export const ASYNC = 'the schema is async: make it sync, because an event is checked before it is sent'
export const PROMISE = 'the check returned a promise: make it sync, because an event is checked before it is sent'

/** Whether a result is a promise. Its rejection is handled. */
export function isPromise (result: unknown): boolean {
  if (typeof (result as { then?: unknown } | undefined)?.then !== 'function') return false
  Promise.resolve(result).catch(() => {})
  return true
}
