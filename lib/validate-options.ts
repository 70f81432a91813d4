import { describe, FST_SSE_OPTION } from './errors.ts'

/** The rule for the value of an option. undefined always means the default. `expected`: for the error message. */
export interface Rule { expected: string, fits: (value: unknown) => boolean }

export const isOptions = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

// Node's timers hold 31 bits: a longer delay fires at once.
const MAX_DELAY = 2 ** 31 - 1
/** Returns the rule of a time in milliseconds. */
export const milliseconds = (least: number, most = MAX_DELAY): Rule => ({
  expected: `a number of milliseconds from ${least} to ${most}`,
  fits: value => typeof value === 'number' && value >= least && value <= most
})
export const delay = milliseconds(0)
export const aFunction: Rule = { expected: 'a function', fits: value => typeof value === 'function' }
export const functionOrNull: Rule = {
  expected: 'a function or null',
  fits: value => value === null || typeof value === 'function'
}
/**
 * Returns the rule of a text that may become a key of a log, or part of a log line. Half a surrogate pair has no UTF-8
 * form: two texts would be one key.
 */
export function nameOfLength (max: number): Rule {
  const pattern = new RegExp(`^[^\\p{Cc}\\p{Cs}]{1,${max}}$`, 'u')
  return {
    expected: `a string of 1 to ${max} characters without control characters`,
    fits: value => typeof value === 'string' && pattern.test(value)
  }
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
  for (const name of Object.keys(options) as Array<keyof T & string>) {
    const value = options[name]
    if (value === undefined) continue
    if (!Object.hasOwn(rules, name)) {
      throw new FST_SSE_OPTION(pathOf(name, within), `one of ${Object.keys(rules).join(', ')}`, 'an unknown option')
    }
    const rule = rules[name]
    if (!rule.fits(value)) throw new FST_SSE_OPTION(pathOf(name, within), rule.expected, describe(value))
    resolved[name] = value as T[keyof T & string]
  }
  return resolved
}

const pathOf = (name: string, within: string | undefined): string => within === undefined ? name : `${within}.${name}`
