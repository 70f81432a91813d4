import type { Test } from 'tap'

/** A stream that is read frame by frame, until the test is over. The ids are those of a log: their epoch is kept, and left out of the frames. */
export class Reading {
  readonly response: Response
  readonly #reader: ReadableStreamDefaultReader<string>
  #rest = ''
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

  /** The next so many frames. */
  async frames (count: number): Promise<string> {
    for (;;) {
      const parts = this.#rest.split('\n\n')
      if (parts.length > count) {
        this.#rest = parts.slice(count).join('\n\n')
        return this.#anonymous(`${parts.slice(0, count).join('\n\n')}\n\n`)
      }
      const { value, done } = await this.#reader.read()
      if (done) throw new Error(`the stream ended after ${this.#rest}`)
      this.#rest += value
    }
  }

  #anonymous (wire: string): string {
    this.epoch = /^id: ([0-9a-z]+)-/m.exec(wire)?.[1] ?? this.epoch
    return wire.replace(/^id: [0-9a-z]+-/gm, 'id: ')
  }
}
