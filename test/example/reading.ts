import type { Test } from 'tap'
import { unmarked } from '../setup/marks.ts'

/**
 * A stream that is read frame by frame until the end of the test. Its ids are ids of a log: the epoch is kept, and
 * removed from the frames, as are the marks.
 */
export class Reading {
  readonly response: Response
  readonly #reader: ReadableStreamDefaultReader<string>
  #rest = ''
  readonly #frames: string[] = []
  epoch = ''

  constructor (response: Response) {
    this.response = response
    this.#reader = response.body!.pipeThrough(new TextDecoderStream()).getReader()
  }

  static async open (t: Test, url: string, lastEventId?: string): Promise<Reading> {
    const leaving = new AbortController()
    t.teardown(() => leaving.abort())
    const headers = lastEventId === undefined ? {} : { 'last-event-id': lastEventId }
    return new Reading(await fetch(url, { headers, signal: leaving.signal }))
  }

  /** Reads the next frames. */
  async frames (count: number): Promise<string> {
    while (this.#frames.length < count) {
      const { value, done } = await this.#reader.read()
      if (done) throw new Error(`the stream ended after ${this.#frames.join('')}${this.#rest}`)
      const parts = (this.#rest + value).split('\n\n')
      this.#rest = parts.pop()!
      this.#frames.push(...parts.map(part => unmarked(`${part}\n\n`)).filter(frame => frame !== ''))
    }
    return this.#anonymous(this.#frames.splice(0, count).join(''))
  }

  #anonymous (wire: string): string {
    this.epoch = /^id: ([0-9a-z]+)-/m.exec(wire)?.[1] ?? this.epoch
    return wire.replace(/^id: [0-9a-z]+-/gm, 'id: ')
  }
}
