import { describe, FST_SSE_OPTION } from './errors.ts'

/** What a value of an option must be; undefined is always its default. */
export interface Rule { expected: string, fits: (value: unknown) => boolean }

export const isObject = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null && !Array.isArray(value)

// Node's timers hold 31 bits; a longer delay would fire at once.
const MAX_DELAY = 2 ** 31 - 1
export const delay: Rule = { expected: 'a number of milliseconds from 0 to 2147483647', fits: value => typeof value === 'number' && value >= 0 && value <= MAX_DELAY }
export const aFunction: Rule = { expected: 'a function', fits: value => typeof value === 'function' }
export const functionOrNull: Rule = { expected: 'a function or null', fits: value => value === null || typeof value === 'function' }
export const aBoolean: Rule = { expected: 'a boolean', fits: value => typeof value === 'boolean' }

/**
 * Options on top of their defaults. One that does not exist or does not fit throws FST_SSE_OPTION, which names it,
 * what was expected and what was got. `within` is the option that they are the options of.
 */
export function validateOptions<T extends object> (given: unknown, defaults: T, rules: Record<keyof T & string, Rule>, within?: string): T {
  if (!isObject(given)) throw new FST_SSE_OPTION(within ?? 'options', 'an object', describe(given))
  const resolved = { ...defaults }
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue
    const path = within === undefined ? name : `${within}.${name}`
    if (!Object.hasOwn(rules, name)) throw new FST_SSE_OPTION(path, `one of ${Object.keys(rules).join(', ')}`, 'an unknown option')
    const rule = rules[name as keyof T & string]
    if (!rule.fits(value)) throw new FST_SSE_OPTION(path, rule.expected, describe(value))
    Object.assign(resolved, { [name]: value })
  }
  return resolved
}
