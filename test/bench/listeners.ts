import { Audience } from './audience.ts'
import type { Server } from './connection.ts'
import type { Contestant } from './contestant.ts'

// The time has that many digits, directly before the end of the payload.
const DIGITS = 16

export interface Times { p50: number, p99: number }

/**
 * Many connections to a broadcast whose events contain the time of their publish. Measures the latency in microseconds.
 */
export class Listeners {
  readonly #audience: Audience
  readonly #times: number[]

  private constructor (audience: Audience, times: number[]) {
    this.#audience = audience
    this.#times = times
  }

  static async open (server: Server, size: number): Promise<Listeners> {
    const times: number[] = []
    return new Listeners(await Audience.open(server, size, (buffer, at) => {
      // An event that was split exactly there has no readable time. It is one of thousands.
      if (at >= DIGITS) {
        times.push(Number(process.hrtime.bigint() / 1000n) - Number(buffer.toString('latin1', at - DIGITS, at)))
      }
    }), times)
  }

  /** Receives that many events, at the given interval in milliseconds. */
  async receive (server: Contestant, events: number, interval: number): Promise<Times> {
    this.#times.length = 0
    await this.#audience.receive(events, () => server.request('pace', events, interval))
    const sorted = Float64Array.from(this.#times).sort()
    const at = (part: number): number => sorted[Math.ceil(sorted.length * part) - 1]!
    return { p50: at(0.5), p99: at(0.99) }
  }

  close (): void {
    this.#audience.close()
  }
}
