// `Accept` (RFC 9110 §12.5.1): media ranges with parameters and a weight, between commas. White space is optional, and
// an element may be empty (§5.6.1).
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const QUOTED = '"(?:[\\t !\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t -\\x7e\\x80-\\xff])*"'
const RANGE = new RegExp(`[ \\t]*(${TOKEN})/(${TOKEN})`, 'y')
const PARAMETER = new RegExp(`[ \\t]*;[ \\t]*(?:(${TOKEN})=(${TOKEN}|${QUOTED}))?`, 'y')
const SEPARATOR = /[ \t]*(?:,[ \t]*)+|[ \t]*$/y
const CODING = new RegExp(`[ \\t]*(${TOKEN})(?:[ \\t]*;[ \\t]*[qQ]=(${TOKEN}))?`, 'y')
// The standard has three digits; several clients compute more.
const WEIGHT = /^(?:0(?:\.\d*)?|1(?:\.0*)?)$/

interface MediaRange {
  readonly type: string
  readonly subtype: string
  /** The parameters before the weight, as `name=value` in lower case. */
  readonly parameters: readonly string[]
  readonly weight: number
}

/** Reads a header from its start, one part after the other. */
class Scanner {
  #index = 0
  readonly #text: string

  constructor (text: string) {
    this.#text = text
  }

  get atEnd (): boolean { return this.#index === this.#text.length }

  /** Returns the match of a sticky expression here, and moves behind it. */
  take (expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#index
    const match = expression.exec(this.#text)
    if (match !== null) this.#index = expression.lastIndex
    return match
  }
}

/** Parses a list. Returns undefined for a malformed one, and for one without an element. */
function parseList<T> (header: string, parse: (scanner: Scanner) => T | undefined): T[] | undefined {
  const scanner = new Scanner(header)
  const elements: T[] = []
  scanner.take(SEPARATOR)
  while (!scanner.atEnd) {
    const element = parse(scanner)
    if (element === undefined || scanner.take(SEPARATOR) === null) return undefined
    elements.push(element)
  }
  return elements.length === 0 ? undefined : elements
}

function parseRange (scanner: Scanner): MediaRange | undefined {
  const [, type, subtype] = scanner.take(RANGE)?.map(part => part.toLowerCase()) ?? []
  if (type === undefined || subtype === undefined || (type === '*' && subtype !== '*')) return undefined
  const parameters: string[] = []
  let weight: string | undefined
  for (let match; (match = scanner.take(PARAMETER)) !== null;) {
    const [, name, value] = match
    if (name === undefined || value === undefined) continue
    // Parameters after the weight are extensions, which no format has.
    if (weight !== undefined) continue
    if (name.toLowerCase() === 'q') weight = value
    else parameters.push(`${name}=${unquoted(value)}`.toLowerCase())
  }
  if (weight !== undefined && !WEIGHT.test(weight)) return undefined
  return { type, subtype, parameters, weight: weight === undefined ? 1 : Number(weight) }
}

const unquoted = (value: string): string => value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, '$1') : value

/** Returns how closely a range fits a media type; 0 if it does not fit. */
function precedence ({ type, subtype, parameters }: MediaRange, offered: string): number {
  if (type === '*') return parameters.length === 0 ? 1 : 0
  const [offeredType, offeredSubtype] = offered.split('/')
  if (type !== offeredType || (subtype !== '*' && subtype !== offeredSubtype)) return 0
  // Every format is UTF-8, and has no other parameter.
  if (!parameters.every(parameter => parameter === 'charset=utf-8')) return 0
  return (subtype === '*' ? 2 : 4) + Math.min(parameters.length, 1)
}

function weightOf (ranges: readonly MediaRange[], offered: string): number {
  let closest = 0
  let weight = 0
  for (const range of ranges) {
    const close = precedence(range, offered)
    if (close === 0 || close < closest) continue
    weight = close > closest ? range.weight : Math.max(weight, range.weight)
    closest = close
  }
  return weight
}

/** Whether a header accepts a media type. A malformed header accepts none. */
export function accepts (header: string, mediaType: string): boolean {
  return weightOf(parseList(header, parseRange) ?? [], mediaType) > 0
}

/**
 * Returns the media type that a client prefers, of those that are offered; undefined if it accepts none. The most
 * specific range that fits a type has its weight. Of equal weights, the order of the offer decides. A request without a
 * header, or with a malformed one, gets the first type.
 */
export function preferredType<T extends { readonly mediaType: string }> (
  accept: string | undefined,
  offered: readonly T[]
): T | undefined {
  const ranges = accept === undefined ? undefined : parseList(accept, parseRange)
  if (ranges === undefined) return offered[0]
  let best: T | undefined
  let highest = 0
  for (const type of offered) {
    const weight = weightOf(ranges, type.mediaType)
    if (weight <= highest) continue
    best = type
    highest = weight
  }
  return best
}

function parseCoding (scanner: Scanner): [coding: string, weight: number] | undefined {
  const [, coding, weight = '1'] = scanner.take(CODING) ?? []
  return coding === undefined || !WEIGHT.test(weight) ? undefined : [coding.toLowerCase(), Number(weight)]
}

/**
 * Whether a client prefers gzip to no coding, by `Accept-Encoding` (RFC 9110 §12.5.3). `x-gzip` is its old name. False
 * without a header, and for a malformed one.
 */
export function acceptsGzip (header = ''): boolean {
  const weights = new Map(parseList(header, parseCoding))
  const gzip = weights.get('gzip') ?? weights.get('x-gzip') ?? weights.get('*') ?? 0
  return gzip > 0 && gzip >= (weights.get('identity') ?? 0)
}
