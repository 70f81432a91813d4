import { describe, FST_SSE_OPTION } from './errors.ts'

/** The rule for the value of an option. undefined always means the default. `expected`: for the error message. */
export interface Rule { expected: string, fits: (value: unknown) => boolean }

export const isOptions = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

// Node's timers hold 31 bits: a longer delay fires at once.
const MAX_DELAY = 2 ** 31 - 1
export const delay: Rule = {
  expected: 'a number of milliseconds from 0 to 2147483647',
  fits: value => typeof value === 'number' && value >= 0 && value <= MAX_DELAY
}
export const aFunction: Rule = { expected: 'a function', fits: value => typeof value === 'function' }
export const functionOrNull: Rule = {
  expected: 'a function or null',
  fits: value => value === null || typeof value === 'function'
}
export const aBoolean: Rule = { expected: 'a boolean', fits: value => typeof value === 'boolean' }

/**
 * Returns the options with their defaults. An unknown option or an invalid value throws FST_SSE_OPTION, with the name
 * of the option, the expected value and the actual value. `within`: the option that holds these options, if any.
 */
export function validateOptions<T extends object> (
  options: unknown,
  defaults: T,
  rules: Record<keyof T & string, Rule>,
  within?: string
): T {
  if (!isOptions(options)) throw new FST_SSE_OPTION(within ?? 'options', 'an object', describe(options))
  const resolved = { ...defaults }
  for (const [name, value] of Object.entries(options)) {
    if (value === undefined) continue
    const path = within === undefined ? name : `${within}.${name}`
    if (!Object.hasOwn(rules, name)) {
      throw new FST_SSE_OPTION(path, `one of ${Object.keys(rules).join(', ')}`, 'an unknown option')
    }
    const rule = rules[name as keyof T & string]
    if (!rule.fits(value)) throw new FST_SSE_OPTION(path, rule.expected, describe(value))
    Object.assign(resolved, { [name]: value })
  }
  return resolved
}
