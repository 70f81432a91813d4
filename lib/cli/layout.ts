import type { RawEvent } from '../client/encoding.ts'
import { printable } from './printable.ts'
import type { Paint } from './terminal.ts'

// A name or an id beyond that pushes its own line alone.
const WIDEST = 32

/** Writes events for people: time, name, id and data, each below its like. */
export class Layout {
  readonly #paint: Paint
  #name = 'message'.length
  #id = 1

  constructor (paint: Paint) {
    this.#paint = paint
  }

  /** The columns grow with what comes, as what will come is not known. */
  lines ({ event, id, data }: RawEvent, time: Date): string {
    const name = printable(event)
    const position = id === '' ? '-' : printable(id)
    this.#name = Math.max(this.#name, Math.min(WIDEST, name.length))
    this.#id = Math.max(this.#id, Math.min(WIDEST, position.length))
    const columns = [clock(time), name.padEnd(this.#name), position.padEnd(this.#id)]
    const indent = ' '.repeat(columns.join('  ').length + 2)
    const [at, what, where] = columns as [string, string, string]
    const [first, ...others] = data.split('\n').map(printable)
    const head = [this.#paint('dim', at), this.#paint('cyan', what), this.#paint('dim', where), first].join('  ')
    return [head.trimEnd(), ...others.map(line => `${indent}${line}`.trimEnd())].join('\n') + '\n'
  }
}

/** Writes an event for programs: one object, one line. */
export function jsonLine ({ event, id, data }: RawEvent, time: Date): string {
  return printable(JSON.stringify({ time: time.toISOString(), event, id, data })) + '\n'
}

/** Where the clock on the wall stands, not in Greenwich. */
function clock (time: Date): string {
  const [hours, minutes, seconds] = [time.getHours(), time.getMinutes(), time.getSeconds()].map(part => String(part).padStart(2, '0'))
  return `${hours}:${minutes}:${seconds}.${String(time.getMilliseconds()).padStart(3, '0')}`
}
