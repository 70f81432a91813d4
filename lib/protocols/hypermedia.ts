import { FST_SSE_OPTION } from '../errors.ts'
import type { StreamOptions } from '../stream/options.ts'

/** HTML whose interpolated texts are escaped. `String(html)` is the data of an event. */
export class Html {
  readonly #text: string
  constructor (text: string) { this.#text = text }
  toString (): string { return this.#text }
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' }
const escape = (value: unknown): string => String(value).replaceAll(/[&<>"']/g, character => ENTITIES[character]!)

const rendered = (value: unknown): string =>
  value instanceof Html ? String(value) : Array.isArray(value) ? value.map(rendered).join('') : escape(value ?? '')

/**
 * Escapes the values of a template, for text and for attribute values in quotes: not for scripts, styles, attribute
 * names or URLs of unknown schemes. It inserts an array item by item, and the result of another `html` unchanged.
 */
export function html (texts: TemplateStringsArray, ...values: unknown[]): Html {
  return new Html(texts.reduce((text, next, index) => text + rendered(values[index - 1]) + next))
}

/** Attributes by name. Values are escaped; an undefined one is omitted. */
export type Attributes = Readonly<Record<string, string | undefined>>

function attributesOf (attributes: Attributes): string {
  return Object.entries(attributes).map(([name, value]) => {
    // A name can contain no character that ends it (WHATWG HTML §13.1.2.3).
    if (!/^[\w:.-]+$/.test(name)) throw new FST_SSE_OPTION('attributes', 'an object with names of attributes', name)
    return value === undefined ? '' : ` ${name}="${escape(value)}"`
  }).join('')
}

const text = { type: 'string' } as const

/** The events of a stream for htmx: HTML to swap, and `end`. An event for `sse-swap="name"` is one more text. */
export const htmxEvents = { message: text, end: text }

/**
 * The options of a stream for htmx. A source that ends sends `end`, for `sse-close` and `hx-sse:close`: without it,
 * htmx connects again. A stream that fails sends no event: an EventSource takes an event `error` for a failure of its
 * connection.
 */
export const htmxOptions = { end: { event: 'end', data: '' }, errorEvent: null } as const satisfies StreamOptions

/** The events of a stream for a `<turbo-stream-source>`. */
export const turboEvents = { message: text }

/** The name of an action of Turbo, or of an own action. */
export type TurboAction =
  | 'append' | 'prepend' | 'replace' | 'update' | 'remove' | 'before' | 'after' | 'refresh' | (string & {})

/**
 * Returns a `<turbo-stream>`. The attributes are `target` or `targets`, `method: 'morph'`, and those of other actions.
 * HTML is inserted as it is, inside a `<template>`. The data of one event may join several elements.
 */
export function turboStream (action: TurboAction, attributes: Attributes = {}, content: string | Html = ''): string {
  const template = action === 'remove' || action === 'refresh' ? '' : `<template>${String(content)}</template>`
  return `<turbo-stream${attributesOf({ action, ...attributes })}>${template}</turbo-stream>`
}

/** The options of a stream for Turbo. After a reset or a gap, Turbo refreshes the page, which has missed events. */
export const turboOptions = {
  errorEvent: null,
  systemEvent: () => ({ data: turboStream('refresh') })
} as const satisfies StreamOptions

/** The events of a stream for Datastar. */
export const datastarEvents = { 'datastar-patch-elements': text, 'datastar-patch-signals': text }

const MODES = ['outer', 'inner', 'replace', 'prepend', 'append', 'before', 'after', 'remove'] as const
const NAMESPACES = ['html', 'svg', 'mathml'] as const

/** Where Datastar patches elements. Without a selector, an element replaces the one with its id. */
export interface PatchElementsOptions {
  mode?: typeof MODES[number] | undefined
  selector?: string | undefined
  namespace?: typeof NAMESPACES[number] | undefined
  useViewTransition?: boolean | undefined
}

/** An event that patches elements. */
export interface PatchElements { event: 'datastar-patch-elements', data: string }
/** An event that patches signals. */
export interface PatchSignals { event: 'datastar-patch-signals', data: string }

/** Each line of a value is a line of data with its name, so that no value begins another line. */
const lines = (name: string, value: unknown): string[] =>
  String(value).split(/\r\n|\r|\n/).map(line => `${name} ${line}`)

/** Returns the lines of the options that differ from the default. */
const optionLines = (options: Record<string, unknown>, defaults: Record<string, unknown>): string[] =>
  Object.entries(options).flatMap(([name, value]) =>
    value === undefined || value === defaults[name] ? [] : lines(name, value))

function oneOf<T> (name: string, values: readonly T[], value: T | undefined): T | undefined {
  if (value !== undefined && !values.includes(value)) throw new FST_SSE_OPTION(name, values.join(', '), String(value))
  return value
}

/** Returns the event that patches elements. HTML is sent as it is; none for the mode `remove` with a selector. */
export function patchElements (content: string | Html, options: PatchElementsOptions = {}): PatchElements {
  const { selector, useViewTransition } = options
  const mode = oneOf('mode', MODES, options.mode)
  const namespace = oneOf('namespace', NAMESPACES, options.namespace)
  const head = optionLines({ mode, selector, namespace, useViewTransition },
    { mode: 'outer', namespace: 'html', useViewTransition: false })
  const elements = String(content)
  const body = elements === '' && mode === 'remove' ? [] : lines('elements', elements)
  return { event: 'datastar-patch-elements', data: [...head, ...body].join('\n') }
}

/** Returns the event that merges signals into those of the page (RFC 7396): null removes a signal. */
export function patchSignals (
  signals: Readonly<Record<string, unknown>>,
  { onlyIfMissing }: { onlyIfMissing?: boolean | undefined } = {}
): PatchSignals {
  const head = optionLines({ onlyIfMissing }, { onlyIfMissing: false })
  return { event: 'datastar-patch-signals', data: [...head, ...lines('signals', JSON.stringify(signals))].join('\n') }
}

/**
 * Returns the event that runs a script, in an element that is removed afterwards. No text in the script ends the
 * element (WHATWG HTML §4.12.1.3).
 */
export function executeScript (
  script: string,
  { autoRemove = true, attributes = {} }: { autoRemove?: boolean, attributes?: Attributes } = {}
): PatchElements {
  const code = script.replaceAll(/<(?=!--|\/?script)/gi, '\\x3c')
  const all = attributesOf({ ...attributes, 'data-effect': autoRemove ? 'el.remove()' : undefined })
  return patchElements(`<script${all}>${code}</script>`, { mode: 'append', selector: 'body' })
}

/** The options of a stream for Datastar. After a reset or a gap, the page reloads, because it has missed events. */
export const datastarOptions = {
  errorEvent: null,
  systemEvent: () => executeScript('location.reload()')
} as const satisfies StreamOptions
