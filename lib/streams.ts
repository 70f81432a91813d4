import type { ResolvedOptions } from './options.ts'

/** What the set asks of a stream. */
export interface Member {
  tick: (now: number) => void
  end: (reason: 'shutdown') => void
  destroy: () => void
  over: Promise<void>
}

// How long clients may take to receive the end of their stream when the server closes; then they are cut off.
const GRACE = 1_000

/** All open streams of one registration: their one timer, and their end when the server closes. */
export class Streams {
  /** True from the moment the server began to close. */
  closing = false
  readonly #members = new Set<Member>()
  #timer: NodeJS.Timeout | undefined
  #period = Infinity

  get size (): number { return this.#members.size }

  add (stream: Member, options: Pick<ResolvedOptions, 'heartbeatInterval' | 'stallTimeout' | 'maxLifetime'>): void {
    this.#members.add(stream)
    // A tenth of the shortest time that anybody waits for, within reason.
    const shortest = Math.min(...[options.heartbeatInterval, options.stallTimeout, options.maxLifetime].filter(time => time > 0))
    const period = Math.max(10, Math.min(1_000, shortest / 10))
    if (period >= this.#period) return
    this.#period = period
    clearInterval(this.#timer)
    this.#timer = setInterval(this.#beat, period)
    this.#timer.unref()
  }

  delete (stream: Member): void {
    this.#members.delete(stream)
    if (this.#members.size > 0) return
    clearInterval(this.#timer)
    this.#period = Infinity
  }

  /** Ends every stream and waits until the clients have it. Those that do not read are cut off after a second. */
  async close (): Promise<void> {
    this.closing = true
    const members = [...this.#members]
    for (const stream of members) stream.end('shutdown')
    const late = setTimeout(() => { for (const stream of this.#members) stream.destroy() }, GRACE)
    await Promise.all(members.map(stream => stream.over))
    clearTimeout(late)
  }

  readonly #beat = (): void => {
    const now = performance.now()
    for (const stream of this.#members) stream.tick(now)
  }
}
