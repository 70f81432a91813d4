import type { RawEvent } from '../client/encoding.ts'
import { printable, type Paint } from './terminal.ts'

// A longer name or id shifts its own line only.
const WIDEST = 32

/** Formats events for people: time, name, id and data in columns. */
export class Layout {
  readonly #paint: Paint
  #name = 'message'.length
  #id = 1

  constructor (paint: Paint) {
    this.#paint = paint
  }

  /** Formats an event. The columns grow with the events, since later ones are not known. */
  lines ({ event, id, data }: RawEvent, time: Date): string {
    const name = printable(event)
    const position = id === '' ? '-' : printable(id)
    this.#name = Math.max(this.#name, Math.min(WIDEST, name.length))
    this.#id = Math.max(this.#id, Math.min(WIDEST, position.length))
    const columns = [localTime(time), name.padEnd(this.#name), position.padEnd(this.#id)]
    const indent = ' '.repeat(columns.join('  ').length + 2)
    const [at, label, place] = columns as [string, string, string]
    const [first, ...others] = data.split('\n').map(printable)
    const head = [this.#paint('dim', at), this.#paint('cyan', label), this.#paint('dim', place), first].join('  ')
    return [head.trimEnd(), ...others.map(line => `${indent}${line}`.trimEnd())].join('\n') + '\n'
  }
}

/** Formats an event for programs: one JSON object, one line. */
export function jsonLine ({ event, id, data }: RawEvent, time: Date): string {
  return printable(JSON.stringify({ time: time.toISOString(), event, id, data })) + '\n'
}

/** Formats a time in the local time zone. */
function localTime (time: Date): string {
  const [hours, minutes, seconds] = [time.getHours(), time.getMinutes(), time.getSeconds()].map(part =>
    String(part).padStart(2, '0')
  )
  return `${hours}:${minutes}:${seconds}.${String(time.getMilliseconds()).padStart(3, '0')}`
}
